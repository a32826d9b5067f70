// A challenge as bytes and back: see release.h.
#include "core/policy/release.h"

#include <algorithm>

#include "core/base/hex.h"
#include "core/base/sha256.h"

namespace weir {

std::array<std::uint8_t, 5> host_mark(std::string_view host_id) {
  std::array<std::uint8_t, 5> mark{};
  std::copy_n(sha256(bytes_of(host_id)).begin(), mark.size(), mark.begin());
  return mark;
}

std::array<std::uint8_t, 3> boot_mark(Bytes boot_id) {
  std::array<std::uint8_t, 3> mark{};
  std::copy_n(sha256(boot_id).begin(), mark.size(), mark.begin());
  return mark;
}

std::string text_of_mark(const std::array<std::uint8_t, 5>& mark) {
  return hex_of(mark);
}

ChallengeBytes bytes_of(const ReleaseChallenge& challenge) {
  ChallengeBytes bytes{};
  auto at = std::ranges::copy(challenge.host, bytes.begin()).out;
  at = std::ranges::copy(challenge.boot, at).out;
  at = std::ranges::copy(challenge.nonce, at).out;
  for (int shift = 24; shift >= 0; shift -= 8)
    *at++ = static_cast<std::uint8_t>(challenge.expires_boot_s >> shift);
  return bytes;
}

ReleaseChallenge challenge_of(const ChallengeBytes& bytes) {
  ReleaseChallenge challenge;
  const std::uint8_t* at = bytes.data();
  std::copy_n(at, challenge.host.size(), challenge.host.begin());
  std::copy_n(at += challenge.host.size(), challenge.boot.size(), challenge.boot.begin());
  std::copy_n(at += challenge.boot.size(), challenge.nonce.size(), challenge.nonce.begin());
  at += challenge.nonce.size();
  for (int n = 0; n < 4; ++n) challenge.expires_boot_s = challenge.expires_boot_s << 8 | at[n];
  return challenge;
}

}  // namespace weir
