// A new certificate over the console door, by proof of the old key: the one thing that an expired
// host may still ask for. The door is the one that the token named. Thread: one; blocks.
#pragma once

#include "agent/uplink/door_failure.h"
#include "agent/uplink/identity.h"

namespace weir {

// With a new key. The identity's folder holds the new one when this returns it.
DoorResult<Identity> renew(int folder, const Identity& identity);

}  // namespace weir
