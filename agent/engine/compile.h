// weir-engine --compile: the guard's child that reads what came through the network, so that the
// guard need not. Its envelope's signatures were verified before it was started. It seals itself as
// an engine does, reads one envelope (fds::kCompileEnvelope), writes one answer
// (agent/guard/compiled.h) to fds::kRecord, and ends.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/bytes.h"
#include "core/event/address.h"

namespace weir {

// Pure: the whole answer for these bytes.
std::vector<std::uint8_t> compile_envelope(Bytes envelope, const std::vector<IpAddress>& resolvers);

int run_compile(std::uint32_t user);  // the exit status

}  // namespace weir
