// A policy file read for a command: YAML to a policy, or what is wrong with it.
#pragma once

#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/policy/policy.h"

namespace weir {

// The error's sentence has one line for each fault: FILE:LINE:COLUMN, what, what is allowed.
Result<std::shared_ptr<const Policy>> read_policy_file(const std::string& path);

}  // namespace weir
