/* How the guard raises and lowers what accounts may take (WEIR_LIMIT_KEPT) while packets are
 * charged: a table's value can only be replaced whole from outside, which would lose charges. */
#ifndef WEIR_KEEP_H
#define WEIR_KEEP_H

#include "maps.h"

/* Run by the guard, once for each account. */
SEC("syscall")
int weir_keep(struct weir_keep* what) {
  struct weir_account_key key = what->key;
  struct weir_account* account = bpf_map_lookup_elem(&accounts, &key);
  if (!account) return 1;
  *(volatile u64*)&account->kept = what->kept;
  *(volatile u64*)&account->mark = what->mark;
  return 0;
}

#endif
