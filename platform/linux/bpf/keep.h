/* What the guard has done to accounts of rows with WEIR_LIMIT_KEPT while packets are charged: a
 * table's value can only be replaced whole from outside, which would lose charges. */
#ifndef WEIR_KEEP_H
#define WEIR_KEEP_H

#include "accounts.h"

/* Raises and lowers what one may take. */
SEC("syscall")
int weir_keep(struct weir_keep* what) {
  struct weir_account_key key = what->key;
  struct weir_account* account = bpf_map_lookup_elem(&accounts, &key);
  if (!account) return 1;
  *(volatile u64*)&account->kept = what->kept;
  *(volatile u64*)&account->mark = what->mark;
  return 0;
}

/* Makes those of a person whose programs ran before the rows were in force. */
SEC("syscall")
int weir_open(struct weir_open* who) {
  open_accounts(who->person);
  return 0;
}

#endif
