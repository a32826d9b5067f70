// A checked document into a Policy; what is left to find are references and sums.
#pragma once

#include "core/policy/policy.h"
#include "core/policy/surface/check.h"

namespace weir::surface {

Policy build_policy(const Node& root, Errors& errors);

}  // namespace weir::surface
