// A host that is put into another group by a signed command: whom it takes policies from then, and
// from which number on. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "agent/guard/signed_reading.h"
#include "agent/guard/trust.h"

namespace weir {

// What STATE/trust is to say after the command, or why it is not done. Signature, host and times of
// the command were checked before. `in_force`: the policy that stays until one of the group came.
struct NextGroup {
  wire::CommandRefusal why = wire::CommandRefusal::none;
  std::optional<PolicyTrust> trust;
};
NextGroup next_group(const PolicyTrust& now, const CommandReading& command,
                     const GroupPolicy& in_force, std::int64_t wall_s);

}  // namespace weir
