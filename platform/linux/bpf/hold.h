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

static __always_inline void put_held(void* ring, u32 lost, const struct weir_socket* s,
                                     const struct weir_tuple* tuple, u32 row, u64 dest) {
  struct weir_refused* r = bpf_ringbuf_reserve(ring, sizeof(*r), 0);
  if (!r) {
    count(lost);
    return;
  }
  start_record(&r->record, WEIR_REC_HELD, sizeof(*r), s);
  r->tuple = *tuple;
  r->account.limit = row;
  r->account.per = WEIR_PER_TREE_DEST;
  r->account.who = s->tree;
  r->account.dest = dest;
  r->charged = s->bytes_out;
  r->length = s->bytes_in;
  r->settled = 1;
  r->pad = 0;
  bpf_ringbuf_submit(r, 0);
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
  put_held(&told, WEIR_COUNT_TOLD_LOST, s, &hold.tuple, row, dest);
  put_held(&events, WEIR_COUNT_RING_LOST, s, &hold.tuple, row, dest);
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
  for (u32 i = 0; i < WEIR_CHARGES && rows; i++) {
    u32 row = lowest_bit(rows);
    const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
    if (limit && !is_answered(s->tree, r->dest, limit, row, time)) {
      count(WEIR_COUNT_HELD);
      if (!(__sync_fetch_and_or(&s->flags, WEIR_SOCKET_HELD) & WEIR_SOCKET_HELD))
        begin_hold(s, p, row, r->dest);
      return 1;
    }
    rows &= rows - 1;
  }
  if (flags & WEIR_SOCKET_HELD) __sync_fetch_and_and(&s->flags, ~WEIR_SOCKET_HELD);
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
