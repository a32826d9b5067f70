// Gives up, for good, every right that the line does not need: after this the process can compute,
// read and write the descriptors it has, and nothing else. With a spool it can also make, write and
// remove files in that one folder, which has become its root, and start threads. Called once,
// before the first foreign byte and before any thread.
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

enum class SpoolAccess : std::uint8_t { none, folder };  // the folder is fds::kSpool

// Descriptors below this one were handed down: what writes to a place in a file is let through only
// above it, so that it reaches nothing but what the spool opened. A power of two: it is told by the
// bits.
inline constexpr int kFirstOpened = 32;
static_assert((kFirstOpened & (kFirstOpened - 1)) == 0);

// Takes every free number below kFirstOpened, before the seal.
Result<void> take_low_descriptors();

// `user`: uid and gid that the process becomes, never 0.
Result<SealReport> seal_engine(uid_t user = kEngineUser, SpoolAccess spool = SpoolAccess::none);

}  // namespace weir
