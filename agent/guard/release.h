// A host that was released: its policy only observes for 4 hours, because somebody with a policy
// key has answered its challenge (core/policy/release.h). What stands of it in STATE/exceptions,
// what `weir run` asks the guard, and what comes of it. Pure; native byte order.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "agent/guard/signed_reading.h"
#include "agent/guard/trust.h"
#include "core/policy/release.h"

namespace weir {

struct Now {
  std::int64_t wall_s = 0;
  std::uint64_t boot_ns = 0;
  std::array<std::uint8_t, 16> boot{};  // all zero: not known
};

struct HostRelease {
  wire::CommandId id{};      // of its challenge, see release_id()
  std::uint32_t holds = 0;   // 0 or 1
  std::uint32_t left_s = 0;  // what another boot may still take of it: written ahead of time
  std::uint64_t until_boot_ns = 0;
  std::array<std::uint8_t, 16> boot{};
  std::int64_t until_wall_s = 0;
  std::array<char, 96> asked{};  // whose keys
};
// What a boot that follows loses of it at most: it is written that often.
inline constexpr std::uint32_t kReleaseStepS = 300;

struct PastRelease {  // counts against kReleasesADay, and its challenge is used up
  std::array<std::uint8_t, 8> nonce{};
  std::uint64_t at_boot_ns = 0;
  std::array<std::uint8_t, 16> boot{};
  std::int64_t at_wall_s = 0;
};

struct ReleaseState {
  HostRelease now;
  std::array<PastRelease, kReleasesADay> past{};
};
bool is_sound(const ReleaseState& state);

// `weir run` → guard, and back with the same number. The challenge is one that this host has shown.
struct ReleaseClaim {
  std::uint32_t magic = 0, answers = 0;
  std::uint64_t number = 0;
  std::array<std::uint8_t, 8> nonce{};
  std::uint32_t expires_boot_s = 0, pad = 0;
  std::array<std::array<std::uint8_t, kAnswerBytes>, kMaxPolicySignatures> answer{};
};
inline constexpr std::uint32_t kClaimMagic = 0x314c5257;  // "WRL1"

enum class ReleaseRefusal : std::uint32_t {
  none,
  damaged,
  no_host,       // STATE/trust does not say which host this is
  expired,       // the challenge is older than it may be
  used,          // it was answered before
  wrong_answer,  // no signature of a key that counts here, over this challenge
  threshold,     // too few
  ceiling,       // kReleasesADay
  failed,        // the disk did not take it, or no library
};
inline constexpr std::size_t kReleaseRefusals = 9;
struct ReleaseReply {
  std::uint64_t number = 0;
  std::uint32_t refusal = 0;
  std::uint32_t lasts_s = 0;
};

wire::CommandId release_id(const ChallengeBytes& challenge);

struct NextRelease {
  ReleaseRefusal why = ReleaseRefusal::none;
  CountedKeys keys;
  ReleaseState state;
};
// Whether this claim releases the host, by signatures over bytes that nobody parses.
NextRelease next_release(const ReleaseState& before, const ReleaseClaim& claim,
                         const PolicyTrust& trust, const Now& at);

// Boot time until which the host only observes, 0: it does not. In another boot than it was written
// in: what is left by what was written, and no clock makes it more.
std::uint64_t released_until(const HostRelease& release, const Now& at);
// As it is to stand on the disk from now on.
HostRelease written_release(const HostRelease& release, const Now& at);

}  // namespace weir
