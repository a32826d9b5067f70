// A policy as bytes of weir.v1.Policy; apart, because the header of the mapping and that of the
// YAML surface name some of their limits alike.
#pragma once

#include <string>

#include "core/policy/policy.h"

namespace weir {

std::string bytes_of_policy(const Policy& policy);

}  // namespace weir
