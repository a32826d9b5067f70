// A checked document into a Policy; what is left to find are references and sums.
#pragma once

#include "core/policy/policy.h"
#include "core/policy/surface/check.h"
#include "core/policy/surface/surface.h"

namespace weir::surface {

Policy build_policy(const Node& root, const ListTexts& lists, Errors& errors);

std::vector<std::string> named_lists(const Node& root);  // as lists_of()

}  // namespace weir::surface
