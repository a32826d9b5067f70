// The policy that holds where none is given.
#pragma once

#include <memory>

#include "core/policy/policy.h"

namespace weir {

// Observes: no rule, no limit. Every finding of a detector (each at its own default threshold) is
// logged by evaluate()'s built-in default, with the finding's own severity.
std::shared_ptr<const Policy> default_policy();

}  // namespace weir
