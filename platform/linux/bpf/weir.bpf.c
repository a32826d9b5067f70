/* The kernel part: who sends (fork, exec, exit, socket creation) and what may leave (egress). Each
 * program is loaded by itself; what a kernel doesn't take is left out and reported (kernel_part.cpp
 * names what is lost). Dual BSD/GPL: the kernel offers some helpers to GPL programs only. */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "accounts.h"
#include "answers.h"
#include "carried.h"
#include "families.h"
#include "floor.h"
#include "flow.h"
#include "hold.h"
#include "identity.h"
#include "isolation.h"
#include "keep.h"
#include "kernel_types.h"
#include "maps.h"
#include "packet.h"
#include "records.h"
#include "segment.h"
#include "shut.h"
#include "tunnel.h"
#include "wake.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define WEIR_PASS 1
#define WEIR_REFUSE 0 /* a datagram's sender sees EPERM */
#define WEIR_LOSE 2   /* a datagram's sender sees success: as if it were lost on the way */

#define WEIR_MPTCP 262 /* IPPROTO_MPTCP */

/* ---- tasks ---------------------------------------------------------------------------------- */

SEC("tp_btf/sched_process_fork")
int BPF_PROG(weir_fork, struct task_struct* parent, struct task_struct* child) {
  u32 parent_tgid = parent->tgid, tgid = child->tgid;
  if (parent_tgid == tgid) return 0; /* a thread */
  struct weir_task* p = current_of_tracepoint(parent_tgid);
  if (!p) return 0;
  struct weir_task value = *p;
  value.flags = 0;
  if (p->flags & WEIR_TASK_LAUNCHER) {
    start_tree(&value, child);
    value.flags |= WEIR_TASK_FRESH;
  } else if (p->flags & WEIR_TASK_FRESH) {
    /* cron and at log a person in and fork once more before they start anything. */
    value.person = person_of(child);
    value.flags = WEIR_TASK_FRESH;
  }
  value.start_ns = child->start_boottime;
  value.uid = uid_of(child);
  if (bpf_map_update_elem(&tasks, &tgid, &value, BPF_ANY)) count(WEIR_COUNT_TASKS_FULL);
  return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(weir_exec, struct task_struct* task, int old_pid, struct linux_binprm* bprm) {
  u32 tgid = task->tgid;
  struct weir_task* t = current_of_tracepoint(tgid);
  if (!t) return 0;
  t->uid = uid_of(task);
  if (t->flags & WEIR_TASK_FRESH) {
    /* What a launcher sets up (login uid, user) is set by now; what the program does later moves
     * nothing. */
    t->person = person_of(task);
    t->flags &= ~WEIR_TASK_FRESH;
  }
  if ((t->flags & WEIR_TASK_ROOT) && tgid != 1) {
    t->flags &= ~WEIR_TASK_LAUNCHER;
    if (is_launcher_file(bprm->file)) t->flags |= WEIR_TASK_LAUNCHER;
  }
  open_accounts(t->person);
  struct weir_exec* e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
  if (!e) {
    count(WEIR_COUNT_RING_LOST);
    return 0;
  }
  e->record.kind = WEIR_REC_EXEC;
  e->record.size = sizeof(*e);
  e->record.boot_ns = bpf_ktime_get_boot_ns();
  e->record.cookie = 0;
  e->record.tree = t->tree;
  e->record.person = t->person;
  e->record.pid = tgid;
  e->start_ns = t->start_ns;
  e->parent = BPF_CORE_READ(task, real_parent, tgid);
  e->uid = t->uid;
  if (bpf_probe_read_kernel_str(e->program, sizeof(e->program), BPF_CORE_READ(bprm, filename)) < 0)
    e->program[0] = 0;
  bpf_ringbuf_submit(e, when_looked());
  return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(weir_exit, struct task_struct* task) {
  /* A leader that exits while a thread of its still sends must not lose its tree. */
  if (BPF_CORE_READ(task, signal, live.counter) != 0) return 0;
  u32 tgid = task->tgid;
  struct weir_task* t = bpf_map_lookup_elem(&tasks, &tgid);
  if (!t) return 0;
  struct weir_record r = {
      .kind = WEIR_REC_EXIT, .size = sizeof(r), .boot_ns = bpf_ktime_get_boot_ns()};
  r.tree = t->tree;
  r.person = t->person;
  r.pid = tgid;
  if (bpf_map_delete_elem(&tasks, &tgid)) return 0;
  if (bpf_ringbuf_output(&events, &r, sizeof(r), when_looked())) count(WEIR_COUNT_RING_LOST);
  return 0;
}

/* ---- sockets -------------------------------------------------------------------------------- */

static __always_inline void own(struct weir_socket* s, const struct weir_task* t) {
  /* What it sent for another owner stays on that account: a verdict refunds this one. */
  if (s->first_flight && (s->tree != t->tree || s->person != t->person))
    __sync_lock_test_and_set(&s->first_flight, 0);
  s->tree = t->tree;
  s->person = t->person;
  s->labels = t->labels;
  s->pid = bpf_get_current_pid_tgid() >> 32;
  if (t->flags & WEIR_TASK_LAUNCHER) /* it may pass the socket to what it starts */
    __sync_fetch_and_or(&s->flags, WEIR_SOCKET_PROVISIONAL);
  else
    __sync_fetch_and_and(&s->flags, ~WEIR_SOCKET_PROVISIONAL);
  if (t->uid)
    __sync_fetch_and_and(&s->flags, ~WEIR_SOCKET_ROOTS);
  else
    __sync_fetch_and_or(&s->flags, WEIR_SOCKET_ROOTS);
}

/* In process context, on a socket that the current task makes or uses; `network`: the cookie of its
 * network namespace, which a socket never changes. */
static __always_inline struct weir_socket* claim(struct bpf_sock* sk, u64 cookie, u64 network) {
  struct weir_task* t = current_of_hook();
  if (!t) return bpf_sk_storage_get(&sockets, sk, 0, 0);
  struct weir_socket* s = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!s) return 0;
  u32 where = !home_network             ? 0
              : network == home_network ? WEIR_SOCKET_HOME
                                        : WEIR_SOCKET_ELSEWHERE;
  if (where & ~s->flags) __sync_fetch_and_or(&s->flags, where);
  if (s->cookie && s->tree && !(s->flags & WEIR_SOCKET_PROVISIONAL)) return s;
  s->cookie = cookie;
  own(s, t);
  return s;
}

/* The kernel makes the further subflows of an MPTCP socket itself. They are told by their cgroup
 * alone: a tree that has none of its own may not have such sockets. */
static __always_inline int may_be_made(const struct bpf_sock* sk) {
  u32 zero = 0;
  if (!known_trees_only || sk->protocol != WEIR_MPTCP || !current_of_hook()) return WEIR_PASS;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  return now && now->home_cgroup ? WEIR_PASS : WEIR_REFUSE;
}

SEC("cgroup/sock_create")
int weir_sock_create(struct bpf_sock* sk) {
  claim(sk, bpf_get_socket_cookie(sk), bpf_get_netns_cookie(sk));
  return may_be_made(sk);
}

/* A stream that connects begins at a sequence of its own, by TCP_REPAIR at any: what the former one
 * reached says nothing about what is sent again. It gets no verdict of a former peer either. */
static __always_inline void begin_stream(struct weir_socket* s) {
  if (s->flags & WEIR_SOCKET_SEQ) __sync_fetch_and_and(&s->flags, ~WEIR_SOCKET_SEQ);
  if (s->bytes_out) __sync_fetch_and_or(&s->flags, WEIR_SOCKET_MANY);
}

/* A connection or datagram that would be refused anyway: the program hears it at once. */
static __always_inline int may_address(struct bpf_sock_addr* ctx, const u8* address) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!ctx->sk) return WEIR_PASS;
  struct weir_socket* s = claim(ctx->sk, bpf_get_socket_cookie(ctx), bpf_get_netns_cookie(ctx));
  if (!s) return WEIR_PASS;
  if (ctx->type == WEIR_SOCK_STREAM) begin_stream(s);
  if (!now) return WEIR_PASS;
  if (!now->isolated_until && !now->blocks && !now->shuts) return WEIR_PASS;
  struct packet p = {.protocol = ctx->protocol, .remote_port = bpf_ntohs(ctx->user_port)};
  __builtin_memcpy(p.remote, address, 16);
  if (now->isolated_until && !may_reach(ctx, s, address, &p, now)) return WEIR_REFUSE;
  if (!may_begin(ctx, s, &p, now)) return WEIR_REFUSE;
  if (!now->blocks || is_observing(now)) return WEIR_PASS;
  int blocked = is_cut_off(s->tree, &p, 0, (u32)is_loopback_address(address));
  if (blocked) count(WEIR_COUNT_BLOCKED);
  return blocked ? WEIR_REFUSE : WEIR_PASS;
}

