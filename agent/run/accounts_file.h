// STATE/accounts: what accounts have spent, written for the guard before it is spent
// (docs/decisions/0030). The file is root's; the guard says what stands in it
// (agent/guard/kept_accounts.h). Thread: the caller's.
#pragma once

#include <string>

#include "agent/run/process.h"
#include "core/base/result.h"

namespace weir {

class AccountsFile {
 public:
  // Where there is none yet an empty one is made: from then on it is known what was not spent.
  static Result<AccountsFile> open(const std::string& state_dir);

  // For the guard (descriptors.h). Of the first start here: none.
  Fd open_for_guard();
  int guard_line() const { return theirs_.get(); }

  int line() const { return ours_.get(); }  // to be polled
  void take();                              // writes what the guard wants kept, and says so

 private:
  AccountsFile() = default;
  Fd folder_, ours_, theirs_;
  std::string name_;     // for sentences
  bool is_new_ = false;  // and no guard was started by it yet
};

}  // namespace weir
