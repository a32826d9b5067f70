// Policies, commands and sets of keys, signed where their author is: the collector has no key to do
// it. Pure but for keys, which are arguments, and what is drawn at random.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/policy/policy.h"

namespace weir {

namespace v1 {
class Command;
class CommandBody;
class PolicySignature;
class SignedPolicy;
}  // namespace v1

// A desk's clock may be behind: a policy, or a command, holds from a while ago.
inline constexpr std::int64_t kBackdated_s = 600;

struct EnvelopeTerms {
  std::uint32_t number = 0;
  std::int64_t not_before_wall_s = 0;
  std::int64_t expires_wall_s = 0;
  std::string group;
};

// `secret_key`: Ed25519, 64 bytes as libsodium has them.
Result<void> sign_policy(Policy policy, const EnvelopeTerms& terms, const std::string& secret_key,
                         v1::SignedPolicy& out);

std::string new_id();  // 128 random bits, 32 hexadecimal digits

// With a new id.
Result<void> sign_command(v1::CommandBody body, const std::string& secret_key, v1::Command& out);

// By this key, over `bytes` for `purpose` (core/policy/signature.h).
Result<void> sign_bytes(std::string_view purpose, const std::string& bytes,
                        const std::string& secret_key, v1::PolicySignature& out);

// What stands in an envelope, to be signed anew under another number. It comes from the collector,
// which must not choose what is signed: one of these keys (32 bytes each) has signed it for this
// group already.
Result<Policy> policy_in(const v1::SignedPolicy& published, const std::string& group,
                         std::span<const std::string> public_keys);

}  // namespace weir
