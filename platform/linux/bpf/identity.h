/* Who a task is: its tree, inherited at fork from the process that really forked, and its person,
 * fixed when the tree starts. Keyed by tgid, because cgroup programs can't read task storage
 * before 6.18. */
#ifndef WEIR_IDENTITY_H
#define WEIR_IDENTITY_H

#include <bpf/bpf_core_read.h>

#include "kernel_types.h"
#include "maps.h"

#define WEIR_NO_LOGIN 0xffffffffu
#define WEIR_TREE_COUNTER_BITS 12 /* 4,096 new trees in 8 us before an id could be used twice */

u64 tree_counter = 0;

/* Ids of trees: boot time with a counter in its low bits. The lowest bit is 0 here, 1 for ids that
 * the loader makes. Time goes on over a restart of the guard, so no id comes back in one boot. */
static __always_inline u64 new_tree(void) {
  u64 n = __sync_fetch_and_add(&tree_counter, 1);
  u64 low = (1ull << (WEIR_TREE_COUNTER_BITS + 1)) - 1;
  return (bpf_ktime_get_boot_ns() & ~low) | ((n << 1) & low);
}

static __always_inline u32 uid_of(struct task_struct* task) {
  return BPF_CORE_READ(task, cred, uid.val);
}

/* The login uid if it is set by now, else the uid. */
static __always_inline u32 person_of(struct task_struct* task) {
  u32 login = WEIR_NO_LOGIN;
  if (bpf_core_field_exists(task->loginuid)) login = BPF_CORE_READ(task, loginuid.val);
  return login != WEIR_NO_LOGIN ? login : uid_of(task);
}

static __always_inline void start_tree(struct weir_task* value, struct task_struct* task) {
  value->tree = new_tree();
  value->person = person_of(task);
  value->labels = 0;
  value->flags = WEIR_TASK_ROOT;
  if (BPF_CORE_READ(task, tgid) == 1) value->flags |= WEIR_TASK_LAUNCHER;
}

/* Puts the current task into the table as the root of a tree of its own. */
static __always_inline struct weir_task* add_current(u32 tgid) {
  struct task_struct* task = (struct task_struct*)bpf_get_current_task();
  struct weir_task value = {};
  if (BPF_CORE_READ(task, flags) & WEIR_PF_KTHREAD) return 0;
  start_tree(&value, task);
  value.start_ns = BPF_CORE_READ(task, start_boottime);
  value.uid = uid_of(task);
  /* NOEXIST: two threads of one process must not start two trees. */
  if (bpf_map_update_elem(&tasks, &tgid, &value, BPF_NOEXIST) == -7 /* E2BIG */)
    count(WEIR_COUNT_TASKS_FULL);
  return bpf_map_lookup_elem(&tasks, &tgid);
}

/* The current task, which is in the cgroup of the hook that asks; 0 if nobody knows it. */
static __always_inline struct weir_task* current_of_hook(void) {
  u32 tgid = bpf_get_current_pid_tgid() >> 32;
  struct weir_task* t = bpf_map_lookup_elem(&tasks, &tgid);
  if (t || known_trees_only) return t;
  return add_current(tgid);
}

/* The same in a tracepoint, which is host-wide. */
static __always_inline struct weir_task* current_of_tracepoint(u32 tgid) {
  struct weir_task* t = bpf_map_lookup_elem(&tasks, &tgid);
  if (t || known_trees_only) return t;
  if (bpf_get_current_ancestor_cgroup_id(scope_level) != scope_cgroup) return 0;
  return add_current(tgid);
}

static __always_inline int is_launcher_file(struct file* file) {
  struct weir_inode_key key = {};
  key.dev = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
  key.ino = BPF_CORE_READ(file, f_inode, i_ino);
  return bpf_map_lookup_elem(&launchers, &key) != 0;
}

#endif
