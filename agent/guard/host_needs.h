// What a policy needs of its host beyond what every guard must have: a program that this kernel
// does not take is left out, and a policy that rests on it would hold less than it says. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/guard/flat_policy.h"
#include "core/base/result.h"
#include "platform/linux/kernel_part.h"

namespace weir {

struct HostHas {
  std::span<const KernelProgram> programs;  // loaded, or as a probe has found them
  bool floor = true;                        // devices are this agent's (not under --cgroup alone)
  bool keeps = true;                        // what accounts spend is written down
  std::string_view floor_problem{};         // a device that is there takes no program of ours
};

// Is it loaded, and attached if that was tried?
bool has_program(std::span<const KernelProgram> programs, std::string_view name);

// What `mode: enforce` asks for and this host has not, one for each: the policy's own words, the
// program, the kernel's reason, as "then: hold: weir_wake: Invalid argument". None in `observe`.
std::vector<std::string> lacks_of(const FlatPolicy& policy, const HostHas& host);

// An Error names them all.
Result<void> check_host(const FlatPolicy& policy, const HostHas& host);

// Does it bound anything that a device's program has to see?
bool needs_floor(const FlatPolicy& policy);

}  // namespace weir
