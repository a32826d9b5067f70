/* Which rows count for a packet: its socket's verdict, else the prefix that holds the address, else
 * `unclassified`. And the way of a first flight: charged to every row that could apply, handed back
 * where the verdict says that it doesn't. */
#ifndef WEIR_FLOW_H
#define WEIR_FLOW_H

#include "accounts.h"
#include "packet.h"
#include "records.h"
#include "socket_rows.h"

#define WEIR_ACKNOWLEDGEMENT_BYTES 100 /* CONTRACT, "What is counted" */
#define WEIR_ACKNOWLEDGEMENT_AFTER 2   /* datagrams received since our last */

struct route { /* of one packet; the socket holds a copy of it while it has one peer */
  u64 limits, dest;
  u32 classified;
  u32 unnamed; /* its name is awaited: see WEIR_PER_UNNAMED */
};

/* The /24 or /48: what `per: destination` means where nothing gives a better key. */
static __always_inline u64 default_dest(const u8* a) {
  if (*(const u64*)a == 0 && *(const u32*)(a + 8) == bpf_htonl(0x0000ffff))
    return 4ull << 56 | (u64)a[12] << 16 | (u64)a[13] << 8 | a[14];
  return 6ull << 56 | (u64)a[0] << 40 | (u64)a[1] << 32 | (u64)a[2] << 24 | (u64)a[3] << 16 |
         (u64)a[4] << 8 | a[5];
}

static __always_inline int same_address(const u8* a, const u8* b) {
  return ((const u64*)a)[0] == ((const u64*)b)[0] && ((const u64*)a)[1] == ((const u64*)b)[1];
}

static __always_inline void route_by_address(struct route* r, const u8* address,
                                             const struct weir_state* now) {
  struct weir_prefix_key key = {.length = 128};
  __builtin_memcpy(key.address, address, 16);
  struct weir_prefix* p = bpf_map_lookup_elem(&prefixes, &key);
  r->limits = p ? p->limits : now->unclassified;
  r->dest = p && p->dest ? p->dest : default_dest(address);
  r->classified = p && p->final;
  r->unnamed = 0;
}

/* 1: it goes to the far end of a tunnel that the policy declares. */
__attribute__((noinline)) int is_for_gateway(struct packet* p) {
  if (!p) return 0;
  struct weir_prefix_key key = {.length = 128};
  __builtin_memcpy(key.address, p->remote, 16);
  const struct weir_refuge* gateway = bpf_map_lookup_elem(&refuges, &key);
  return gateway && (gateway->what & WEIR_REFUGE_GATEWAY);
}

/* By the address alone; what root's own programs (a VPN's daemon) send to a gateway is free, since
 * its contents were charged where they went in. 1: so it is. */
static __always_inline int route_of(struct route* r, const struct weir_socket* s, struct packet* p,
                                    const struct weir_state* now) {
  if (now->gateways && (s->flags & WEIR_SOCKET_ROOTS) && is_for_gateway(p)) {
    r->limits = 0;
    r->dest = default_dest(p->remote);
    r->classified = 1;
    r->unnamed = 0;
    return 1;
  }
  route_by_address(r, p->remote, now);
  return 0;
}

static __always_inline int is_acknowledgement(struct weir_socket* s, const struct packet* p,
                                              const struct weir_state* now) {
  if (p->stream) return 0;
  u32 received = s->datagrams_in;
  s->datagrams_in = 0;
  return now->acknowledgements && !s->labels && p->length <= WEIR_ACKNOWLEDGEMENT_BYTES &&
         received >= WEIR_ACKNOWLEDGEMENT_AFTER;
}

/* Refunds the first flight of `s` in these rows. */
__attribute__((noinline)) int leave_rows(struct weir_socket* s, struct charge* c, u64 rows) {
  if (!s || !c) return 0;
  c->dest = s->dest;
  c->unnamed = s->flags & WEIR_SOCKET_UNNAMED;
  c->now = s->first_ns;
  for (u32 i = 0; i < WEIR_CHARGES && rows; i++) {
    refund_row(c, lowest_bit(rows));
    rows &= rows - 1;
  }
  return 0;
}

