/* A hold: a flow under a row with WEIR_LIMIT_HOLD sends its first flight, and then nothing until
 * somebody answers. A stream keeps its bytes in its queue; a datagram is refused. */
#ifndef WEIR_HOLD_H
#define WEIR_HOLD_H

#include "flow.h"

static __always_inline u32 number_of(const struct weir_limit* limit, u32 row) {
  return limit->account ? limit->account : row;
}

/* Has somebody answered this row for that tree and place? */
static __always_inline int is_answered(u64 tree, u64 dest, const struct weir_limit* limit, u32 row,
                                       u64 time) {
  struct weir_account_key key = {
      .limit = number_of(limit, row), .per = WEIR_PER_TREE_DEST, .who = tree, .dest = dest};
  struct weir_account* answer = bpf_map_lookup_elem(&accounts, &key);
  return answer && time < answer->until_ns;
}

/* Has it waited as long as its rule says, and may go on then? The guard sees to that, and writes
 * the answer; this is for when it is dead, or stopped. */
static __always_inline int is_overdue(struct weir_socket* s, const struct weir_limit* limit,
                                      u64 time) {
  u64 cookie = s->cookie;
  if (!limit->goes_on_ns || !(s->flags & WEIR_SOCKET_HELD)) return 0;
  const struct weir_hold* hold = bpf_map_lookup_elem(&holds, &cookie);
  return hold && time - hold->since_ns >= limit->goes_on_ns;
}

/* The guard and the engine hear of it once; the table is for a guard that is started again. */
__attribute__((noinline)) int begin_hold(struct weir_socket* s, struct packet* p, u32 row,
                                         u64 dest) {
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  if (!s || !p || !limit) return 0;
  u64 cookie = s->cookie;
  struct weir_hold hold = {.since_ns = bpf_ktime_get_boot_ns(),
                           .tree = s->tree,
                           .dest = dest,
                           .limit = number_of(limit, row),
                           .person = s->person,
                           .pid = s->pid};
  put_tuple(&hold.tuple, p, s->tuple.family);
  if (bpf_map_update_elem(&holds, &cookie, &hold, BPF_ANY)) count(WEIR_COUNT_HOLDS_FULL);
  struct refusal what = {
      .key = {.who = s->tree, .dest = dest, .limit = row, .per = WEIR_PER_TREE_DEST},
      .charged = s->bytes_out,
      .length = s->bytes_in,
      .family = s->tuple.family,
      .settled = 1,
      .held = 1};
  put_refused(&told, WEIR_COUNT_TOLD_LOST, s, p, &what);
  put_refused(&events, WEIR_COUNT_RING_LOST, s, p, &what);
  return 0;
}

/* 1: this packet waits: WEIR_REFUSE. Not WEIR_LOSE, which TCP takes for a full queue: it would try
 * twice a second, and give up after 15 tries. So it waits twice as long each time, minutes in all.
 * While a verdict may still take the flow off the row nothing waits for an answer: its first flight
 * bounds it until then. */
__attribute__((noinline)) int must_hold(struct weir_socket* s, struct packet* p, struct route* r,
                                        u64 bytes) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!s || !p || !r || !now) return 0;
  u32 flags = s->flags;
  if (!r->classified && !(flags & (WEIR_SOCKET_WAITED | WEIR_SOCKET_MANY | WEIR_SOCKET_HELD)))
    return 0;
  if (s->bytes_out + bytes <= now->first_flight || is_observing(now)) return 0;
  u64 rows = r->limits & now->holds, time = bpf_ktime_get_boot_ns();
  int overdue = 0;
  for (u32 i = 0; i < WEIR_CHARGES && rows; i++) {
    u32 row = lowest_bit(rows);
    const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
    if (limit && !is_answered(s->tree, r->dest, limit, row, time)) {
      if (is_overdue(s, limit, time)) {
        overdue = 1; /* its entry stays, for the guard */
        rows &= rows - 1;
        continue;
      }
      count(WEIR_COUNT_HELD);
      if (!(__sync_fetch_and_or(&s->flags, WEIR_SOCKET_HELD) & WEIR_SOCKET_HELD))
        begin_hold(s, p, row, r->dest);
      return 1;
    }
    rows &= rows - 1;
  }
  if (flags & WEIR_SOCKET_HELD && !overdue) __sync_fetch_and_and(&s->flags, ~WEIR_SOCKET_HELD);
  return 0;
}

/* Its last holder closed it. TCP may keep what is queued: the guard ends that with the hold. */
static __always_inline void close_hold(struct weir_socket* s) {
  u64 cookie = s->cookie;
  struct weir_hold* hold = bpf_map_lookup_elem(&holds, &cookie);
  if (!hold) return;
  hold->closed = 1;
  if (s->tuple.protocol != WEIR_TCP) bpf_map_delete_elem(&holds, &cookie);
}

#endif
