/* The floor: what reaches a device of the machine and was not charged on its way, because no socket
 * of a network protocol sent it: frames by packet sockets, what is forwarded for virtual machines
 * and foreign network namespaces, what the kernel itself sends. It is charged here, whole frames,
 * to who owns the socket, else to WEIR_FORWARDED. And the two ways around a device's programs are
 * closed. */
#ifndef WEIR_FLOOR_H
#define WEIR_FLOOR_H

#include "carried.h"
#include "flow.h"
#include "isolation.h"
#include "shut.h"
#include "tunnel.h"

#define WEIR_NEXT (-1) /* TCX_NEXT, TC_ACT_UNSPEC: other programs of the device have their say */
#define WEIR_DROP 2    /* TCX_DROP, TC_ACT_SHOT */
#define WEIR_ETHERNET_BYTES 14
#define WEIR_ETH_IP4 0x0800
#define WEIR_ETH_ARP 0x0806
#define WEIR_ETH_VLAN 0x8100
#define WEIR_ETH_IP6 0x86dd
#define WEIR_ETH_EAPOL 0x888e
#define WEIR_ETH_PROVIDER 0x88a8 /* the outer of two VLAN tags */
#define WEIR_TAGS 2              /* read behind; with more of them it is no IP packet to us */
#define WEIR_TAG_BYTES 4
#define WEIR_ARP_BYTES 64 /* a frame of 14 + 28 bytes, filled up */

static __always_inline int is_in_scope(struct __sk_buff* skb) {
  return !scope_level || bpf_skb_ancestor_cgroup_id(skb, scope_level) == scope_cgroup;
}

/* 1: not ours to charge, or charged already where its socket sent it. `inner`: what it carries was
 * charged there, if anything. */
static __always_inline int is_paid(struct __sk_buff* skb, struct weir_socket** inner) {
  struct bpf_sock* sk = skb->sk;
  u32 zero = 0;
  if (!sk) return 0;
  sk = bpf_sk_fullsock(sk);
  if (!sk) return 1; /* a connection that is not one yet or no more: carries no payload */
  if (sk->family != WEIR_AF_INET && sk->family != WEIR_AF_INET6) return !is_in_scope(skb);
  const struct weir_tunnels* t = bpf_map_lookup_elem(&tunnels, &zero);
  if (!t || !t->inner) return 1;
  *inner = bpf_sk_storage_get(&sockets, sk, 0, 0);
  if (!*inner || !((*inner)->flags & WEIR_SOCKET_INNER)) return 1;
  u32 via = skb->ifindex; /* into the tunnel it goes as it is */
  return !bpf_map_lookup_elem(&plain, &via);
}

/* 1: a packet with a socket that goes where this says, and was charged so. */
static __always_inline int is_what_it_was(struct __sk_buff* skb, const struct packet* p) {
  struct bpf_sock* sk = skb->sk;
  if (sk) sk = bpf_sk_fullsock(sk);
  return sk && left_as_it_was(sk, p);
}

/* 1: the far end of a declared tunnel gets what its contents have paid for, or what the kernel says
 * to it itself: not what is only forwarded. */
static __always_inline int is_declared(struct __sk_buff* skb, struct packet* p, int inner,
                                       const struct weir_state* now) {
  if (!now->gateways || (!inner && (skb->sk || skb->ingress_ifindex))) return 0;
  return is_for_gateway(p);
}

/* 1: an IP packet begins at p->start, behind the tags if any. What a frame is says its type in the
 * frame: who writes frames chooses freely what the first bytes behind it look like. */
static __always_inline int find_ip(struct __sk_buff* skb, struct packet* p) {
  u16 type = 0;
  u8 first = 0;
  if (!p->start) return 1; /* no link header; the packet's own version counts there */
  for (int i = 0; i <= WEIR_TAGS; i++) {
    if (bpf_skb_load_bytes(skb, p->start - sizeof(type), &type, sizeof(type))) return 0;
    if (type != bpf_htons(WEIR_ETH_VLAN) && type != bpf_htons(WEIR_ETH_PROVIDER)) break;
    p->start += WEIR_TAG_BYTES;
  }
  if (bpf_skb_load_bytes(skb, p->start, &first, sizeof(first))) return 0;
  return first >> 4 == 4 ? type == bpf_htons(WEIR_ETH_IP4)
                         : first >> 4 == 6 && type == bpf_htons(WEIR_ETH_IP6);
}