/* Where the first flight of `s` stays when its verdict finds no room: in rows that count anyhow.
 * What an exception sets aside is set aside as far as its account takes it, so all of them. */
static __always_inline u64 rows_without_room(u64 old, u64 rows) {
  return rows & 1ull << WEIR_EXCEPTIONS ? old : old & rows;
}

/* Moves the first flight of `s` from the rows that it was charged to to those of the verdict. Its
 * bytes have left: where they find no room they stay charged to the part of the row for flows
 * without a name, which is within the row's number, and the flow sends no more. 1: moved. */
__attribute__((noinline)) int settle(struct weir_socket* s, u64 rows, u64 dest) {
  if (!s) return 0;
  if (__sync_fetch_and_or(&s->flags, WEIR_SOCKET_SETTLING) & WEIR_SOCKET_SETTLING) return 0;
  struct charge c = {.tree = s->tree,
                     .person = s->person,
                     .labels = s->labels,
                     .dest = dest,
                     .exception = s->exception,
                     .now = bpf_ktime_get_boot_ns()};
  c.bytes = __sync_lock_test_and_set(&s->first_flight, 0);
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!now) return 0;
  u64 charging = ~(now->holds | now->flows); /* the others are in no account */
  u64 old = s->limits, enters = rows & ~old & charging;
  u64 leaves = old & ~rows & charging, left = old & rows & charging;
  int elsewhere = s->dest != dest || (s->flags & WEIR_SOCKET_UNNAMED);
  for (u32 i = 0; i < WEIR_CHARGES && left; i++) {
    u32 row = lowest_bit(left);
    const struct weir_limit* limit = bpf_map_lookup_elem(&limits, &row);
    if (limit && elsewhere && per_destination(limit->per)) {
      enters |= left & -left;
      leaves |= left & -left;
    }
    left &= left - 1;
  }
  int refused = c.bytes ? charge_rows(&c, enters) : 0;
  if (refused > 0) {
    u64 stays = rows_without_room(old, rows);
    leaves = old & ~stays & charging;
    s->stopped = refused;
    s->stopped_dest = dest;
    s->limits = stays;
  }
  if (c.bytes) {
    move_flight(s, c.bytes, old, refused > 0 ? s->limits : rows);
    leave_rows(s, &c, leaves);
  }
  if (refused > 0) {
    __sync_fetch_and_add(&s->first_flight, c.bytes);
  } else {
    s->stopped = 0;
    s->limits = rows;
    s->dest = dest;
    __sync_fetch_and_and(&s->flags, ~WEIR_SOCKET_UNNAMED);
  }
  __sync_fetch_and_and(&s->flags, ~WEIR_SOCKET_SETTLING);
  return refused <= 0;
}

int is_name_shut(u64 dest, u32 person); /* shut.h */

/* Takes the verdict for this socket if there is one of the policy in force. One that rests on a
 * network is none for a flow that left by another: what left so is not handed back. */
static __always_inline int take_verdict(struct weir_socket* s, u32 via,
                                        const struct weir_state* now) {
  struct weir_verdict* v = bpf_map_lookup_elem(&verdicts, &s->cookie);
  if (!v || v->generation != now->generation) return 0;
  if (v->kept && !is_name_shut(v->dest, s->person)) return 0;
  if (v->via && (v->via != via || (s->first_flight && v->via != s->first_via))) {
    __sync_fetch_and_or(&s->flags, WEIR_SOCKET_MANY);
    return 0;
  }
  u64 rows = v->limits | (s->limits & now->fixed);
  u64 dest = v->dest ? v->dest : s->dest;
  s->exception = v->exception; /* before its row: another processor may be looking at both */
  if (!settle(s, rows, dest)) return 0;
  s->via = v->via;
  __sync_fetch_and_or(&s->flags, WEIR_SOCKET_CLASSIFIED);
  return 1;
}

