/* Waking: a stream whose verdict came while it waited goes on at once, not at TCP's next try. */
#ifndef WEIR_WAKE_H
#define WEIR_WAKE_H

#include "kernel_types.h"
#include "maps.h"

#define WEIR_SOL_TCP 6
#define WEIR_TCP_NODELAY 1

/* Walks the TCP sockets of the network namespace of who reads it. A stream whose verdict came while
 * it waited sends again at once: turning Nagle's delay off pushes what is queued, and what the
 * program had set is put back. */
SEC("iter/tcp")
int weir_wake(struct bpf_iter__tcp* ctx) {
  struct sock_common* sk = ctx->sk_common;
  if (!sk) return 0;
  struct weir_socket* s = bpf_sk_storage_get(&sockets, sk, 0, 0);
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!s || !now || !s->wait_ns || s->verdicts == now->verdicts) return 0;
  if (s->flags & (WEIR_SOCKET_CLASSIFIED | WEIR_SOCKET_MANY)) return 0;
  u64 cookie = s->cookie;
  struct weir_verdict* v = bpf_map_lookup_elem(&verdicts, &cookie);
  if (!v || v->generation != now->generation) return 0;
  int on = 1, was = 1;
  if (bpf_getsockopt(sk, WEIR_SOL_TCP, WEIR_TCP_NODELAY, &was, sizeof(was))) return 0;
  if (bpf_setsockopt(sk, WEIR_SOL_TCP, WEIR_TCP_NODELAY, &on, sizeof(on))) return 0;
  if (!was) bpf_setsockopt(sk, WEIR_SOL_TCP, WEIR_TCP_NODELAY, &was, sizeof(was));
  count(WEIR_COUNT_WOKEN);
  return 0;
}

#endif
