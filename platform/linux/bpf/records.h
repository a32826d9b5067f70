/* What goes into the two rings. A record that finds no room is counted, never waited for. */
#ifndef WEIR_RECORDS_H
#define WEIR_RECORDS_H

#include "accounts.h"
#include "packet.h"

/* A socket's next usage record is due after 64 KiB out, or a sixteenth of what the last one told if
 * that is more, up to 1 MiB: 1,200 records a second at 10 Gbit/s. Received bytes count a sixteenth.
 */
#define WEIR_USAGE_STEP (64ull << 10)
#define WEIR_USAGE_STEP_MOST (1ull << 20)
#define WEIR_TELL_EVERY_NS 1000000000ull /* a refusal of the same account is told once a second */

/* Waking the reader costs who sends 8 us. A record that somebody waits for (a flow for its verdict)
 * wakes; the others are read within 100 ms (500 ms where the last look found none), or once they
 * are a sixteenth of the ring.
 */
#define WEIR_WAKE_AT (WEIR_EVENTS_BYTES / 16)

static __always_inline u64 when_looked(void) {
  u64 waits = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
  return waits < WEIR_WAKE_AT ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP;
}

static __always_inline void start_record(struct weir_record* r, u32 kind, u32 size,
                                         const struct weir_socket* s) {
  r->kind = kind;
  r->size = size;
  r->boot_ns = bpf_ktime_get_boot_ns();
  r->cookie = s->cookie;
  r->tree = s->tree;
  r->person = s->person;
  r->pid = s->pid;
}

static __always_inline void put_tuple(struct weir_tuple* t, const struct packet* p, u8 family) {
  __builtin_memcpy(t->local, p->local, 16);
  __builtin_memcpy(t->remote, p->remote, 16);
  t->local_port = p->local_port;
  t->remote_port = p->remote_port;
  t->protocol = p->protocol;
  t->family = family;
  t->pad = 0;
}

static __always_inline u64 usage_volume(const struct weir_socket* s) {
  return s->bytes_out + s->bytes_in / 16;
}

static __always_inline int usage_is_due(const struct weir_socket* s) {
  u64 step = s->told_bytes / 16;
  if (step < WEIR_USAGE_STEP) step = WEIR_USAGE_STEP;
  if (step > WEIR_USAGE_STEP_MOST) step = WEIR_USAGE_STEP_MOST;
  return usage_volume(s) - s->told_bytes >= step;
}

static __always_inline void put_usage(struct weir_socket* s, const struct weir_tuple* tuple) {
  s->told_bytes = usage_volume(s);
  struct weir_usage* u = bpf_ringbuf_reserve(&events, sizeof(*u), 0);
  if (!u) {
    count(WEIR_COUNT_RING_LOST);
    return;
  }
  start_record(&u->record, WEIR_REC_USAGE, sizeof(*u), s);
  u->tuple = *tuple;
  u->bytes_out = s->bytes_out;
  u->bytes_in = s->bytes_in;
  u->refused = s->refused;
  u->closed = s->flags & WEIR_SOCKET_CLOSED ? 1 : 0;
  u->pad = 0;
  bpf_ringbuf_submit(u, when_looked());
}

/* By itself: its tuple is on a stack of its own. */
__attribute__((noinline)) int usage_of_packet(struct weir_socket* s, struct packet* p, u8 family) {
  if (!s || !p) return 0;
  struct weir_tuple tuple;
  put_tuple(&tuple, p, family);
  put_usage(s, &tuple);
  return 0;
}

/* Slots of three sizes: the ring reserves constants only, and 2 KiB for a DNS query would waste it.
 */
#define WEIR_PUT_HEAD(room)                                                     \
  do {                                                                          \
    struct weir_head* h = bpf_ringbuf_reserve(&events, sizeof(*h) + (room), 0); \
    if (!h) {                                                                   \
      count(WEIR_COUNT_RING_LOST);                                              \
      return 0;                                                                 \
    }                                                                           \
    start_record(&h->record, WEIR_REC_HEAD, sizeof(*h) + (room), s);            \
    h->wire_length = skb->len;                                                  \
    h->incoming = incoming;                                                     \
    __builtin_memset(h->pad, 0, sizeof(h->pad));                                \
    h->via = s->flags & WEIR_SOCKET_HOME ? skb->ifindex : 0;                    \
    /* This form of the bound is the one that the verifier of 6.1 follows. */   \
    u32 last = (length - 1) & ((room)-1);                                       \
    h->captured = last + 1;                                                     \
    if (bpf_skb_load_bytes(skb, 0, h + 1, last + 1)) h->captured = 0;           \
    bpf_ringbuf_submit(h, BPF_RB_FORCE_WAKEUP);                                 \
    return 0;                                                                   \
  } while (0)

