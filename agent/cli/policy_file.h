// A policy read for a command: a YAML file, or what is wrong with it; or what a collector pushed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/base/result.h"
#include "core/policy/policy.h"

namespace weir {

// The error's sentence has one line for each fault: FILE:LINE:COLUMN, what, what is allowed.
Result<std::shared_ptr<const Policy>> read_policy_file(const std::string& path);

// The policy that a collector pushed last, as `weir run` keeps it in STATE/policy; its signatures
// were verified when it came. Nothing: this host is not enrolled, or none came yet.
struct PushedPolicy {
  std::shared_ptr<const Policy> policy;
  std::int64_t expires_wall_s = 0;
  std::string group;     // whose policy it is
  std::string of_group;  // whose policies this host takes, "" if that can't be read: another after
                         // it was moved, until the first policy of that group came
};
std::optional<PushedPolicy> read_pushed_policy(const std::string& state_dir);

}  // namespace weir
