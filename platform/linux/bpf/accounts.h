/* Charging: every row that counts for a packet takes its bytes by compare-and-swap, or none keeps any.
 * Global functions, so that the verifier walks each once instead of once a row. */
#ifndef WEIR_ACCOUNTS_H
#define WEIR_ACCOUNTS_H

#include "maps.h"

#define WEIR_CAS_TRIES 32 /* two CPUs on one word never needed more than a few; then the packet waits */
#define WEIR_Q4 16        /* a window's word counts 1/16 ns */

enum row_result { WEIR_ROW_SKIPPED, WEIR_ROW_CHARGED, WEIR_ROW_OVER /* charged, but over */, WEIR_ROW_REFUSED };

struct charge { /* one packet, or the first flight of a flow */
  u64 tree, dest, bytes, now;
  u32 person, labels;
};

struct words { /* of windowed rows, before and after their charge: for an exact undo */
  u64 before[WEIR_CHARGES], after[WEIR_CHARGES];
};

static __always_inline int applies(const struct weir_limit *limit, u32 labels) {
  return limit->per != WEIR_PER_NONE && (!limit->labels || (limit->labels & labels));
}

static __always_inline int per_destination(u32 per) { return per >= WEIR_PER_PERSON_DEST; }

static __always_inline void make_key(struct weir_account_key *key, u32 row, u32 per, const struct charge *c) {
  key->limit = row;
  key->per = per;
  key->who = per == WEIR_PER_TREE || per == WEIR_PER_TREE_DEST       ? c->tree
             : per == WEIR_PER_PERSON || per == WEIR_PER_PERSON_DEST ? c->person
                                                                     : 0;
  key->dest = per_destination(per) ? c->dest : 0;
}

/* What `bytes` move a windowed word. Never more than the burst, so that nothing overflows. */
static __always_inline u64 cost_of(const struct weir_limit *limit, u64 bytes) {
  return (bytes < limit->bytes ? bytes : limit->bytes) * limit->ns_per_byte_q4;
}

static __always_inline struct weir_account *open_account(const struct weir_account_key *key) {
  struct weir_account *a = bpf_map_lookup_elem(&accounts, key);
  if (a) return a;
  struct weir_account fresh = {};
  bpf_map_update_elem(&accounts, key, &fresh, BPF_NOEXIST);
  a = bpf_map_lookup_elem(&accounts, key);
  if (!a) count(WEIR_COUNT_ACCOUNTS_FULL);
  return a;
}

/* One row. `slot` says where its words are kept for the undo. */
__attribute__((noinline)) int charge_row(struct charge *c, u32 row, struct words *w, u32 slot) {
  if (!c || !w) return WEIR_ROW_REFUSED;
  const struct weir_limit *limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit || !applies(limit, c->labels)) return WEIR_ROW_SKIPPED;
  struct weir_account_key key = {};
  make_key(&key, row, limit->per, c);
  int observe = limit->flags & WEIR_LIMIT_OBSERVE;
  struct weir_account *account = open_account(&key);
  if (!account) return observe ? WEIR_ROW_SKIPPED : WEIR_ROW_REFUSED;

  u64 q4 = limit->ns_per_byte_q4;
  u64 now = c->now * WEIR_Q4;
  u64 cost = q4 ? cost_of(limit, c->bytes) : c->bytes;
  u64 most = q4 ? limit->bytes * q4 : limit->bytes;
  slot &= WEIR_CHARGES - 1;
  for (int i = 0; i < WEIR_CAS_TRIES; i++) {
    u64 before = *(volatile u64 *)&account->word;
    u64 after = (q4 && before < now ? now : before) + cost;
    int room = c->bytes <= limit->bytes && after - (q4 ? now : 0) <= most;
    if (!room && !observe) {
      __sync_fetch_and_add(&account->refused, c->bytes);
      return WEIR_ROW_REFUSED;
    }
    if (__sync_val_compare_and_swap(&account->word, before, after) == before) {
      w->before[slot] = before;
      w->after[slot] = after;
      __sync_fetch_and_add(&account->charged, c->bytes);
      return room ? WEIR_ROW_CHARGED : WEIR_ROW_OVER;
    }
  }
  count(WEIR_COUNT_CAS_EXHAUSTED);
  return observe ? WEIR_ROW_SKIPPED : WEIR_ROW_REFUSED;
}

/* Takes back what a windowed word has not refilled by itself since `since`: giving back more would let
 * a window pass more than its number. */
