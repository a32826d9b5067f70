// Harmless tries of what is attached: a process of our own in a cgroup of our own sends a few
// datagrams to a sink of our own, in network namespaces that lead nowhere, and looks at what each
// program made of it. What they may send is an account of their own. Thread: any; forks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weir {

// Numbers of their exceptions, 65,536 of them: the guard counts up from 1 and never gets there.
inline constexpr std::uint32_t kFirstCanary = 0xffff0000;

struct TriedControl {
  enum class State : std::uint8_t { works, fails, untried };
  std::string program;  // its name, as in KernelProgram
  State state = State::untried;
  std::string detail;  // what was seen
};

// `pin_dir` is where the kernel part is pinned; `cgroup_procs` is the cgroup.procs of a cgroup that
// it is attached to, or one below it, open for writing. Needs root; takes some 100 ms, at most 5 s.
// An Error: nothing could be tried, which says nothing about the controls.
Result<std::vector<TriedControl>> try_controls(const std::string& pin_dir, int cgroup_procs);

}  // namespace weir
