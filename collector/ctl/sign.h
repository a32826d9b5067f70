// A policy's signed envelope, made where its author is: the collector has no key to make one. Pure
// but for the key, which is an argument.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "core/policy/policy.h"

namespace weir {

namespace v1 {
class SignedPolicy;
}

struct EnvelopeTerms {
  std::uint32_t number = 0;
  std::int64_t not_before_wall_s = 0;
  std::int64_t expires_wall_s = 0;
  std::string group;
};

// `secret_key`: Ed25519, 64 bytes as libsodium has them.
Result<void> sign_policy(Policy policy, const EnvelopeTerms& terms, const std::string& secret_key,
                         v1::SignedPolicy& out);

// What stands in an envelope, to be signed anew under another number.
Result<Policy> policy_in(const v1::SignedPolicy& published);

}  // namespace weir
