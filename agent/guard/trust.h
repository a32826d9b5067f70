// Whom a host takes policies and commands from: the file STATE/trust, written by `weir enroll`, and
// by `weir run` when a set of keys follows another (root, 0600); read by the guard. Lines of words,
// so that an administrator can read it:
//   weir trust 1
//   host ID                   whose commands are for this host; absent after older enrolments
//   group NAME
//   number N                  of the set of keys; absent: 1
//   threshold N
//   key ID PUBLIC EXPIRES     1 to 8 of them: 16 and 64 hexadecimal digits, UTC seconds (0: never)
// Pure; the threshold is the host's own: it never comes with a policy, only with a set of keys that
// the threshold before has signed.
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
  std::vector<TrustedKey> keys{};
  std::string host{};        // as the group, or "": not known
  std::uint32_t number = 1;  // from 1
};

inline constexpr std::size_t kMaxTrustedKeys = 8;
inline constexpr std::size_t kMaxGroup = 64;
inline constexpr std::size_t kMaxTrustBytes = 4096;  // 8 keys of 105 characters and five lines

Result<PolicyTrust> read_trust(std::string_view text);
Result<std::string> write_trust(
    const PolicyTrust& trust);  // what read_trust() would refuse is an Error

}  // namespace weir
