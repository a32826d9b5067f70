/* Waking: a stream whose verdict came while it waited goes on at once, not at TCP's next try. */
#ifndef WEIR_WAKE_H
#define WEIR_WAKE_H

#include "kernel_types.h"
#include "maps.h"

#define WEIR_SOL_TCP 6
#define WEIR_TCP_NODELAY 1

/* Turning Nagle's delay off pushes what is queued; what the program had set is put back. */
static __always_inline void push(struct sock_common* sk) {
  int on = 1, was = 1;
  if (bpf_getsockopt(sk, WEIR_SOL_TCP, WEIR_TCP_NODELAY, &was, sizeof(was))) return;
  if (bpf_setsockopt(sk, WEIR_SOL_TCP, WEIR_TCP_NODELAY, &on, sizeof(on))) return;
  if (!was) bpf_setsockopt(sk, WEIR_SOL_TCP, WEIR_TCP_NODELAY, &was, sizeof(was));
  count(WEIR_COUNT_WOKEN);
}

/* Walks the TCP sockets of the network namespace of who reads it. A stream whose verdict came while
 * it waited sends again at once, one that the disk vouches for by now, and one whose hold is over:
 * its entry is gone. */
SEC("iter/tcp")
int weir_wake(struct bpf_iter__tcp* ctx) {
  struct sock_common* sk = ctx->sk_common;
  if (!sk) return 0;
  struct weir_socket* s = bpf_sk_storage_get(&sockets, sk, 0, 0);
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!s || !now) return 0;
  if (s->flags & WEIR_SOCKET_EARLY) {
    __sync_fetch_and_and(&s->flags, ~WEIR_SOCKET_EARLY);
    push(sk);
    return 0;
  }
  if (s->flags & WEIR_SOCKET_HELD) {
    u64 held_cookie = s->cookie;
    if (bpf_map_lookup_elem(&holds, &held_cookie)) return 0;
    __sync_fetch_and_and(&s->flags, ~WEIR_SOCKET_HELD);
    push(sk);
    return 0;
  }
  if (!s->wait_ns || s->verdicts == now->verdicts) return 0;
  if (s->flags & (WEIR_SOCKET_CLASSIFIED | WEIR_SOCKET_MANY)) return 0;
  u64 cookie = s->cookie;
  struct weir_verdict* v = bpf_map_lookup_elem(&verdicts, &cookie);
  if (!v || v->generation != now->generation) return 0;
  push(sk);
  return 0;
}

#endif
