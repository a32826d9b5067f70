/* A packet of a container passes two places: its socket's hook, which knows whose it is, and a
 * device of the machine, where it comes by as nobody's. It is charged at the first alone. */
#ifndef WEIR_CARRIED_H
#define WEIR_CARRIED_H

#include "flow.h"

/* At its socket: the floor lets so much pass. What is sent again is free here, and passes there
 * only where its flow is free. A packet that this machine would not forward reaches no device: it
 * must leave nothing for others to pass by. */
static __always_inline void note_carried(const struct weir_socket* s, const struct packet* p,
                                         const struct route* r, u32 bytes) {
  if (!(s->flags & WEIR_SOCKET_ELSEWHERE) || p->hops <= 1) return;
  struct weir_carried* c = bpf_map_lookup_elem(&carried, p->remote);
  if (!c) {
    struct weir_carried none = {};
    bpf_map_update_elem(&carried, p->remote, &none, BPF_NOEXIST);
    c = bpf_map_lookup_elem(&carried, p->remote);
  }
  if (!c) return;
  __sync_fetch_and_add(&c->payload, r->limits ? bytes : p->payload);
  __sync_fetch_and_add(&c->packets, 1);
}

static __always_inline int take(w_u64* from, u64 n) {
  for (int i = 0; i < WEIR_CAS_TRIES; i++) {
    u64 before = *(volatile u64*)from;
    if (before < n) return 0;
    if (__sync_val_compare_and_swap(from, before, before - n) == before) return 1;
  }
  return 0;
}

/* At the device: 1: its socket has paid. */
static __always_inline int was_carried(struct __sk_buff* skb, const struct packet* p) {
  if (skb->sk) return 0;
  struct weir_carried* c = bpf_map_lookup_elem(&carried, p->remote);
  if (!c) return 0;
  if (take(&c->packets, 1)) {
    if (take(&c->payload, p->payload)) return 1;
    __sync_fetch_and_add(&c->packets, 1);
  }
  return 0;
}

#endif
