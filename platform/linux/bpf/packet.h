/* One packet as a cgroup_skb program sees it, from the IP header on: who it goes to, what it
 * carries, what it costs. A packet that can't be read to its end costs its whole length. */
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include <bpf/bpf_endian.h>

#include "maps.h"

#define WEIR_TCP 6
#define WEIR_UDP 17
#define WEIR_IGMP 2
#define WEIR_ICMP6 58
#define WEIR_EXTENSIONS \
  6 /* IPv6 extension headers that are walked; real packets have at most three */
#define WEIR_AF_INET 2
#define WEIR_AF_INET6 10
#define WEIR_SOCK_STREAM 1
#define WEIR_SOCK_RAW 3
#define WEIR_UPKEEP_BYTES 512 /* a neighbour's message has 72, a report of memberships some 100 */
#define WEIR_LOOPBACK 1       /* ifindex of lo in every network namespace */

#define WEIR_TCP_FIN 1
#define WEIR_TCP_SYN 2
#define WEIR_TCP_RST 4

struct packet {
  u8 local[16], remote[16]; /* IPv4 as ::ffff:a.b.c.d */
  u32 length;               /* whole IP packet, with the headers that segmentation will add */
  u32 payload;              /* TCP: bytes of the stream; else as length */
  u32 sequence;             /* TCP: of the first payload byte */
  u32 via;                  /* index of the interface that it leaves or came by */
  u32 start;                /* where the IP header is: behind the link's own on a device */
  u16 local_port, remote_port;
  u8 protocol;
  u8 hops; /* that it may still take; 0: not read */
  u8 tcp_flags;
  u8 stream : 1;   /* a TCP socket's own segment: charged by sequence */
  u8 incoming : 1; /* one byte more for both, and egress has no stack left on 6.1 */
};

struct ip4_header {
  u8 version_ihl, tos;
  u16 total, id, fragment;
  u8 ttl, protocol;
  u16 check;
  u32 source, destination;
};
struct ip6_header {
  u32 flow;
  u16 payload;
  u8 next, hops;
  u8 source[16], destination[16];
};
struct tcp_header {
  u16 source, destination;
  u32 sequence, acknowledgement;
  u8 offset, flags;
  u16 window, check, urgent;
};

static __always_inline void put_ip4(u8* to, u32 address) {
  *(u64*)to = 0;
  *(u32*)(to + 8) = bpf_htonl(0x0000ffff);
  *(u32*)(to + 12) = address;
}

static __always_inline int is_loopback_address(const u8* a) {
  if (*(const u64*)a) return 0;
  if (*(const u32*)(a + 8) == bpf_htonl(0x0000ffff)) return a[12] == 127;
  return *(const u32*)(a + 8) == 0 && *(const u32*)(a + 12) == bpf_htonl(1);
}

/* Behind IPv6's extension headers, from the first of them on; 0 if there is no next one to read. By
 * itself: or the verifier walks the loop again for each way that leads to it. */
__attribute__((noinline)) int skip_extensions(struct __sk_buff* skb, struct packet* p) {
  if (!p) return 0;
  u32 at = p->start + sizeof(struct ip6_header);
  u8 next = p->protocol;
  p->protocol = 0;
  for (int i = 0; i < WEIR_EXTENSIONS; i++) {
    u8 extension[4] = {};
    if (next != 0 && next != 43 && next != 44 && next != 51 && next != 60) break;
    if (bpf_skb_load_bytes(skb, at, extension, sizeof(extension))) return 0;
    if (next == 44 && ((extension[2] << 8 | extension[3]) & 0xfff8)) {
      p->protocol = extension[0];
      return 0; /* not the first fragment */
    }
    at += next == 44 ? 8 : next == 51 ? (extension[1] + 2) * 4 : (extension[1] + 1) * 8;
    next = extension[0];
  }
  p->protocol = next;
  return at;
}

