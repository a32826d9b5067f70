// Gives up, for good, every right that the line does not need: after this the process can compute,
// read and write the descriptors it has, and nothing else. Called once, before the first foreign
// byte.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/base/result.h"

namespace weir {

// No package is needed, so no account exists for the engine: a number that Debian assigns to nobody
// (its reserved range is 64000–64999), and not 65534, which the files of every other program that
// "dropped to nobody" belong to.
inline constexpr uid_t kEngineUser = 64917;

// What holds afterwards, for the health report. An Error is a part without which we must not go on.
struct SealReport {
  bool network_namespace = false;  // own and empty
  int landlock_abi = 0;            // 0: this kernel has none; seccomp denies what it would have
  std::vector<std::string> missing;
};

// `user`: uid and gid that the process becomes, never 0.
Result<SealReport> seal_engine(uid_t user = kEngineUser);

}  // namespace weir
