/* Packets that carry packets. What a program sends into a tunnel is charged by its socket's hook,
 * as everything; what carries it leaves under the same socket, or under none, to another address.
 * So a socket that has sent by a device that leads to no wire is marked, and the floor looks at
 * whatever leaves under it: only what is that socket's own is paid. */
#ifndef WEIR_TUNNEL_H
#define WEIR_TUNNEL_H

#include "packet.h"

/* Of a packet that a socket's hook sees. Never taken back: what such a device has taken may leave
 * it later. */
static __always_inline void note_device(struct weir_socket* s, struct packet* p) {
  u32 zero = 0;
  if (p->via == s->plain_via || (s->flags & WEIR_SOCKET_INNER)) return;
  struct weir_tunnels* t = bpf_map_lookup_elem(&tunnels, &zero);
  if (!t || !t->laid) return;
  if (bpf_map_lookup_elem(&plain, &p->via)) {
    s->plain_via = p->via;
    return;
  }
  t->inner = 1;
  __sync_fetch_and_or(&s->flags, WEIR_SOCKET_INNER);
}

#define WEIR_ESP 50
#define WEIR_AH 51
#define WEIR_NAT_T 4500 /* UDP around ESP (RFC 3948) */

/* In the hook, of a marked socket: 1: the kernel has put this packet around one of that socket
 * (IPsec), and it leaves by a wire's own device, where the floor looks at it. A port that is not
 * the socket's proves nothing: a program can cork a datagram and unconnect before it is sent. */
static __always_inline int is_around(const struct bpf_sock* sk, const struct packet* p) {
  u32 via = p->via;
  if (sk->type == WEIR_SOCK_RAW) return 0;
  int esp = p->protocol == WEIR_ESP || p->protocol == WEIR_AH;
  int nat_t = p->protocol == WEIR_UDP && p->local_port == WEIR_NAT_T &&
              (sk->protocol != WEIR_UDP || sk->src_port != WEIR_NAT_T);
  return (esp || nat_t) && bpf_map_lookup_elem(&plain, &via);
}

/* `volatile`: or the compiler adds to the pointer, which the verifier refuses.
 * At a device, where who puts packets around others may choose the ports of both: 1: it goes where
 * its socket is connected to, between the same ports. */
static __always_inline int left_as_it_was(const volatile struct bpf_sock* sk,
                                          const struct packet* p) {
  if (sk->type == WEIR_SOCK_RAW || p->protocol != sk->protocol) return 0;
  if (p->local_port != sk->src_port || p->remote_port != bpf_ntohs(sk->dst_port)) return 0;
  const u32* to = (const u32*)p->remote;
  if (sk->family == WEIR_AF_INET)
    return !to[0] && !to[1] && to[2] == bpf_htonl(0x0000ffff) && to[3] == sk->dst_ip4;
  u32 a = sk->dst_ip6[0], b = sk->dst_ip6[1], c = sk->dst_ip6[2], d = sk->dst_ip6[3];
  return to[0] == a && to[1] == b && to[2] == c && to[3] == d;
}

#endif
