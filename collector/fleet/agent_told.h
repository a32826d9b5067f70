// What a host says of itself goes to whom it concerns, and which policy it is to get for that.
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>

#include "collector/fleet/agent_door.h"
#include "collector/rollout/rollout.h"

namespace weir {

namespace v1 {
class ConnectRequest;
class Hello;
}  // namespace v1

void note_hello(const AgentDoor::Parts& parts, std::uint32_t host, const v1::Hello& hello);
// Of a host that was greeted: all but its batches.
void note_told(const AgentDoor::Parts& parts, std::uint32_t host, const v1::ConnectRequest& told);

// What its group desires, if it runs by another. Nothing for one that takes another group's: it
// would refuse it, and gets it when it has joined.
std::optional<Desired> policy_for(const AgentDoor::Parts& parts, std::uint32_t host);

}  // namespace weir
