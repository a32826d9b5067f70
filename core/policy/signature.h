// What a policy's signature covers, and how a key is named: the same for who signs (weirctl), who
// publishes (the collector) and who obeys (the guard). Ed25519 itself is libsodium's. Pure.
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

// A signature is over these bytes and no others: one made for something else is none for a policy.
inline std::vector<std::uint8_t> signed_bytes_of_policy(Bytes envelope) {
  constexpr std::string_view kPurpose("weir policy v1\0", 15);
  std::vector<std::uint8_t> all(kPurpose.begin(), kPurpose.end());
  all.insert(all.end(), envelope.begin(), envelope.end());
  return all;
}

// First 8 bytes of the SHA-256 of the public key: finds the key, proves nothing.
inline PolicyKeyId policy_key_id(Bytes public_key) {
  auto digest = sha256(public_key);
  PolicyKeyId id{};
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

}  // namespace weir
