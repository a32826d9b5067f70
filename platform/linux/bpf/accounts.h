/* Charging: every row that counts for a packet takes its bytes by compare-and-swap, or none keeps
 * any. Global functions, so that the verifier walks each once instead of once a row. */
#ifndef WEIR_ACCOUNTS_H
#define WEIR_ACCOUNTS_H

#include "maps.h"

#define WEIR_CAS_TRIES \
  32               /* two CPUs on one word never needed more than a few; then the packet waits */
#define WEIR_Q4 16 /* a window's word counts 1/16 ns */

struct charge { /* one packet, or the first flight of a flow */
  u64 tree, dest, bytes, now;
  u32 person, labels;
  u32 unnamed;   /* of a flow that waits for its name: another account per destination */
  u32 exception; /* see weir_socket */
};

struct trail { /* what a charge has done so far; in memory, where the verifier follows no values */
  u64 before[WEIR_CHARGES]; /* words of windowed rows, for an exact undo */
  u32 done;                 /* bit n: the n-th row was charged */
  u32 refused;              /* 1 + the row that has no room */
  u32 over;                 /* 1 + a row that has no room and only observes */
  u32 pad;
};

static __always_inline int applies(const struct weir_limit* limit, u32 labels) {
  return limit->per != WEIR_PER_NONE && (!limit->labels || (limit->labels & labels));
}

static __always_inline int per_destination(u32 per) {
  return per >= WEIR_PER_PERSON_DEST;
}

static __always_inline int is_unnamed(const struct weir_limit* limit, const struct charge* c) {
  return c->unnamed && per_destination(limit->per);
}

/* The part of the row's number that counts here. */
static __always_inline u64 bytes_of(const struct weir_limit* limit, const struct charge* c) {
  return is_unnamed(limit, c) ? limit->unnamed_bytes : limit->bytes;
}

/* And its refill. 0: it is a total. */
static __always_inline u64 q4_of(const struct weir_limit* limit, const struct charge* c) {
  return is_unnamed(limit, c) ? limit->unnamed_ns_per_byte_q4 : limit->ns_per_byte_q4;
}

static __always_inline void make_key(struct weir_account_key* key, u32 row,
                                     const struct weir_limit* limit, const struct charge* c) {
  const u32 per = limit->per;
  key->limit = limit->account ? limit->account : row;
  key->per = per | (c->unnamed && per_destination(per) ? WEIR_PER_UNNAMED : 0);
  key->who = per == WEIR_PER_TREE || per == WEIR_PER_TREE_DEST       ? c->tree
             : per == WEIR_PER_PERSON || per == WEIR_PER_PERSON_DEST ? c->person
                                                                     : 0;
  key->dest = limit->flags & WEIR_LIMIT_GRANTED ? c->exception : per_destination(per) ? c->dest : 0;
}

/* What `bytes` move a windowed word. Never more than the burst, so that nothing overflows. */
static __always_inline u64 cost_of(const struct weir_limit* limit, const struct charge* c) {
  u64 most = bytes_of(limit, c);
  return (c->bytes < most ? c->bytes : most) * q4_of(limit, c);
}

/* What a windowed word becomes by a charge: it starts at now if it has refilled. */
static __always_inline u64 moved(u64 before, u64 now, u64 cost) {
  return (before < now ? now : before) + cost;
}

static const struct weir_account no_charges; /* not on the stack, which is short */

static __always_inline struct weir_account* open_account(const struct weir_account_key* key) {
  struct weir_account* a = bpf_map_lookup_elem(&accounts, key);
  if (a) return a;
  bpf_map_update_elem(&accounts, key, &no_charges, BPF_NOEXIST);
  a = bpf_map_lookup_elem(&accounts, key);
  if (!a) count(WEIR_COUNT_ACCOUNTS_FULL);
  return a;
}

/* One that the guard made, while it lasts. */
static __always_inline struct weir_account* granted_account(const struct weir_account_key* key,
                                                            u64 now) {
  struct weir_account* a = bpf_map_lookup_elem(&accounts, key);
  return a && now < a->until_ns ? a : 0;
}

static __always_inline int no_account(struct trail* t, u32 row, int observe) {
  if (!observe) t->refused = 1 + row;
  return 0;
}