static __always_inline int may_address4(struct bpf_sock_addr* ctx) {
  u8 address[16] __attribute__((aligned(8)));
  put_ip4(address, ctx->user_ip4);
  return may_address(ctx, address);
}

static __always_inline int may_address6(struct bpf_sock_addr* ctx) {
  u32 address[4] __attribute__((aligned(8))) = {ctx->user_ip6[0], ctx->user_ip6[1],
                                                ctx->user_ip6[2], ctx->user_ip6[3]};
  return may_address(ctx, (const u8*)address);
}

SEC("cgroup/connect4")
int weir_connect4(struct bpf_sock_addr* ctx) {
  return may_address4(ctx);
}

SEC("cgroup/connect6")
int weir_connect6(struct bpf_sock_addr* ctx) {
  return may_address6(ctx);
}

SEC("cgroup/sendmsg4")
int weir_sendmsg4(struct bpf_sock_addr* ctx) {
  return may_address4(ctx);
}

SEC("cgroup/sendmsg6")
int weir_sendmsg6(struct bpf_sock_addr* ctx) {
  return may_address6(ctx);
}

/* Since 6.16. An inherited or passed socket that nobody owned yet belongs to who sends on it. */
SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(weir_tcp_sendmsg, struct sock* sk) {
  u32 tgid = bpf_get_current_pid_tgid() >> 32;
  struct weir_task* t = bpf_map_lookup_elem(&tasks, &tgid);
  if (!t) return 0;
  struct weir_socket* s = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (s && (!s->tree || (s->flags & WEIR_SOCKET_PROVISIONAL))) own(s, t);
  return 0;
}

