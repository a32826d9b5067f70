// Makes this host a known one: redeems a token at the door that it names, and lays down what came
// back. A crash leaves a host that is enrolled or one that is not: STATE/identity/host.json is
// written last, and says so. Thread: one; blocks for as long as the door takes.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "agent/uplink/door_failure.h"
#include "agent/uplink/identity.h"
#include "agent/uplink/token.h"

namespace weir {

struct EnrolmentFacts {
  std::string hostname{}, version{}, machine_id{};  // the id's digest is what goes out
};

// What `state` says already; nothing: not enrolled.
Result<std::optional<Identity>> enrolled_as(const std::string& state);

// `owner`: the uplink's uid and gid, which the identity is given to; nothing: it stays the
// caller's.
DoorResult<HostFacts> enrol(const EnrolmentToken& token, const EnrolmentFacts& facts,
                            const std::string& state, std::optional<uid_t> owner);

}  // namespace weir
