// weir.v1.PolicyEnvelope as values: what a policy's signatures cover. Its bytes came through the
// network, signed; whatever they hold, the answer is a whole envelope or one sentence. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace weir {

struct Envelope {
  std::string policy;  // bytes of weir.v1.Policy
  std::uint32_t number = 0;
  std::int64_t not_before_wall_s = 0, expires_wall_s = 0;
  std::string target;
  std::size_t keys = 0;  // keys that it brings
};

Result<Envelope> envelope_from_bytes(Bytes bytes);
std::string envelope_bytes(const Envelope& envelope);  // without keys

}  // namespace weir
