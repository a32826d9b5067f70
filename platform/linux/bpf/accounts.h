/* Charging: every row that counts for a packet takes its bytes by compare-and-swap, or none keeps
 * any. Global functions, so that the verifier walks each once instead of once a row. */
#ifndef WEIR_ACCOUNTS_H
#define WEIR_ACCOUNTS_H

#include "maps.h"

#define WEIR_CAS_TRIES \
  32               /* two CPUs on one word never needed more than a few; then the packet waits */
#define WEIR_Q4 16 /* a window's word counts 1/16 ns */
/* An account asks the guard at most this often: writing to a disk takes about as long. */
#define WEIR_ASK_EVERY_NS 10000000ull

struct charge { /* one packet, or the first flight of a flow */
  u64 tree, dest, bytes, now;
  u32 person, labels;
  u32 unnamed;   /* of a flow that waits for its name: another account per destination */
  u32 exception; /* see weir_socket */
};

struct trail { /* what a charge has done so far; in memory, where the verifier follows no values */
  u64 before[WEIR_CHARGES]; /* words of windowed rows, for an exact undo */
  u16 refused;              /* 1 + the row that has no room; with WEIR_EARLY */
  u16 over;                 /* 1 + a row that has no room and only observes */
  u8 done;                  /* bit n: the n-th row was charged */
  u8 spilled;               /* bit n: to the row's overflow account */
  u8 asks;                  /* the guard has to be told that an account is beyond its mark */
  u8 pad;
};

static __always_inline int applies(const struct weir_limit* limit, u32 labels) {
  if (limit->flags & WEIR_LIMIT_HOLD) return 0; /* charges nothing: hold.h */
  return limit->per != WEIR_PER_NONE && (!limit->labels || (limit->labels & labels));
}

static __always_inline int per_destination(u32 per) {
  return per >= WEIR_PER_PERSON_DEST && per <= WEIR_PER_HOST_DEST;
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
  key->who = per == WEIR_PER_TREE || per == WEIR_PER_TREE_DEST ? c->tree
             : per == WEIR_PER_PERSON || per == WEIR_PER_PERSON_DEST ||
                     per == WEIR_PER_FLOW /* what no socket sends: socket_rows.h */
                 ? c->person
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

/* The row's account for all that found no room in the table. The loader makes it. */
static __always_inline struct weir_account* overflow_account(struct weir_account_key* key) {
  key->per |= WEIR_PER_OVERFLOW;
  key->who = 0;
  key->dest = 0;
  return bpf_map_lookup_elem(&accounts, key);
}

static const struct weir_account no_charges; /* not on the stack, which is short */

/* An account that nothing was charged to in this boot. What it may have taken in a former one
 * without being listed on the disk counts as spent. Until `kept` says more nobody charges it.
 * 1: the table is full. */
__attribute__((noinline)) int make_account(struct charge* c, u32 row) {
  u32 zero = 0;
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!c || !limit || !now) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit, c);
  int made = !bpf_map_update_elem(&accounts, &key, &no_charges, BPF_NOEXIST);
  struct weir_account* account = bpf_map_lookup_elem(&accounts, &key);
  if (!account) {
    count(WEIR_COUNT_ACCOUNTS_FULL);
    return 1;
  }
  if (!made || !(limit->flags & WEIR_LIMIT_KEPT)) return 0;
  u64 q4 = q4_of(limit, c);
  u64 most = q4 ? bytes_of(limit, c) * q4 : bytes_of(limit, c);
  u64 unlisted = most / WEIR_UNLISTED_SHARE;
  if (!q4 && unlisted > WEIR_UNLISTED_OF_TOTAL) unlisted = WEIR_UNLISTED_OF_TOTAL;
  u64 spent = (q4 ? now->fresh_ns * WEIR_Q4 : 0) + (now->unlisted_spent ? most : unlisted);
  if (now->fresh_ns) __sync_val_compare_and_swap(&account->word, 0, spent);
  account->mark = unlisted / 2;
  *(volatile u64*)&account->kept = unlisted;
  return 0;
}

/* Beyond its mark: the guard is to write down that more may be spent. 1: it has to be told. */
static __always_inline int must_ask(struct weir_account* account, u64 now) {
  u64 asked = account->asked_ns;
  if (asked && (long long)(now - asked) < (long long)WEIR_ASK_EVERY_NS) return 0;
  return __sync_val_compare_and_swap(&account->asked_ns, asked, now) == asked;
}