/* Addresses and ports. Whole frames are charged, with the headers that segmentation adds; the
 * payload is what the socket's own program would call so. */
__attribute__((noinline)) int read_frame(struct __sk_buff* skb, struct packet* p) {
  if (!p) return 0;
  p->length = skb->wire_len > skb->len ? skb->wire_len : skb->len;
  p->via = skb->ifindex;
  int is_ip = find_ip(skb, p);
  p->payload = skb->len > p->start ? skb->len - p->start : 0;
  u32 at = is_ip ? read_ip(skb, p) : 0;
  struct tcp_header tcp = {};
  if (!at || (p->protocol != WEIR_TCP && p->protocol != WEIR_UDP)) return 0;
  if (bpf_skb_load_bytes(skb, at, &tcp, 4)) return 0;
  p->local_port = bpf_ntohs(tcp.source);
  p->remote_port = bpf_ntohs(tcp.destination);
  if (p->protocol != WEIR_TCP || bpf_skb_load_bytes(skb, at, &tcp, sizeof(tcp))) return 0;
  u32 headers = at + (tcp.offset >> 4) * 4;
  p->payload = skb->len > headers ? skb->len - headers : 0;
  return 0;
}

/* ARP, neighbour discovery, memberships: a link can't live without them. */
static __always_inline int is_upkeep(struct __sk_buff* skb, struct packet* p) {
  if (skb->sk) return 0; /* somebody's */
  if (skb->protocol == bpf_htons(WEIR_ETH_ARP)) return skb->len <= WEIR_ARP_BYTES;
  return p->length <= WEIR_UPKEEP_BYTES && keeps_the_link(skb, p);
}

/* What a program writes as frames because the machine has no address yet, or may not use its port:
 * ARP, IEEE 802.1X and the keys of a wireless network, a DHCP client that asks everybody. It ends
 * on this link. Without it a spent account would take the whole machine off the network. */
static __always_inline int is_for_the_link(struct __sk_buff* skb, const struct packet* p) {
  u16 type = 0;
  if (p->protocol == WEIR_UDP)
    return p->local_port == 68 && p->remote_port == 67 &&
           *(const u32*)(p->remote + 12) == 0xffffffff &&
           *(const u32*)(p->remote + 8) == bpf_htonl(0x0000ffff);
  if (!p->start || bpf_skb_load_bytes(skb, p->start - sizeof(type), &type, sizeof(type))) return 0;
  if (type == bpf_htons(WEIR_ETH_ARP)) return skb->len <= WEIR_ARP_BYTES;
  return type == bpf_htons(WEIR_ETH_EAPOL);
}

