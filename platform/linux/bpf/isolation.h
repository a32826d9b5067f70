/* While the host is isolated (weir_state.isolated_until) nothing leaves it, but for what a refuge
 * lets pass: an address of the list that the guard made, and what keeps an address of ours alive.
 * Also for connections that are there already. What passes is charged as ever. */
#ifndef WEIR_ISOLATION_H
#define WEIR_ISOLATION_H

#include "flow.h"

#define WEIR_DHCP_BYTES 600 /* RFC 2131: a server takes 576 */

u64 isolation_told_ns = 0; /* when it was last told that somebody tried */

static __always_inline int is_isolated(const struct weir_state* now) {
  return now->isolated_until && bpf_ktime_get_boot_ns() < now->isolated_until;
}

/* What asks for our own address, or keeps it: ports that only root has, in our own namespace. */
static __always_inline int is_dhcp(const struct packet* p) {
  return p->protocol == WEIR_UDP && p->length <= WEIR_DHCP_BYTES &&
         ((p->local_port == 68 && p->remote_port == 67) ||
          (p->local_port == 546 && p->remote_port == 547));
}

/* WEIR_REFUGE_ALL: never to be blocked; WEIR_REFUGE_DNS: it may leave an isolated host; 0: it may
 * not. `home`: of a socket of our own network namespace. */
__attribute__((noinline)) int is_spared(struct packet* p, u32 home) {
  if (!p) return 0;
  struct weir_prefix_key key = {.length = 128};
  __builtin_memcpy(key.address, p->remote, 16);
  const struct weir_refuge* refuge = bpf_map_lookup_elem(&refuges, &key);
  if (refuge && (refuge->what & WEIR_REFUGE_ALL)) return WEIR_REFUGE_ALL;
  if (refuge && (refuge->what & WEIR_REFUGE_DNS) && is_dns_port(p->remote_port) &&
      (p->protocol == WEIR_UDP || p->protocol == WEIR_TCP))
    return WEIR_REFUGE_DNS;
  return home && is_dhcp(p) ? WEIR_REFUGE_DNS : 0;
}

/* For the engine, so that whoever tried hears why: once for each socket, 100 times a second.
 * `limit`: WEIR_ISOLATED, or WEIR_SHUT with its slot. */
__attribute__((noinline)) int tell_kept_in(struct weir_socket* s, struct packet* p, u32 family,
                                           u32 limit, u32 slot) {
  if (!s || !p || (s->flags & WEIR_SOCKET_TOLD)) return 0;
  u64 time = bpf_ktime_get_boot_ns(), told_ns = isolation_told_ns;
  if (time - told_ns < WEIR_TELL_EVERY_NS / 100) return 0;
  if (__sync_val_compare_and_swap(&isolation_told_ns, told_ns, time) != told_ns) return 0;
  struct refusal what = {.length = p->payload, .family = family, .settled = 1};
  what.key.limit = limit;
  what.key.who = s->person;
  what.key.dest = slot;
  __sync_fetch_and_or(&s->flags, WEIR_SOCKET_TOLD);
  put_refused(&events, WEIR_COUNT_RING_LOST, s, p, &what);
  return 0;
}

/* 1: this packet of a socket may not leave. */
__attribute__((noinline)) int is_kept_in(struct weir_socket* s, struct packet* p, u32 family) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!s || !p || !now || !is_isolated(now) || is_spared(p, s->flags & WEIR_SOCKET_HOME)) return 0;
  count(WEIR_COUNT_ISOLATED);
  __sync_fetch_and_add(&s->refused, p->payload);
  tell_kept_in(s, p, family, WEIR_ISOLATED, 0);
  return 1;
}

/* Loopback, and the address that stands for any of ours. */
static __always_inline int is_this_host(const u8* a) {
  if (is_loopback_address(a)) return 1;
  if (*(const u64*)a || *(const u32*)(a + 12)) return 0;
  return !*(const u32*)(a + 8) || *(const u32*)(a + 8) == bpf_htonl(0x0000ffff);
}

/* Of an isolated host. The uplink's own bound is another: cage.bpf.c. */
static __always_inline int may_reach(struct bpf_sock_addr* ctx, struct weir_socket* s,
                                     const u8* address, struct packet* p,
                                     const struct weir_state* now) {
  if (!is_isolated(now) || is_this_host(address)) return 1;
  if (now->home_cgroup && bpf_get_current_ancestor_cgroup_id(now->home_level) == now->home_cgroup)
    return 1;
  /* Which port it is bound to is not known here: a datagram of DHCP is judged as a packet. */
  if (p->protocol == WEIR_UDP && (p->remote_port == 67 || p->remote_port == 547)) return 1;
  if (is_spared(p, 0)) return 1;
  count(WEIR_COUNT_ISOLATED);
  tell_kept_in(s, p, ctx->family, WEIR_ISOLATED, 0);
  return 0;
}

/* Is this tree cut off from there? Never from what the policy names under never_block; from a
 * resolver, by an order about the tree and by none about the resolver. */
__attribute__((noinline)) int is_cut_off(u64 tree, struct packet* p, u64 dest, u32 loopback) {
  if (!p) return 0;
  int spared = loopback ? 0 : is_spared(p, 0);
  return spared != WEIR_REFUGE_ALL && is_blocked(tree, p->remote_port, spared ? 0 : dest,
                                                 (int)loopback, bpf_ktime_get_boot_ns());
}

/* An isolated host accepts no connection either: what it says before there is one. */
__attribute__((noinline)) int may_answer_isolated(struct __sk_buff* skb) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!now || !is_isolated(now) || skb->ifindex == WEIR_LOOPBACK) return 1;
  struct packet p = {.length = skb->len};
  read_ip(skb, &p);
  if (is_spared(&p, 0)) return 1;
  count(WEIR_COUNT_ISOLATED);
  return 0;
}

#endif
