// Whom a host takes policies from: the file STATE/trust, written by `weir enroll` (root, 0600) and
// read by the guard. Lines of words, so that an administrator can read it:
//   weir trust 1
//   group NAME
//   threshold N
//   key ID PUBLIC EXPIRES     1 to 8 of them: 16 and 64 hexadecimal digits, UTC seconds (0: never)
// Pure; the threshold is the host's own and never comes with a policy.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/policy/signature.h"

namespace weir {

using PolicyPublicKey = std::array<std::uint8_t, 32>;  // Ed25519

struct TrustedKey {
  PolicyKeyId id{};  // policy_key_id() of the public key; a file where it is not is refused
  PolicyPublicKey key{};
  std::int64_t expires_wall_s = 0;  // 0: never
};

struct PolicyTrust {
  std::string group;            // 1 to kMaxGroup characters without white space
  std::uint32_t threshold = 1;  // 1 to the number of keys
  std::vector<TrustedKey> keys;
};

inline constexpr std::size_t kMaxTrustedKeys = 8;
inline constexpr std::size_t kMaxGroup = 64;
inline constexpr std::size_t kMaxTrustBytes = 4096;  // 8 keys of 105 characters and three lines

Result<PolicyTrust> read_trust(std::string_view text);
Result<std::string> write_trust(
    const PolicyTrust& trust);  // what read_trust() would refuse is an Error

}  // namespace weir
