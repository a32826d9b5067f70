// What a signature covers that a policy, a command or a set of keys carries, and how a key is
// named: the same for who signs (weirctl), who publishes (the collector) and who obeys (the guard).
// Ed25519 itself is libsodium's. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/sha256.h"

namespace weir {

using PolicyKeyId = std::array<std::uint8_t, 8>;
inline constexpr std::size_t kMaxPolicySignatures = 8;
inline constexpr std::size_t kMaxEnvelopeBytes =
    (1u << 20) + 4096;  // a policy of 1 MiB and its frame

inline constexpr std::size_t kMaxCommandBytes = 16u << 10;  // an exception with its words has 4 KiB
// No order waits longer for a host that is away, and no id has to be remembered longer.
inline constexpr std::int64_t kMaxCommandLifeS = 7 * 86'400;
// A host's clock and that of who signs may differ by so much.
inline constexpr std::int64_t kCommandSlackS = 300;
inline constexpr std::size_t kMaxTrustSetBytes = 4u << 10;  // 8 keys of 60 bytes

// What bytes were signed for. A signature made for one purpose is none for another.
inline constexpr std::string_view kPolicyPurpose = "weir policy v1";
inline constexpr std::string_view kCommandPurpose = "weir command v1";
inline constexpr std::string_view kTrustPurpose = "weir trust v1";
inline constexpr std::string_view kReleasePurpose = "weir release v1";

// A signature is over these bytes and no others: the purpose, a zero byte, what is signed.
inline std::vector<std::uint8_t> signed_bytes_of(std::string_view purpose, Bytes bytes) {
  std::vector<std::uint8_t> all(purpose.begin(), purpose.end());
  all.push_back(0);
  all.insert(all.end(), bytes.begin(), bytes.end());
  return all;
}

inline std::vector<std::uint8_t> signed_bytes_of_policy(Bytes envelope) {
  return signed_bytes_of(kPolicyPurpose, envelope);
}

// First 8 bytes of the SHA-256 of the public key: finds the key, proves nothing.
inline PolicyKeyId policy_key_id(Bytes public_key) {
  auto digest = sha256(public_key);
  PolicyKeyId id{};
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

}  // namespace weir