static const struct weir_record question = {.kind = WEIR_REC_ASK, .size = sizeof(question)};

/* Should the ring be full: the guard looks by itself as well. */
static __always_inline void ask(void) {
  if (bpf_ringbuf_output(&told, (void*)&question, sizeof(question), 0)) count(WEIR_COUNT_TOLD_LOST);
}

/* Before its owner sends anything: what is lost while the disk is written may be a question for a
 * name, and who asks gives up. 1: the guard has to be told. */
__attribute__((noinline)) int open_account(struct charge* c, u32 row) {
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  if (!c || !limit || !(limit->flags & WEIR_LIMIT_KEPT)) return 0;
  if (limit->per != WEIR_PER_PERSON && limit->per != WEIR_PER_HOST) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit, c);
  if (bpf_map_lookup_elem(&accounts, &key)) return 0;
  make_account(c, row);
  struct weir_account* account = bpf_map_lookup_elem(&accounts, &key);
  return account && must_ask(account, c->now);
}

/* One row, the `slot`-th of its packet. 1: it has no account yet. */
__attribute__((noinline)) int charge_row(struct charge* c, u32 row, struct trail* t, u32 slot) {
  if (!c || !t) return 0;
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit || !applies(limit, c->labels)) return 0;
  slot &= WEIR_CHARGES - 1;
  struct weir_account_key key = {};
  make_key(&key, row, limit, c);
  int shared = t->spilled >> slot & 1;
  struct weir_account* account =
      shared ? overflow_account(&key) : bpf_map_lookup_elem(&accounts, &key);
  u32 flags = limit->flags;
  if (account && (flags & WEIR_LIMIT_GRANTED) && c->now >= account->until_ns) account = 0;
  if (!account) {
    if (!shared && !(flags & WEIR_LIMIT_GRANTED)) return 1;
    if (!(flags & WEIR_LIMIT_OBSERVE)) t->refused = 1 + row;
    return 0;
  }

  u64 q4 = q4_of(limit, c);
  u64 now = q4 ? c->now * WEIR_Q4 : 0;
  u64 cost = q4 ? cost_of(limit, c) : c->bytes;
  u64 most = bytes_of(limit, c);
  most = c->bytes > most ? 0 : q4 ? most * q4 : most;
  u64 highest = flags & WEIR_LIMIT_OBSERVE ? ~0ull : most, level = 0;
  if (flags & WEIR_LIMIT_KEPT && *(volatile u64*)&account->kept < highest)
    highest = *(volatile u64*)&account->kept;
  int taken = 0;
  /* As little as can be: the verifier walks each try. */
  for (int i = 0; i < WEIR_CAS_TRIES && !taken; i++) {
    u64 before = *(volatile u64*)&account->word;
    u64 after = moved(before, now, cost);
    level = after - now;
    if (level > highest) break;
    t->before[slot] = before;
    taken = __sync_val_compare_and_swap(&account->word, before, after) == before;
  }
  if (level > most && !(flags & WEIR_LIMIT_OBSERVE)) {
    __sync_fetch_and_add(&account->refused, c->bytes);
    t->refused = 1 + row;
    return 0;
  }
  if (flags & WEIR_LIMIT_KEPT && level > *(volatile u64*)&account->mark)
    t->asks |= must_ask(account, c->now);
  if (!taken) {
    if (level > highest)
      t->refused = WEIR_EARLY | (1 + row);
    else {
      count(WEIR_COUNT_CAS_EXHAUSTED);
      if (!(flags & WEIR_LIMIT_OBSERVE)) t->refused = 1 + row;
    }
    return 0;
  }
  t->done |= 1u << slot;
  if (level > most) t->over = 1 + row;
  __sync_fetch_and_add(&account->charged, c->bytes);
  return 0;
}

/* Never below nothing: what was charged to the overflow account may be given back to one that was
 * opened since. A word that others change all the time stays as it is, which is on the safe side.
 */
static __always_inline void take_off(struct weir_account* account, u64 amount) {
  for (int i = 0; i < WEIR_CAS_TRIES; i++) {
    u64 before = *(volatile u64*)&account->word;
    u64 after = before > amount ? before - amount : 0;
    if (__sync_val_compare_and_swap(&account->word, before, after) == before) return;
  }
  count(WEIR_COUNT_CAS_EXHAUSTED);
}

/* Takes back what a windowed word has not refilled by itself since `since`: giving back more would
 * let a window pass more than its number. */
