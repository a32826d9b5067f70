// Tier 4: a host whose kernel takes no BPF. Nothing can be bounded; the engine still sees what
// crosses the interfaces of this network namespace, and reports. Thread: one.
#pragma once

#include "agent/guard/flat_policy.h"
#include "agent/guard/spawner.h"
#include "core/base/result.h"

namespace weir {

bool kernel_takes_bpf();  // by loading each program that the bound needs

// Until SIGTERM. `ready_fd` gets one byte once the engine answers.
Result<void> observe(Spawner& spawner, const FlatPolicy& policy, int signal_fd, int ready_fd);

}  // namespace weir