/* First packet of a socket, or a new policy. Charges under rows of an older policy stay where they
 * are. */
static __always_inline void look_up(struct weir_socket* s, struct packet* p,
                                    const struct weir_state* now, struct route* r) {
  int carrier = route_of(r, s, p, now);
  s->first_flight = 0;
  s->wait_ns = 0;
  s->stopped = 0;
  s->limits = r->limits;
  s->dest = r->dest;
  s->exception = 0;
  s->via = 0;
  s->generation = now->generation;
  s->verdicts = now->verdicts - 1; /* so that the next look finds a verdict that is there already */
  __sync_fetch_and_and(&s->flags, ~(WEIR_SOCKET_CLASSIFIED | WEIR_SOCKET_WAITED |
                                    WEIR_SOCKET_UNNAMED | WEIR_SOCKET_CARRIER));
  r->unnamed = !r->classified && now->unclassified && now->first_flight && now->verdict_wait_ns;
  if (r->classified) __sync_fetch_and_or(&s->flags, WEIR_SOCKET_CLASSIFIED);
  if (r->unnamed) __sync_fetch_and_or(&s->flags, WEIR_SOCKET_UNNAMED);
  if (carrier) __sync_fetch_and_or(&s->flags, WEIR_SOCKET_CARRIER);
}

/* Which rows are for this socket, whose copy of its route is used. */
static __always_inline void copy_route(const struct weir_socket* s, struct route* r) {
  r->limits = s->limits;
  r->dest = s->dest;
  r->classified = s->flags & WEIR_SOCKET_CLASSIFIED ? 1 : 0;
  r->unnamed = s->flags & WEIR_SOCKET_UNNAMED ? 1 : 0;
}

/* 1: its verdict rests on a network, and this packet leaves by another: it is over for good. */
static __always_inline int strayed(struct weir_socket* s, const struct packet* p,
                                   const struct weir_state* now) {
  if (!s->via || s->via == p->via || s->generation != now->generation) return 0;
  __sync_fetch_and_or(&s->flags, WEIR_SOCKET_MANY);
  return 1;
}

/* The rows of this packet. A datagram socket with several peers gets no verdict, and nothing of it
 * is kept: two threads could otherwise use an approved peer's rows for another peer. 1: there may
 * be a verdict, to be taken by the caller, whose calls nest less deeply. */
__attribute__((noinline)) int find_route(struct weir_socket* s, struct packet* p, struct route* r,
                                         u8 family) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!s || !p || !r || !now) return 0;
  u32 flags = s->flags;
  if (!(flags & WEIR_SOCKET_CLAIMED)) {
    flags = __sync_fetch_and_or(&s->flags, WEIR_SOCKET_CLAIMED);
    if (!(flags & WEIR_SOCKET_CLAIMED)) {
      put_tuple(&s->tuple, p, family);
      look_up(s, p, now, r);
      flags = __sync_fetch_and_or(&s->flags, WEIR_SOCKET_LOOKED_UP) | WEIR_SOCKET_LOOKED_UP;
    }
  }
  if ((flags & WEIR_SOCKET_LOOKED_UP) && !(flags & WEIR_SOCKET_MANY) &&
      !same_address(s->tuple.remote, p->remote)) {
    flags |= WEIR_SOCKET_MANY;
    __sync_fetch_and_or(&s->flags, WEIR_SOCKET_MANY);
  }
  if (!(flags & WEIR_SOCKET_LOOKED_UP) || (flags & WEIR_SOCKET_MANY) || strayed(s, p, now)) {
    route_of(r, s, p, now);
    return 0;
  }
  if (s->generation != now->generation) look_up(s, p, now, r);
  copy_route(s, r);
  return (s->verdicts != now->verdicts || s->stopped) && !(s->flags & WEIR_SOCKET_CARRIER);
}