static __always_inline void give_back(struct weir_account* account, u64 cost, u64 since) {
  u64 refilled = (bpf_ktime_get_boot_ns() - since) * WEIR_Q4;
  if (cost > refilled) take_off(account, cost - refilled);
}

/* Undoes charge_row() of the same packet. A window whose word nobody touched since gets it back as
 * it was. */
__attribute__((noinline)) int undo_row(struct charge* c, u32 row, struct trail* t, u32 slot) {
  if (!c || !t) return 0;
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit, c);
  slot &= WEIR_CHARGES - 1;
  struct weir_account* account =
      t->spilled & (1u << slot) ? overflow_account(&key) : bpf_map_lookup_elem(&accounts, &key);
  if (!account) return 0;
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
  if (!account) account = overflow_account(&key);
  if (!account) return 0;
  if (limit->ns_per_byte_q4)
    give_back(account, cost_of(limit, c), c->now);
  else
    take_off(account, c->bytes);
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

/* Those that whatever a person's programs send will be charged to. */
static __always_inline void open_accounts(u32 person) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!now) return;
  struct charge c = {.person = person, .now = bpf_ktime_get_boot_ns()};
  u64 rows = now->unclassified;
  int asks = 0;
  for (u32 i = 0; i < WEIR_CHARGES && rows; i++) {
    asks |= open_account(&c, lowest_bit(rows));
    rows &= rows - 1;
  }
  if (asks) ask();
}

/* 1: an administrator had this host released (weir_state.observed_until). */
static __always_inline int is_observing(const struct weir_state* now) {
  return now->observed_until && bpf_ktime_get_boot_ns() < now->observed_until;
}

/* A row that has just refused, of a host that was released: it counts, and lets pass. A window is
 * spent after that, and not ahead of itself by what it let pass. Of that there is no exact undo:
 * its bit of `done` stays clear. A function of its own: charge_row() has no stack left. */
__attribute__((noinline)) int observe_row(struct charge* c, u32 row, struct trail* t, u32 slot) {
  if (!c || !t) return 0;
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  if (!limit) return 0;
  struct weir_account_key key = {};
  make_key(&key, row, limit, c);
  struct weir_account* account = t->spilled >> (slot & (WEIR_CHARGES - 1)) & 1
                                     ? overflow_account(&key)
                                     : bpf_map_lookup_elem(&accounts, &key);
  int early = t->refused & WEIR_EARLY;
  t->refused = 0;
  t->over = 1 + row;
  if (!account) return 0;
  u64 q4 = q4_of(limit, c);
  u64 now = q4 ? c->now * WEIR_Q4 : 0;
  u64 cost = q4 ? cost_of(limit, c) : c->bytes;
  u64 most = now + bytes_of(limit, c) * q4;
  for (int i = 0; i < WEIR_CAS_TRIES; i++) {
    u64 before = *(volatile u64*)&account->word;
    u64 after = moved(before, now, cost);
    if (q4 && after > most) after = moved(before, most, 0);
    if (__sync_val_compare_and_swap(&account->word, before, after) == before) break;
  }
  __sync_fetch_and_add(&account->charged, c->bytes);
  if (!early && account->refused >= c->bytes)
    __sync_fetch_and_sub(&account->refused, c->bytes); /* charge_row() counted it */
  return 0;
}

/* All rows or none. 0: charged. n > 0: row n - 1 refused, early with WEIR_EARLY. n < 0: charged,
 * though the observing row -n - 1 has no room. */
__attribute__((noinline)) int charge_rows(struct charge* c, u64 rows) {
  if (!c) return 1;
  struct trail t = {};
  u64 left = rows;
  for (u32 slot = 0; slot < WEIR_CHARGES && left; slot++) {
    if (charge_row(c, lowest_bit(left), &t, slot)) {
      asm volatile("" : "+r"(left)); /* the row is found again: there is no stack left to keep it */
      t.spilled |= make_account(c, lowest_bit(left)) << slot;
      asm volatile("" : "+r"(left));
      charge_row(c, lowest_bit(left), &t, slot);
    }
    if (t.refused) {
      u32 zero = 0;
      const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
      if (!now || !is_observing(now)) break;
      asm volatile("" : "+r"(left));
      observe_row(c, lowest_bit(left), &t, slot);
      asm volatile("" : "+r"(left));
    }
    left &= left - 1;
  }
  if (t.asks) ask();
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