/* One row, the `slot`-th of its packet. */
__attribute__((noinline)) int charge_row(struct charge* c, u32 row, struct trail* t, u32 slot) {
  if (!c || !t) return 0;
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit || !applies(limit, c->labels)) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit, c);
  int observe = limit->flags & WEIR_LIMIT_OBSERVE;
  struct weir_account* account =
      limit->flags & WEIR_LIMIT_GRANTED ? granted_account(&key, c->now) : open_account(&key);
  if (!account) return no_account(t, row, observe);

  u64 q4 = q4_of(limit, c);
  u64 now = c->now * WEIR_Q4;
  u64 bytes = bytes_of(limit, c);
  u64 cost = q4 ? cost_of(limit, c) : c->bytes;
  u64 most = q4 ? bytes * q4 : bytes;
  slot &= WEIR_CHARGES - 1;
  for (int i = 0; i < WEIR_CAS_TRIES; i++) {
    u64 before = *(volatile u64*)&account->word;
    u64 after = q4 ? moved(before, now, cost) : before + cost;
    int room = c->bytes <= bytes && after - (q4 ? now : 0) <= most;
    if (!room && !observe) {
      __sync_fetch_and_add(&account->refused, c->bytes);
      t->refused = 1 + row;
      return 0;
    }
    if (__sync_val_compare_and_swap(&account->word, before, after) == before) {
      t->before[slot] = before;
      t->done |= 1u << slot;
      if (!room) t->over = 1 + row;
      __sync_fetch_and_add(&account->charged, c->bytes);
      return 0;
    }
  }
  count(WEIR_COUNT_CAS_EXHAUSTED);
  return no_account(t, row, observe);
}

/* Takes back what a windowed word has not refilled by itself since `since`: giving back more would
 * let a window pass more than its number. */
static __always_inline void give_back(struct weir_account* account, u64 cost, u64 since) {
  u64 refilled = (bpf_ktime_get_boot_ns() - since) * WEIR_Q4;
  if (cost > refilled) __sync_fetch_and_sub(&account->word, cost - refilled);
}

/* Undoes charge_row() of the same packet. A window whose word nobody touched since gets it back as
 * it was. */
__attribute__((noinline)) int undo_row(struct charge* c, u32 row, struct trail* t, u32 slot) {
  if (!c || !t) return 0;
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit, c);
  struct weir_account* account = bpf_map_lookup_elem(&accounts, &key);
  if (!account) return 0;
  slot &= WEIR_CHARGES - 1;
  u64 before = t->before[slot];
  u64 cost = cost_of(limit, c);
  u64 after = moved(before, c->now * WEIR_Q4, cost);
  if (!limit->ns_per_byte_q4)
    __sync_fetch_and_sub(&account->word, c->bytes);
  else if (__sync_val_compare_and_swap(&account->word, after, before) != after)
    give_back(account, cost, c->now);
  __sync_fetch_and_sub(&account->charged, c->bytes);
  return 0;
}

/* A first flight leaves a row. `c->now`: when it began. */
__attribute__((noinline)) int refund_row(struct charge* c, u32 row) {
  if (!c) return 0;
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit || !applies(limit, c->labels)) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit, c);
  struct weir_account* account = bpf_map_lookup_elem(&accounts, &key);
  if (!account) return 0;
  if (limit->ns_per_byte_q4)
    give_back(account, cost_of(limit, c), c->now);
  else
    __sync_fetch_and_sub(&account->word, c->bytes);
  __sync_fetch_and_sub(&account->charged, c->bytes);
  return 0;
}

/* Place of the lowest bit, by a de Bruijn sequence: clang 14 has no way to count trailing zeros for
 * BPF. */
static const u8 bit_places[64] = {0,  1,  48, 2,  57, 49, 28, 3,  61, 58, 50, 42, 38, 29, 17, 4,
                                  62, 55, 59, 36, 53, 51, 43, 22, 45, 39, 33, 30, 24, 18, 12, 5,
                                  63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21, 44, 32, 23, 11,
                                  46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9,  13, 8,  7,  6};

static __always_inline u32 lowest_bit(u64 rows) {
  return bit_places[((rows & -rows) * 0x03f79d71b4cb0a89ull) >> 58];
}

/* All rows or none. 0: charged. n > 0: row n - 1 refused. n < 0: charged, though the observing row
 * -n - 1 has no room. */
__attribute__((noinline)) int charge_rows(struct charge* c, u64 rows) {
  if (!c) return 1;
  struct trail t = {};
  u64 left = rows;
  for (u32 slot = 0; slot < WEIR_CHARGES && left; slot++) {
    charge_row(c, lowest_bit(left), &t, slot);
    if (t.refused) break;
    left &= left - 1;
  }
  if (!left) return t.over ? -(int)t.over : 0;
  if (!t.refused) {
    count(WEIR_COUNT_TOO_MANY_LIMITS);
    t.refused = 1 + lowest_bit(left);
  }
  for (u32 slot = 0; slot < WEIR_CHARGES && rows; slot++) {
    if (t.done & (1u << slot)) undo_row(c, lowest_bit(rows), &t, slot);
    rows &= rows - 1;
  }
  return t.refused;
}

#endif
