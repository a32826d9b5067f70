// One run of `weir exec` that the agent serves: see exec_served.h. Runs in a process of its own.
#pragma once

#include <string>

#include "agent/run/exec_served.h"
#include "agent/run/process.h"

namespace weir {

struct ExecPeer {  // as the kernel told at its connect
  std::uint32_t pid = 0, uid = 0, gid = 0;
  Fd pidfd;
};

// Returns when no process of the command is left. `caller` is the connection, `cgroup` the agent's
// ("": the root of cgroup2).
void serve_lease(Fd caller, const ExecPeer& peer, const ExecRequest& request,
                 const std::string& cgroup);

}  // namespace weir
