// Whom the uplink becomes.
#pragma once

#include <sys/types.h>

namespace weir {

// A number that Debian assigns to nobody, next to the engine's (kEngineUser): neither may touch
// what is the other's.
inline constexpr uid_t kUplinkUser = 64918;

}  // namespace weir
