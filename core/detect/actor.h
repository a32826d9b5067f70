// Who a flow belongs to, as detectors key their state: a process tree, or a client's address.
#pragma once

#include <cstdint>

#include "core/net/flows.h"

namespace weir {

Actor actor_of(const Flow& flow);
std::uint64_t actor_hash(const Actor& actor);

}  // namespace weir