/* Reads the network header; returns the offset of the next one, 0 if there is none to read. */
static __always_inline u32 read_ip(struct __sk_buff* skb, struct packet* p) {
  u8* source = p->incoming ? p->remote : p->local;
  u8* destination = p->incoming ? p->local : p->remote;
  u8 first = 0;
  bpf_skb_load_bytes(skb, p->start, &first, 1);
  if (first >> 4 == 4) {
    struct ip4_header ip = {};
    if (bpf_skb_load_bytes(skb, p->start, &ip, sizeof(ip))) return 0;
    put_ip4(source, ip.source);
    put_ip4(destination, ip.destination);
    p->protocol = ip.protocol;
    p->hops = ip.ttl;
    if (ip.fragment & bpf_htons(0x1fff)) return 0; /* not the first fragment: no ports in it */
    return p->start + (ip.version_ihl & 15) * 4;
  }
  struct ip6_header ip = {};
  if (first >> 4 != 6 || bpf_skb_load_bytes(skb, p->start, &ip, sizeof(ip))) return 0;
  __builtin_memcpy(source, ip.source, 16);
  __builtin_memcpy(destination, ip.destination, 16);
  p->hops = ip.hops;
  p->protocol = ip.next;
  return skip_extensions(skb, p);
}

/* Headers that segmentation will add to a datagram that the stack holds as one. */
static __always_inline u32 added_headers(struct __sk_buff* skb, u32 headers) {
  u32 size = skb->gso_size;
  if (!size || skb->len <= headers) return 0;
  return (skb->len - headers - 1) / size * headers;
}

static __always_inline void read_packet(struct __sk_buff* skb, struct bpf_sock* sk,
                                        struct packet* p) {
  p->length = skb->len;
  p->payload = skb->len;
  p->via = skb->ifindex;
  u32 at = read_ip(skb, p);
  if (!at) {
    count(WEIR_COUNT_UNPARSED);
    return;
  }
  if (p->protocol == WEIR_TCP) {
    struct tcp_header tcp = {};
    if (bpf_skb_load_bytes(skb, at, &tcp, sizeof(tcp))) return;
    p->local_port = bpf_ntohs(p->incoming ? tcp.destination : tcp.source);
    p->remote_port = bpf_ntohs(p->incoming ? tcp.source : tcp.destination);
    /* A raw socket may send the same sequence with new bytes each time: its whole packets cost. */
    if (sk->protocol != WEIR_TCP || sk->type != WEIR_SOCK_STREAM) return;
    u32 headers = at + (tcp.offset >> 4) * 4;
    p->stream = 1;
    p->tcp_flags = tcp.flags;
    p->payload = skb->len > headers ? skb->len - headers : 0;
    p->sequence = bpf_ntohl(tcp.sequence) + (tcp.flags & WEIR_TCP_SYN ? 1 : 0);
  } else if (p->protocol == WEIR_UDP) {
    u16 ports[2] = {};
    if (bpf_skb_load_bytes(skb, at, ports, sizeof(ports))) return;
    p->local_port = bpf_ntohs(p->incoming ? ports[1] : ports[0]);
    p->remote_port = bpf_ntohs(p->incoming ? ports[0] : ports[1]);
    p->length += added_headers(skb, at + 8);
    p->payload = p->length;
  }
}

/* Neighbour discovery, and who listens to which multicast: what keeps a link alive, and leaves it
 * in no way that anybody could read far away. RFC 4861: 133 to 136, hop limit 255; RFC 2710 and
 * 3810: 131, 132 and 143, and IGMP: one hop. By itself: its headers are on a stack of its own. */
__attribute__((noinline)) int keeps_the_link(struct __sk_buff* skb, struct packet* p) {
  u8 type = 0;
  if (!p) return 0;
  if (p->protocol == WEIR_IGMP) {
    struct ip4_header ip = {};
    return !bpf_skb_load_bytes(skb, p->start, &ip, sizeof(ip)) && ip.ttl == 1;
  }
  struct ip6_header ip = {};
  if (p->protocol != WEIR_ICMP6 || bpf_skb_load_bytes(skb, p->start, &ip, sizeof(ip))) return 0;
  if (ip.next == WEIR_ICMP6 && ip.hops == 255)
    return !bpf_skb_load_bytes(skb, p->start + sizeof(ip), &type, 1) && type >= 133 && type <= 136;
  if (ip.next || ip.hops != 1) return 0; /* behind one hop-by-hop header of 8 bytes */
  return !bpf_skb_load_bytes(skb, p->start + sizeof(ip) + 8, &type, 1) &&
         (type == 131 || type == 132 || type == 143);
}

static __always_inline int is_dns_port(u16 port) {
  return port == 53 || port == 853;
}

/* Servers that are asked over UDP and hand out nobody's files: DNS, DHCP, NTP, SNMP, DHCPv6. All
 * below 1024: who is not root can't have them. core/policy/limit_table.h has the same. */
static __always_inline int is_served_port(u16 port) {
  return port == 53 || port == 67 || port == 123 || port == 161 || port == 547;
}

#endif
