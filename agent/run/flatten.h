// A policy as the kernel part's rows (agent/guard/flat_policy.h). Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "core/policy/policy.h"

namespace weir {

std::vector<std::uint8_t> flatten(const Policy& policy);

}  // namespace weir
