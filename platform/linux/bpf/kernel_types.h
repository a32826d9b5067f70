/* The few kernel fields that the programs read, relocated by CO-RE against the running kernel's
 * BTF: names must match the kernel's, offsets need not. Smaller than a generated vmlinux.h of 2.8
 * MB. */
#ifndef WEIR_KERNEL_TYPES_H
#define WEIR_KERNEL_TYPES_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
  unsigned int val;
} kuid_t;

typedef struct {
  int counter;
} atomic_t;

struct cred {
  kuid_t uid;
};

struct signal_struct {
  atomic_t live; /* threads that have not begun to exit */
};

struct task_struct {
  unsigned int flags;
  int pid, tgid;
  unsigned long long start_boottime; /* ns */
  struct task_struct* real_parent;
  const struct cred* cred;
  kuid_t loginuid; /* CONFIG_AUDIT only: test for it */
  struct signal_struct* signal;
};

struct super_block {
  unsigned int s_dev; /* major << 20 | minor, not what stat() gives */
};

struct inode {
  struct super_block* i_sb;
  unsigned long i_ino;
};

struct file {
  struct inode* f_inode;
};

struct linux_binprm {
  struct file* file;
  const char* filename; /* as it was passed to exec */
};

struct sock_common {
  unsigned short skc_family;
};

struct sock {
  struct sock_common __sk_common;
};

struct bpf_iter_meta;

struct bpf_iter__tcp { /* what a program that walks the TCP sockets gets for each */
  struct bpf_iter_meta* meta;
  struct sock_common* sk_common;
};

#pragma clang attribute pop

#define WEIR_PF_KTHREAD 0x00200000u /* task_struct.flags: a kernel thread (since 2.6) */

#endif