/* ---- packets -------------------------------------------------------------------------------- */

/* An accepted socket carries a copy of its listener's storage: the owner stays, the numbers start.
 */
static __always_inline void start_socket(struct weir_socket* s, u64 cookie) {
  struct weir_socket fresh = {};
  fresh.cookie = cookie;
  fresh.tree = s->tree;
  fresh.person = s->person;
  fresh.labels = s->labels;
  fresh.pid = s->pid;
  fresh.flags = s->flags & (WEIR_SOCKET_PROVISIONAL | WEIR_SOCKET_HOME | WEIR_SOCKET_ELSEWHERE |
                            WEIR_SOCKET_ROOTS);
  *s = fresh;
}

/* A socket that nobody was seen to make: older than the programs, or made by the kernel itself. */
static __always_inline void own_unseen(struct __sk_buff* skb, struct weir_socket* s,
                                       const struct weir_state* now) {
  s->flags = WEIR_SOCKET_PROVISIONAL;
  if (known_trees_only) {
    s->tree = now->home_tree;
    s->person = now->home_person;
    return;
  }
  count(WEIR_COUNT_UNATTRIBUTED);
  s->person = bpf_get_socket_uid(skb);
  if (!s->person) s->flags |= WEIR_SOCKET_ROOTS;
}

/* Is this socket of that cgroup (see weir_state.home_cgroup)? */
static __always_inline int is_at_home(struct __sk_buff* skb, const struct weir_state* now) {
  return now->home_cgroup && bpf_skb_ancestor_cgroup_id(skb, now->home_level) == now->home_cgroup;
}

/* 0: it is nobody's who is bounded, or there is no room to store anything with it. */
static __always_inline struct weir_socket* socket_of(struct __sk_buff* skb, struct bpf_sock* sk,
                                                     const struct weir_state* now) {
  u64 cookie = bpf_get_socket_cookie(skb);
  struct weir_socket* s = bpf_sk_storage_get(&sockets, sk, 0, 0);
  if (!s) {
    if (known_trees_only && !is_at_home(skb, now)) return 0;
    s = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (!s) return 0;
    own_unseen(skb, s, now);
    s->cookie = cookie;
  } else if (s->cookie != cookie) {
    start_socket(s, cookie);
  }
  return s;
}

/* A packet that the disk does not vouch for yet: told to nobody, and pushed once it does. */
__attribute__((noinline)) int lose_early(struct weir_socket* s) {
  if (s) __sync_fetch_and_or(&s->flags, WEIR_SOCKET_EARLY);
  count(WEIR_COUNT_EARLY);
  return 0;
}

