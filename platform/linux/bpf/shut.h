/* Places that an administrator blocked for a time (weir_state.shuts): an address, a prefix, or a
 * name, for everybody or one person. Nothing leaves for them, also on connections that are there
 * already and where the policy approves; no account is asked. What a refuge lets pass is never
 * blocked, whatever was ordered. An address is the kernel's to know. A name is told by the
 * destination key of the flow's verdict, and until that is there by the key of the prefix that an
 * answer made of its address. */
#ifndef WEIR_SHUT_H
#define WEIR_SHUT_H

#include "flow.h"
#include "isolation.h"

/* 1 + the first of these slots that holds for this person; 0: none does. */
__attribute__((noinline)) int shut_for(u32 slots, u32 person) {
  u64 time = bpf_ktime_get_boot_ns();
  for (u32 i = 0; i < WEIR_SHUTS; i++) {
    u32 slot = i;
    if (!(slots & 1u << i)) continue;
    const struct weir_shut* shut = bpf_map_lookup_elem(&shuts, &slot);
    if (shut && time < shut->until_ns && (shut->everybody || shut->person == person))
      return (int)i + 1;
  }
  return 0;
}

/* Slots that are about the address itself. */
static __always_inline u32 slots_of_address(const struct packet* p) {
  struct weir_prefix_key key = {.length = 128};
  __builtin_memcpy(key.address, p->remote, 16);
  const struct weir_shut_slots* found = bpf_map_lookup_elem(&shut, &key);
  return found ? found->slots : 0;
}

/* Slots that are about the name of this destination key. */
static __always_inline u32 slots_of_name(u64 dest) {
  const struct weir_shut_slots* found = bpf_map_lookup_elem(&shut_names, &dest);
  return found ? found->slots : 0;
}

/* Is there a block of this name that holds for this person? By itself: egress has no stack left. */
__attribute__((noinline)) int is_name_shut(u64 dest, u32 person) {
  u32 slots = slots_of_name(dest);
  return slots && shut_for(slots, person);
}

/* By its address, before anything else is asked. 1: it may not leave. */
__attribute__((noinline)) int is_shut_off(struct weir_socket* s, struct packet* p, u32 family) {
  if (!s || !p) return 0;
  u32 slots = slots_of_address(p);
  if (!slots || is_spared(p, s->flags & WEIR_SOCKET_HOME)) return 0;
  int slot = shut_for(slots, s->person);
  if (!slot) return 0;
  count(WEIR_COUNT_SHUT);
  __sync_fetch_and_add(&s->refused, p->payload);
  tell_kept_in(s, p, family, WEIR_SHUT, (u32)slot - 1);
  return 1;
}

/* As begin_wait(): where the socket is an argument, 6.1 takes no key out of it. */
static __always_inline void wait_for_name(struct weir_socket* s) {
  u64 cookie = s->cookie, time = bpf_ktime_get_boot_ns();
  if (s->wait_ns) return;
  s->wait_ns = time;
  if (s->tuple.protocol == WEIR_TCP) bpf_map_update_elem(&held, &cookie, &time, BPF_ANY);
}

/* By its name. Without a verdict it is only delayed: it may yet say another name of its address, so
 * that its verdict wakes it. */
__attribute__((noinline)) int is_shut_by_name(struct weir_socket* s, struct packet* p, u64 dest,
                                              u32 family) {
  if (!s || !p) return 0;
  u32 slots = slots_of_name(dest);
  if (!slots || is_spared(p, s->flags & WEIR_SOCKET_HOME)) return 0;
  int slot = shut_for(slots, s->person);
  if (!slot) return 0;
  count(WEIR_COUNT_SHUT);
  __sync_fetch_and_add(&s->refused, p->payload);
  if (s->flags & (WEIR_SOCKET_MANY | WEIR_SOCKET_CLASSIFIED))
    tell_kept_in(s, p, family, WEIR_SHUT, (u32)slot - 1);
  else
    wait_for_name(s);
  return 1;
}

/* What may not leave at all, whatever its rows say. */
static __always_inline int is_barred(struct weir_socket* s, struct packet* p,
                                     const struct weir_state* now, u32 family) {
  if (now->isolated_until && is_kept_in(s, p, family)) return 1;
  return now->shuts && is_shut_off(s, p, family);
}

/* Of a connection, or a datagram that names its peer: `p` has no more than that. Not the uplink's,
 * whose own bound is another; which port a datagram of DHCP leaves by is not known here. */
static __always_inline int may_begin(struct bpf_sock_addr* ctx, struct weir_socket* s,
                                     struct packet* p, const struct weir_state* now) {
  if (!now->shuts || is_this_host(p->remote)) return 1;
  if (now->home_cgroup && bpf_get_current_ancestor_cgroup_id(now->home_level) == now->home_cgroup)
    return 1;
  if (p->protocol == WEIR_UDP && (p->remote_port == 67 || p->remote_port == 547)) return 1;
  return !is_shut_off(s, p, ctx->family);
}

/* A frame that no socket of a network protocol sent. */
__attribute__((noinline)) int is_shut_frame(struct packet* p, u64 dest, u32 person, u32 home) {
  if (!p) return 0;
  u32 slots = slots_of_address(p) | slots_of_name(dest);
  if (!slots || is_spared(p, home) || !shut_for(slots, person)) return 0;
  count(WEIR_COUNT_SHUT);
  return 1;
}

#endif
