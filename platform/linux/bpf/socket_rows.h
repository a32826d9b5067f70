/* Rows per flow. Their account is a word of the socket itself, one for all of them: what it sent
 * while any of them counted. So it takes no room in a table, goes with the socket and whatever TCP
 * still has of it, and never begins anew while the socket lives. What no socket sends is charged to
 * their accounts in the table, one for each person (floor.h). */
#ifndef WEIR_SOCKET_ROWS_H
#define WEIR_SOCKET_ROWS_H

#include "accounts.h"

struct least { /* of the rows that count for a packet; in memory, see struct trail */
  u64 most;    /* that a socket may send by those that refuse */
  u64 seen;    /* and by those that observe */
  u16 refuses; /* 1 + such a row */
  u16 observes;
};

__attribute__((noinline)) int look_at_row(struct weir_socket* s, u32 row, struct least* l) {
  u32 zero = 0;
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!s || !l || !limit || !now || !applies(limit, s->labels)) return 0;
  if ((limit->flags & WEIR_LIMIT_OBSERVE) || is_observing(now)) {
    if (limit->flow_bytes >= l->seen) return 0;
    l->seen = limit->flow_bytes;
    l->observes = 1 + row;
  } else if (limit->flow_bytes < l->most) {
    l->most = limit->flow_bytes;
    l->refuses = 1 + row;
  }
  return 0;
}

/* As charge_rows(), but that nothing comes early. */
__attribute__((noinline)) int charge_socket(struct weir_socket* s, u64 rows, u64 bytes) {
  if (!s) return 1;
  struct least l = {.most = ~0ull, .seen = ~0ull};
  for (u32 i = 0; i < WEIR_CHARGES && rows; i++) {
    look_at_row(s, lowest_bit(rows), &l);
    rows &= rows - 1;
  }
  if (rows) {
    count(WEIR_COUNT_TOO_MANY_LIMITS);
    return 1 + lowest_bit(rows);
  }
  for (int i = 0; i < WEIR_CAS_TRIES; i++) {
    u64 before = *(volatile u64*)&s->flow;
    if (before + bytes > l.most) return l.refuses;
    if (__sync_val_compare_and_swap(&s->flow, before, before + bytes) == before)
      return before + bytes > l.seen ? -(int)l.observes : 0;
  }
  count(WEIR_COUNT_CAS_EXHAUSTED);
  return l.refuses;
}

/* charge_rows() of all rows of a packet, those per flow among them. By itself: egress has no stack
 * left. */
__attribute__((noinline)) int pay_rows(struct weir_socket* s, struct charge* c, u64 rows) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!s || !c || !now) return 1;
  u64 own = rows & now->flows;
  rows &= ~own;
  int result = own ? charge_socket(s, own, c->bytes) : 0;
  if (result > 0 || !rows) return result;
  int other = charge_rows(c, rows);
  if (other > 0 && own) __sync_fetch_and_sub(&s->flow, c->bytes);
  return other ? other : result;
}

/* A first flight goes on under other rows: it counts where one of them is per flow. */
__attribute__((noinline)) int move_flight(struct weir_socket* s, u64 bytes, u64 from, u64 to) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!s || !now) return 0;
  if ((to & now->flows) && !(from & now->flows)) __sync_fetch_and_add(&s->flow, bytes);
  if ((from & now->flows) && !(to & now->flows)) __sync_fetch_and_sub(&s->flow, bytes);
  return 0;
}

#endif