/* Charges the packet to its rows, and says what becomes of it. WEIR_LOSE: it came early. */
static __always_inline int pay(struct weir_socket* s, struct packet* p, const struct route* r,
                               const struct weir_state* now, u32 bytes, u64 time, u8 family) {
  struct charge c = {.tree = s->tree,
                     .person = s->person,
                     .labels = s->labels,
                     .dest = r->dest,
                     .exception = s->exception,
                     .bytes = bytes,
                     .now = time,
                     .unnamed = r->unnamed};
  if (s->stopped && !(s->flags & WEIR_SOCKET_MANY)) {
    if (s->stopped & WEIR_EARLY) return WEIR_LOSE;
    c.dest = s->stopped_dest;
    c.unnamed = 0;
    __sync_fetch_and_add(&s->refused, bytes);
    count(WEIR_COUNT_REFUSED_PACKETS);
    tell_row(s, &c, p, WEIR_TELL(s->stopped - 1, family, 1));
    return WEIR_REFUSE;
  }
  if (is_acknowledgement(s, p, now) && charge_rows(&c, now->acknowledgements) <= 0) {
    count(WEIR_COUNT_ACKNOWLEDGEMENTS);
    __sync_fetch_and_add(&s->bytes_out, bytes);
    return WEIR_PASS;
  }
  int result = r->limits ? pay_rows(s, &c, r->limits) : 0;
  if (result > 0 && (result & WEIR_EARLY)) return WEIR_LOSE;
  if (result > 0) {
    __sync_fetch_and_add(&s->refused, bytes);
    count(WEIR_COUNT_REFUSED_PACKETS);
    tell_row(s, &c, p, WEIR_TELL(result - 1, family, is_settled(s, r, now, time)));
    return WEIR_REFUSE;
  }
  if (result < 0) tell_row(s, &c, p, WEIR_TELL(-result - 1, family, is_settled(s, r, now, time)));
  __sync_fetch_and_add(&s->bytes_out, bytes);
  if (!r->classified && !(s->flags & WEIR_SOCKET_MANY)) {
    if (!s->first_flight) {
      s->first_ns = time;
      s->first_via = p->via;
    } else if (s->first_via != p->via) {
      s->first_via = WEIR_SEVERAL;
    }
    __sync_fetch_and_add(&s->first_flight, bytes);
  }
  count(WEIR_COUNT_CHARGED_PACKETS);
  return WEIR_PASS;
}

static __always_inline void show_head(struct __sk_buff* skb, struct weir_socket* s,
                                      const struct packet* p, const struct route* r) {
  if (!p->payload) return;
  if (!is_dns_port(p->remote_port)) {
    if (r->classified || s->head >= WEIR_HEAD_FLOW) return;
    s->head += p->payload;
  }
  put_head(skb, s, 0);
}

/* What leaves for another host. */
static __always_inline int leave(struct __sk_buff* skb, struct weir_socket* s, struct packet* p,
                                 const struct weir_state* now, u64 time, u8 family) {
  struct route r = {};
  int classified = 0;
  if (now->swapping) { /* a few ms: a stream sends it again */
    if (p->stream && !p->payload) return WEIR_PASS;
    if (is_free_question(s, p)) {
      show_head(skb, s, p, &r);
      return WEIR_PASS;
    }
    count(WEIR_COUNT_SWAPPED);
    return WEIR_LOSE;
  }
  if (find_route(s, p, &r, family)) {
    s->verdicts = now->verdicts;
    classified = take_verdict(s, p->via, now);
    find_route(s, p, &r, family); /* again: the verdict may rest on another network */
  }
  if (now->blocks && !is_observing(now) && is_cut_off(s->tree, p, r.dest, 0) &&
      (p->payload || (p->tcp_flags & WEIR_TCP_SYN))) {
    count(WEIR_COUNT_BLOCKED);
    __sync_fetch_and_add(&s->refused, p->payload);
    return WEIR_REFUSE;
  }
  u32 bytes = p->stream ? new_bytes(s, p) : p->length;
  int answer = WEIR_PASS;
  if (bytes) show_head(skb, s, p, &r);
  if (now->shuts && p->payload && is_shut_by_name(s, p, r.dest, family)) return WEIR_REFUSE;
  if (bytes && !pay_as_answer(s, p, now, bytes, time, family)) {
    if (must_wait(s, &r, bytes, now, time)) {
      count(WEIR_COUNT_WAITED);
      return WEIR_LOSE;
    }
    stop_waiting(s, &r, now, time);
    if (r.limits & now->holds) {
      if (must_hold(s, p, &r, bytes)) return WEIR_REFUSE;
      r.limits &= ~now->holds; /* they charge nothing */
    }
    answer = pay(s, p, &r, now, bytes, time, family);
  }
  if (answer == WEIR_LOSE) lose_early(s);
  if (answer == WEIR_PASS) note_carried(s, p, &r, bytes);
  if (answer == WEIR_PASS && p->stream) advance(s, p);
  tell_usage(s, p, classified, family);
  return answer;
}

