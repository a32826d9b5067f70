// weir-engine --compile, --read-command, --read-trust: the guard's child that reads what came
// through the network, so that the guard need not. The signatures were verified before it was
// started. It seals itself as an engine does, reads one envelope, command or set of keys
// (fds::kCompileEnvelope), writes one answer (agent/guard/compiled.h, signed_reading.h) to
// fds::kRecord, and ends.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/bytes.h"
#include "core/event/address.h"

namespace weir {

// Pure: the whole answer for these bytes.
std::vector<std::uint8_t> compile_envelope(Bytes envelope, const std::vector<IpAddress>& resolvers);

std::vector<std::uint8_t> read_command(Bytes body);
std::vector<std::uint8_t> read_trust_set(Bytes set);

enum class Reading : std::uint8_t { policy, command, trust };
int run_reading(Reading what, std::uint32_t user);  // the exit status

}  // namespace weir
