// The verb `weirctl policy assign`.
#pragma once

#include <cstdint>
#include <string>

#include "collector/ctl/order.h"
#include "collector/ctl/session.h"

namespace weir {

inline constexpr std::uint64_t kAssignmentLife_s = 7 * 86'400;  // the most that a host takes

// `terms`: the host, and how long one that is away may take. `yes`: nothing is asked before it is
// signed. The exit status.
int assign_host(CtlSession& session, OrderTerms terms, const std::string& group, bool yes,
                const CtlOptions& options);

}  // namespace weir