SEC("cgroup_skb/egress")
int weir_egress(struct __sk_buff* skb) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  struct bpf_sock* sk = skb->sk;
  if (!now) return WEIR_PASS;
  if (sk) sk = bpf_sk_fullsock(sk);
  if (!sk) {
    count(
        WEIR_COUNT_NO_SOCKET); /* a connection that is not one yet or no more: carries no payload */
    return now->isolated_until && !may_answer_isolated(skb) ? WEIR_REFUSE : WEIR_PASS;
  }
  int loopback = skb->ifindex == WEIR_LOOPBACK;
  if (!known_trees_only && is_at_home(skb, now)) return WEIR_PASS;
  struct weir_socket* s = socket_of(skb, sk, now);
  if (!s) {
    if (loopback || (known_trees_only && !is_at_home(skb, now))) return WEIR_PASS;
    count(WEIR_COUNT_STORAGE_FULL);
    return WEIR_REFUSE; /* nothing could be charged to anyone */
  }
  struct packet p = {};
  read_packet(skb, sk, &p);
  if (!loopback) {
    note_device(s, &p);
    if ((s->flags & WEIR_SOCKET_INNER) && is_around(sk, &p)) return WEIR_PASS; /* the floor's */
  }
  /* Nobody's: the kernel itself sends it. A program's socket has a tree. */
  if (!s->tree && sk->type == WEIR_SOCK_RAW && p.length <= WEIR_UPKEEP_BYTES &&
      keeps_the_link(skb, &p)) {
    count(WEIR_COUNT_UPKEEP);
    return WEIR_PASS;
  }
  if (!loopback && is_barred(s, &p, now, sk->family)) return WEIR_REFUSE;
  if (!loopback && !now->swapping && is_bare(s, &p, now)) {
    note_bare(s, &p, sk->family);
    return WEIR_PASS;
  }
  u64 time = bpf_ktime_get_boot_ns();
  if (!loopback) return leave(skb, s, &p, now, time, sk->family);

  if (!is_dns_port(p.remote_port) || !p.payload) return WEIR_PASS;
  if (now->blocks && !is_observing(now) && is_blocked(s->tree, p.remote_port, 0, 1, time)) {
    count(WEIR_COUNT_BLOCKED);
    return WEIR_REFUSE;
  }
  put_head(skb, s, 0); /* the stub resolver's client: the only place where the asker is known */
  return WEIR_PASS;
}

SEC("cgroup_skb/ingress")
int weir_ingress(struct __sk_buff* skb) {
  struct bpf_sock* sk = skb->sk;
  if (!sk) return WEIR_PASS;
  sk = bpf_sk_fullsock(sk);
  if (!sk) return WEIR_PASS;
  struct weir_socket* s = bpf_sk_storage_get(&sockets, sk, 0, 0);
  if (!s) return WEIR_PASS; /* its first packet out will make it */
  u64 cookie = bpf_get_socket_cookie(skb);
  if (s->cookie != cookie) start_socket(s, cookie);
  struct packet p = {.incoming = 1};
  read_packet(skb, sk, &p);
  if (!p.payload) return WEIR_PASS;
  __sync_fetch_and_add(&s->bytes_in, p.payload);
  if (!p.stream) __sync_fetch_and_add(&s->datagrams_in, 1);
  note_question(s, &p);
  /* Answers, and the questions that a resolver here gets: the engine must not block its tree. */
  if (is_dns_port(p.remote_port) || is_dns_port(p.local_port)) put_head(skb, s, 1);
  if (usage_is_due(s)) usage_of_packet(s, &p, sk->family);
  return WEIR_PASS;
}

/* ---- the end of a socket -------------------------------------------------------------------- */

SEC("cgroup/sock_release")
int weir_sock_release(struct bpf_sock* sk) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  struct weir_socket* s = bpf_sk_storage_get(&sockets, sk, 0, 0);
  if (!s || !now) return WEIR_PASS;
  u32 flags = __sync_fetch_and_or(&s->flags, WEIR_SOCKET_CLOSED);
  if (!(flags & (WEIR_SOCKET_LOOKED_UP | WEIR_SOCKET_BEGUN)))
    return WEIR_PASS; /* it sent nothing */
  if (s->generation == now->generation && !now->swapping && !(flags & WEIR_SOCKET_MANY)) {
    u64 cookie = s->cookie;
    s->verdicts = now->verdicts;
    take_verdict(s, s->first_via, now);
    bpf_map_delete_elem(&verdicts, &cookie);
  }
  if (flags & WEIR_SOCKET_HELD) close_hold(s);
  put_usage(s, &s->tuple); /* of its first packet: this hook may not read the local address */
  return WEIR_PASS;
}
