// A policy as the kernel part's rows (agent/guard/flat_policy.h). Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "core/event/address.h"
#include "core/policy/policy.h"

namespace weir {

// `resolvers`: the host's. A query must be able to leave although an account is spent that it can't
// be about: nobody could browse, because a refused datagram is lost and not sent again.
std::vector<std::uint8_t> flatten(const Policy& policy, const std::vector<IpAddress>& resolvers);

}  // namespace weir