static __always_inline int pay_at_device(struct __sk_buff* skb, u32 start) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  struct weir_socket* inner = 0;
  if (!now || is_paid(skb, &inner)) return WEIR_NEXT;
  struct packet p = {.start = start};
  read_frame(skb, &p);
  if (inner && is_what_it_was(skb, &p)) return WEIR_NEXT;
  if (now->isolated_until && is_isolated(now) && !is_spared(&p, skb->sk != 0) &&
      !is_upkeep(skb, &p) &&
      !(skb->sk && p.protocol != WEIR_UDP && is_for_the_link(skb, &p))) { /* DHCP: is_spared */
    count(WEIR_COUNT_ISOLATED);
    return WEIR_DROP;
  }
  u32 person = inner ? inner->person : skb->sk ? bpf_get_socket_uid(skb) : WEIR_FORWARDED;
  struct route r = {};
  route_by_address(&r, p.remote, now);
  if (now->shuts && !is_upkeep(skb, &p) && is_shut_frame(&p, r.dest, person, skb->sk != 0))
    return WEIR_DROP;
  if (was_carried(skb, &p) || is_declared(skb, &p, inner != 0, now)) return WEIR_NEXT;
  if (is_upkeep(skb, &p)) {
    count(WEIR_COUNT_UPKEEP);
    return WEIR_NEXT;
  }
  if (now->swapping) {
    count(WEIR_COUNT_SWAPPED);
    return WEIR_DROP;
  }
  struct weir_socket* nobody = bpf_map_lookup_elem(&nobodies, &zero);
  if (!nobody) return WEIR_DROP;
  nobody->person = person;
  nobody->flags = WEIR_SOCKET_TOLD | WEIR_SOCKET_TOLD_SETTLED; /* once a second for an account */
  struct charge c = {
      .person = nobody->person, .dest = r.dest, .bytes = p.length, .now = bpf_ktime_get_boot_ns()};
  if (inner) {
    c.tree = inner->tree;
    c.labels = inner->labels;
  }
  if (now->answers && is_for_the_link(skb, &p) && charge_rows(&c, now->answers) <= 0) {
    count(WEIR_COUNT_UPKEEP);
    return WEIR_NEXT;
  }
  r.limits &= ~now->holds; /* no queue would keep what waits */
  int result = r.limits ? charge_rows(&c, r.limits) : 0;
  if (result > 0 && (result & WEIR_EARLY)) {
    count(WEIR_COUNT_EARLY);
    return WEIR_DROP;
  }
  if (result)
    tell_row(nobody, &c, &p, WEIR_TELL((result > 0 ? result : -result) - 1, WEIR_AF_INET6, 1));
  count(result > 0 ? WEIR_COUNT_FLOOR_REFUSED : WEIR_COUNT_FLOOR_CHARGED);
  return result > 0 ? WEIR_DROP : WEIR_NEXT;
}

/* What the device itself will say that it sent, beyond this, was seen by nobody here. */
static __always_inline int note_passed(struct __sk_buff* skb, int answer, u32 least) {
  u32 device = skb->ifindex;
  u64* passed = answer == WEIR_NEXT ? bpf_map_lookup_elem(&wire, &device) : 0;
  if (!passed) return answer;
  u32 bytes = skb->wire_len > skb->len ? skb->wire_len : skb->len;
  *passed += bytes > least ? bytes : least;
  return answer;
}

SEC("tc")
int weir_floor(struct __sk_buff* skb) {
  return note_passed(skb, pay_at_device(skb, WEIR_ETHERNET_BYTES), WEIR_LEAST_FRAME);
}

SEC("tc")
int weir_floor_ip(struct __sk_buff* skb) { /* of a device without a link header */
  return note_passed(skb, pay_at_device(skb, 0), 0);
}

/* ---- past the devices' programs ----------------------------------------------------------------
 */

#define WEIR_SOL_PACKET 263
#define WEIR_PACKET_QDISC_BYPASS 20 /* frames go to the driver itself */
#define WEIR_SOL_XDP 283
#define WEIR_XDP_TX_RING 3 /* without it an AF_XDP socket sends nothing */
#define WEIR_PAGE_BYTES \
  4096 /* longer values are cut for this hook, unless it says that it looked */

/* The loader turns it off for sockets from before. */
static __always_inline int turns_off(const struct bpf_sockopt* ctx) {
  const int* value = ctx->optval;
  return (const void*)(value + 1) <= ctx->optval_end && !*value;
}

SEC("cgroup/setsockopt")
int weir_setsockopt(struct bpf_sockopt* ctx) {
  if (ctx->level == WEIR_SOL_PACKET && ctx->optname == WEIR_PACKET_QDISC_BYPASS)
    return turns_off(ctx);
  if (ctx->level == WEIR_SOL_XDP && ctx->optname == WEIR_XDP_TX_RING) return 0;
  if (ctx->optlen > WEIR_PAGE_BYTES) ctx->optlen = 0;
  return 1;
}

#endif