/* Begins the wait for a verdict. A stream is remembered, so that its verdict wakes it. */
static __always_inline void begin_wait(struct weir_socket* s, u64 time) {
  if (s->wait_ns) return;
  s->wait_ns = time;
  if (s->tuple.protocol == WEIR_TCP) bpf_map_update_elem(&held, &s->cookie, &s->wait_ns, BPF_ANY);
}

/* 1: the flow has used its first flight and waits for its verdict. Also where its address is
 * charged to no row: the name that it says may still bring it under one. */
static __always_inline int must_wait(struct weir_socket* s, const struct route* r, u64 bytes,
                                     const struct weir_state* now, u64 time) {
  if (r->classified || !now->unclassified || !now->first_flight) return 0;
  if (s->flags & (WEIR_SOCKET_MANY | WEIR_SOCKET_WAITED)) return 0;
  if (s->stopped) return 0; /* its verdict is there: refused, and told */
  if (s->first_flight + bytes <= now->first_flight) return 0;
  begin_wait(s, time);
  if (time - s->wait_ns < now->verdict_wait_ns) return 1;
  __sync_fetch_and_or(&s->flags, WEIR_SOCKET_WAITED);
  return 0;
}

/* Its verdict finds no room: `limits` is then what its first flight is charged to, not its rows. */
static __always_inline int is_stopped_by_verdict(const struct weir_socket* s,
                                                 const struct weir_state* now) {
  if (!s->stopped) return 0;
  struct weir_verdict* v = bpf_map_lookup_elem(&verdicts, &s->cookie);
  return v && v->generation == now->generation;
}

/* No name came in time: it goes where its address says. */
static __always_inline void stop_waiting(struct weir_socket* s, struct route* r,
                                         const struct weir_state* now, u64 time) {
  if (!r->unnamed || !s->wait_ns || time - s->wait_ns < now->verdict_wait_ns) return;
  if (is_stopped_by_verdict(s, now)) return;
  __sync_fetch_and_or(&s->flags, WEIR_SOCKET_WAITED);
  if (settle(s, s->limits, s->dest)) r->unnamed = 0;
}

/* 1: no verdict can take this socket off its rows any more. A refusal begins the wait for one, as
 * the end of the first flight does. */
static __always_inline int is_settled(struct weir_socket* s, const struct route* r,
                                      const struct weir_state* now, u64 time) {
  if (r->classified || !now->first_flight || (s->flags & (WEIR_SOCKET_MANY | WEIR_SOCKET_WAITED)))
    return 1;
  begin_wait(s, time);
  return !r->unnamed && time - s->wait_ns >= now->verdict_wait_ns;
}

static __always_inline int lease_holds(u64 tree, u64 target, u64 time) {
  struct weir_account_key key = {.limit = WEIR_LIMITS, .who = tree, .dest = target};
  struct weir_account* lease = bpf_map_lookup_elem(&accounts, &key);
  return lease && time < lease->until_ns;
}

/* Is this tree cut off from there? DNS also on loopback, where the stub resolver listens. */
static __always_inline int is_blocked(u64 tree, u16 port, u64 dest, int loopback, u64 time) {
  if (is_dns_port(port) && lease_holds(tree, WEIR_TARGET_DNS, time)) return 1;
  if (loopback) return 0;
  return lease_holds(tree, WEIR_TARGET_EVERYTHING, time) || (dest && lease_holds(tree, dest, time));
}

/* A DNS question that no row counts for: nobody asks it again soon if it is lost. */
__attribute__((noinline)) int is_free_question(struct weir_socket* s, struct packet* p) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!s || !p || !now) return 0;
  if (p->stream || p->remote_port != 53 || (s->limits & ~now->holds) || s->stopped) return 0;
  struct weir_prefix_key key = {.length = 128};
  __builtin_memcpy(key.address, p->remote, 16);
  struct weir_prefix* known = bpf_map_lookup_elem(&prefixes, &key);
  if (!known || (known->limits & ~now->holds)) return 0;
  return !now->blocks || is_observing(now) ||
         !is_blocked(s->tree, 53, known->dest, 0, bpf_ktime_get_boot_ns());
}

#endif
