/* Sockets of families that no account is charged for (AF_VSOCK, AF_BLUETOOTH, AF_CAN …): refused
 * where the kernel has BPF LSM and the policy says so, told in any case. */
#ifndef WEIR_FAMILIES_H
#define WEIR_FAMILIES_H

#include "identity.h"
#include "isolation.h"
#include "kernel_types.h"
#include "maps.h"
#include "records.h"

#define WEIR_EPERM 1
#define WEIR_AF_SMC 43
#define WEIR_SMC 256 /* IPPROTO_SMC, since 6.11: the same by another name */

static __always_inline int is_counted_family(u32 family) {
  return family < 64 && (counted_families >> family & 1);
}

static __always_inline int is_current_in_scope(void) {
  return bpf_get_current_ancestor_cgroup_id(scope_level) == scope_cgroup;
}

/* Once a second for each person, family and kind. In process context. */
static __attribute__((noinline)) int tell_family(u32 kind, u32 family, u64 bytes) {
  const struct weir_task* t = current_of_hook();
  if (!t) return 0;
  struct weir_family_key key = {.person = t->person, .family = family, .kind = kind};
  struct weir_family* known = bpf_map_lookup_elem(&families, &key);
  if (!known) {
    const struct weir_family fresh = {};
    bpf_map_update_elem(&families, &key, &fresh, BPF_NOEXIST);
    known = bpf_map_lookup_elem(&families, &key);
    if (!known) return 0;
  }
  __sync_fetch_and_add(&known->bytes, bytes);
  u64 time = bpf_ktime_get_boot_ns(), told_ns = known->told_ns;
  if (told_ns && time - told_ns < WEIR_TELL_EVERY_NS) return 0;
  if (__sync_val_compare_and_swap(&known->told_ns, told_ns, time) != told_ns) return 0;
  struct weir_refused* r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
  if (!r) {
    count(WEIR_COUNT_RING_LOST);
    return 0;
  }
  __builtin_memset(r, 0, sizeof(*r));
  r->record.kind = WEIR_REC_REFUSED;
  r->record.size = sizeof(*r);
  r->record.boot_ns = time;
  r->record.tree = t->tree;
  r->record.person = t->person;
  r->record.pid = bpf_get_current_pid_tgid() >> 32;
  r->tuple.family = family;
  r->account.limit = kind;
  r->account.who = t->person;
  r->account.dest = family;
  r->charged = known->bytes;
  r->settled = 1;
  bpf_ringbuf_submit(r, when_looked());
  return 0;
}

/* An isolated host refuses them whatever its policy says, a released one none. */
static __always_inline int may_make_family(void) {
  u32 zero = 0;
  const struct weir_state* now = bpf_map_lookup_elem(&state, &zero);
  if (!now || is_observing(now)) return 1;
  return !now->charged_only && !is_isolated(now);
}

/* Only where the kernel calls BPF LSM. `kern`: a socket of the kernel's own. */
SEC("lsm/socket_create")
int BPF_PROG(weir_family, int family, int type, int protocol, int kern, int answer) {
  if (answer || kern) return answer;
  if (!family && protocol == WEIR_TRY_PROTOCOL) return -WEIR_TRY_ANSWER;
  if ((family == WEIR_AF_INET || family == WEIR_AF_INET6) && protocol == WEIR_SMC)
    family = WEIR_AF_SMC;
  if (is_counted_family(family) || !is_current_in_scope()) return 0;
  int may = may_make_family();
  tell_family(may ? WEIR_FAMILY_MADE : WEIR_FAMILY_REFUSED, family, 0);
  return may ? 0 : -WEIR_EPERM;
}

/* Since 6.3. After each call that sends, on a socket of any family. */
SEC("tp_btf/sock_send_length")
int BPF_PROG(weir_family_sent, struct sock* sk, int sent) {
  if (sent <= 0 || is_counted_family(sk->__sk_common.skc_family) || !is_current_in_scope())
    return 0;
  tell_family(WEIR_FAMILY_SENT, sk->__sk_common.skc_family, sent);
  return 0;
}

#endif
