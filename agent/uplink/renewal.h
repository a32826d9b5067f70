// A new certificate over the console door, by proof of the old key: the one thing that an expired
// host may still ask for. The door is the one that the token named. Thread: one; blocks.
#pragma once

#include <cstdint>
#include <string>

#include "agent/uplink/identity.h"

namespace weir {

struct RenewalFailure {
  enum class Kind : std::uint8_t { refused, unreachable, local };
  Kind kind = Kind::local;
  std::string sentence;
};

// With a new key. The identity's folder holds the new one when this returns it.
tl::expected<Identity, RenewalFailure> renew(int folder, const Identity& identity);

}  // namespace weir
