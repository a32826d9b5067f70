// Break-glass: a host that nobody reaches over the network shows a challenge, who has a policy key
// answers it by a signature over exactly these bytes, and the host only observes for a while. Both
// are spoken (core/base/spoken.h). Pure: time and what is drawn at random are arguments.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace weir {

inline constexpr std::uint32_t kReleaseS = 4 * 3600;   // a release lasts so long
inline constexpr std::uint32_t kChallengeS = 30 * 60;  // a telephone call, and a second one
// In 24 hours: half of a day at most is without a bound, whoever answers.
inline constexpr std::size_t kReleasesADay = 3;

struct ReleaseChallenge {
  std::array<std::uint8_t, 5> host{};   // host_mark()
  std::array<std::uint8_t, 3> boot{};   // boot_mark()
  std::array<std::uint8_t, 8> nonce{};  // drawn by the host
  std::uint32_t expires_boot_s = 0;     // seconds since that boot
};
using ChallengeBytes = std::array<std::uint8_t, 20>;
inline constexpr std::size_t kAnswerBytes = 64;  // an Ed25519 signature

// Of the host's id and of the boot's: told apart by who answers, never taken for the whole of it.
std::array<std::uint8_t, 5> host_mark(std::string_view host_id);
std::array<std::uint8_t, 3> boot_mark(Bytes boot_id);
std::string text_of_mark(const std::array<std::uint8_t, 5>& mark);  // 10 hexadecimal digits

ChallengeBytes bytes_of(const ReleaseChallenge& challenge);
ReleaseChallenge challenge_of(const ChallengeBytes& bytes);

}  // namespace weir
