// `weir exec` as root, standing alone: a command in a child cgroup of its own, one account for the
// whole process tree, the bound in the kernel. Thread: the caller's; forks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/run/exec_summary.h"
#include "agent/run/policy_child.h"
#include "core/base/result.h"

namespace weir {

struct ExecOptions {
  std::uint64_t limit = 0;
  std::int64_t window_ns = 0;  // 0: a total for the whole run
  std::string cgroup;          // hooks attach here, the child cgroup is made below; "": the root
  std::optional<CompiledPolicy> policy;  // its rules count beside the limit
  std::vector<std::string> command;
};

// Exit status of a command that could not be started, as shells have it.
inline constexpr int kNotFound = 127;
inline constexpr int kNotExecutable = 126;

// Runs the command to its end. An Error means that the bound could not be set and nothing was run.
Result<ExecSummary> run_limited(const ExecOptions& options);

}  // namespace weir
