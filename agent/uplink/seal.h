// Gives up, for good, what a program that speaks to one collector has no need of: after this the
// process reads the spool's folder, reads and writes that of its identity, opens streams and
// datagrams of IPv4 and IPv6, and nothing else. No other program, no other path, no local socket.
// Which addresses it reaches is the kernel's table for its cgroup, not told here. Called once,
// before the first foreign byte and before any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "agent/uplink/user.h"
#include "core/base/result.h"

namespace weir {

struct UplinkSealReport {
  int landlock_abi = 0;  // 0: this kernel has none; file modes are what is left
  std::vector<std::string> missing;
};

// Folders that stay open to it, by descriptor. `user`: uid and gid that it becomes, never 0;
// nothing of it is changed when the process is that user already.
Result<UplinkSealReport> seal_uplink(int spool, int identity, uid_t user = kUplinkUser);

}  // namespace weir