/* The packet's first bytes, from the IP header on. The rest of a slot is not cleared: a reader
 * takes `captured` bytes. */
__attribute__((noinline)) int put_head(struct __sk_buff* skb, struct weir_socket* s, u8 incoming) {
  if (!s) return 0;
  u32 length = skb->len;
  if (!length) return 0;
  if (length > WEIR_HEAD_MAX) length = WEIR_HEAD_MAX;
  if (length <= 256) WEIR_PUT_HEAD(256);
  if (length <= 1024) WEIR_PUT_HEAD(1024);
  WEIR_PUT_HEAD(WEIR_HEAD_MAX);
}

struct refusal {
  struct weir_account_key key;
  u64 charged, length;
  u8 family, settled;
  u8 held; /* it waits for an answer: WEIR_REC_HELD */
};

static __always_inline void put_refused(void* ring, u32 lost, const struct weir_socket* s,
                                        const struct packet* p, const struct refusal* what) {
  struct weir_refused* r = bpf_ringbuf_reserve(ring, sizeof(*r), 0);
  if (!r) {
    count(lost);
    return;
  }
  start_record(&r->record, what->held ? WEIR_REC_HELD : WEIR_REC_REFUSED, sizeof(*r), s);
  put_tuple(&r->tuple, p, what->family);
  r->account = what->key;
  r->charged = what->charged;
  r->length = what->length;
  r->settled = what->settled;
  r->pad = 0;
  bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
}

#define WEIR_TELL(row, family, settled) ((row) | (u32)(family) << 8 | (u32)(settled) << 16)

/* Once a second: 1: this is the time. */
static __always_inline int is_due(w_u64* told_ns, u64 now) {
  u64 told = *told_ns;
  if (told && (long long)(now - told) < (long long)WEIR_TELL_EVERY_NS) return 0;
  return __sync_val_compare_and_swap(told_ns, told, now) == told;
}

/* Once a second for an account, and for each socket the first time and the first time that it is
 * settled: the guard ends sockets by that. `what_row`: see WEIR_TELL. */
__attribute__((noinline)) int tell_row(struct weir_socket* s, struct charge* c, struct packet* p,
                                       u32 what_row) {
  u32 row = what_row & (WEIR_LIMITS - 1);
  const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
  if (!s || !c || !p || !limit) return 0;
  struct refusal what = {
      .length = c->bytes, .family = what_row >> 8, .settled = what_row >> 16 & 1};
  u32 once = WEIR_SOCKET_TOLD | (what.settled ? WEIR_SOCKET_TOLD_SETTLED : 0);
  int known = (s->flags & once) == once;
  make_key(&what.key, row, limit, c);
  if (limit->per == WEIR_PER_FLOW && s->cookie) { /* without one it is nobody's: floor.h */
    what.key.who = s->cookie;
    what.charged = s->flow;
    if (!is_due(&s->flow_told_ns, c->now) && known) return 0;
  } else {
    struct weir_account* account = bpf_map_lookup_elem(&accounts, &what.key);
    if (!account) {
      struct weir_account_key shared = what.key;
      account = overflow_account(&shared);
    }
    if (account) {
      if (!is_due(&account->told_ns, c->now) && known) return 0;
      what.charged = account->charged;
    } else if (known) {
      return 0; /* the table is full: there is no account to keep the time of */
    }
  }
  what.key.limit = row;
  __sync_fetch_and_or(&s->flags, once);
  put_refused(&told, WEIR_COUNT_TOLD_LOST, s, p, &what);
  put_refused(&events, WEIR_COUNT_RING_LOST, s, p, &what);
  return 0;
}

#endif