static __always_inline void give_back(struct weir_account *account, u64 cost, u64 since) {
  u64 refilled = (bpf_ktime_get_boot_ns() - since) * WEIR_Q4;
  if (cost > refilled) __sync_fetch_and_sub(&account->word, cost - refilled);
}

/* Undoes charge_row() of the same packet. A window whose word nobody touched since gets it back as it was. */
__attribute__((noinline)) int undo_row(struct charge *c, u32 row, struct words *w, u32 slot) {
  if (!c || !w) return 0;
  const struct weir_limit *limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit->per, c);
  struct weir_account *account = bpf_map_lookup_elem(&accounts, &key);
  if (!account) return 0;
  slot &= WEIR_CHARGES - 1;
  u64 after = w->after[slot];
  if (!limit->ns_per_byte_q4)
    __sync_fetch_and_sub(&account->word, c->bytes);
  else if (__sync_val_compare_and_swap(&account->word, after, w->before[slot]) != after)
    give_back(account, cost_of(limit, c->bytes), c->now);
  __sync_fetch_and_sub(&account->charged, c->bytes);
  return 0;
}

/* A first flight leaves a row (`c->now`: when it began) … */
__attribute__((noinline)) int refund_row(struct charge *c, u32 row) {
  if (!c) return 0;
  const struct weir_limit *limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit || !applies(limit, c->labels)) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit->per, c);
  struct weir_account *account = bpf_map_lookup_elem(&accounts, &key);
  if (!account) return 0;
  if (limit->ns_per_byte_q4)
    give_back(account, cost_of(limit, c->bytes), c->now);
  else
    __sync_fetch_and_sub(&account->word, c->bytes);
  __sync_fetch_and_sub(&account->charged, c->bytes);
  return 0;
}

/* … or enters one that did not count it. Its bytes have left: they are charged even where there is no
 * room, and the row is spent then. */
__attribute__((noinline)) int enter_row(struct charge *c, u32 row) {
  if (!c) return 0;
  const struct weir_limit *limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit || !applies(limit, c->labels)) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit->per, c);
  struct weir_account *account = open_account(&key);
  if (!account) return 0;
  u64 now = bpf_ktime_get_boot_ns() * WEIR_Q4;
  u64 before = *(volatile u64 *)&account->word;
  /* An idle window starts at now; if the swap fails somebody else has just started it. */
  if (limit->ns_per_byte_q4 && before < now)
    __sync_val_compare_and_swap(&account->word, before, now);
  __sync_fetch_and_add(&account->word,
                       limit->ns_per_byte_q4 ? cost_of(limit, c->bytes) : c->bytes);
  __sync_fetch_and_add(&account->charged, c->bytes);
  return 0;
}

/* Place of the lowest bit, by a de Bruijn sequence: clang 14 has no way to count trailing zeros for BPF. */
static const u8 bit_places[64] = {
    0, 1, 48, 2, 57, 49, 28, 3, 61, 58, 50, 42, 38, 29, 17, 4,
    62, 55, 59, 36, 53, 51, 43, 22, 45, 39, 33, 30, 24, 18, 12, 5,
    63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21, 44, 32, 23, 11,
    46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9, 13, 8, 7, 6};

static __always_inline u32 lowest_bit(u64 rows) {
  return bit_places[((rows & -rows) * 0x03f79d71b4cb0a89ull) >> 58];
}

/* All rows or none. 0: charged. n > 0: row n - 1 refused. n < 0: charged, though the observing row
 * -n - 1 has no room. */
__attribute__((noinline)) int charge_rows(struct charge *c, u64 rows) {
  if (!c) return 1;
  struct words w = {};
  u64 left = rows, done = 0;
  int refused = 0, over = 0;
  for (u32 slot = 0; slot < WEIR_CHARGES && left; slot++) {
    u32 row = lowest_bit(left);
    int result = charge_row(c, row, &w, slot);
    if (result == WEIR_ROW_REFUSED) {
      refused = 1 + row;
      break;
    }
    left &= left - 1;
    if (result != WEIR_ROW_SKIPPED) done |= 1ull << slot;
    if (result == WEIR_ROW_OVER) over = -1 - (int)row;
  }
  if (!left) return over;
  if (!refused) {
    count(WEIR_COUNT_TOO_MANY_LIMITS);
    refused = 1 + lowest_bit(left);
  }
  for (u32 slot = 0; slot < WEIR_CHARGES && rows; slot++) {
    if (done & (1ull << slot)) undo_row(c, lowest_bit(rows), &w, slot);
    rows &= rows - 1;
  }
  return refused;
}

#endif
