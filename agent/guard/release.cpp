// A host that was released: see release.h.
#include "agent/guard/release.h"

#include <sodium.h>

#include <algorithm>
#include <cstdlib>

#include "core/base/fixed_text.h"
#include "core/base/hex.h"

namespace weir {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kDayS = 24 * 3600;

bool is_known(const std::array<std::uint8_t, 16>& boot) {
  return boot != std::array<std::uint8_t, 16>{};
}

// Within a boot no clock counts. One that was far off when it was written, and is right now, shuts
// nobody out for longer than a day.
bool is_of_last_day(const PastRelease& past, const Now& at) {
  if (!is_known(past.boot)) return false;
  if (past.boot == at.boot)
    return at.boot_ns - std::min(at.boot_ns, past.at_boot_ns) < kDayS * kSecondNs;
  return std::abs(at.wall_s - past.at_wall_s) < kDayS;
}

struct Signers {
  CountedKeys keys;
  bool usable = true;
};

// A spoken answer does not say whose it is: every key is tried.
Signers signers_of(const ReleaseClaim& claim, Bytes challenge, const PolicyTrust& trust,
                   std::int64_t wall_s) {
  Signers all;
  all.usable = ::sodium_init() >= 0;
  if (!all.usable) return all;
  const std::vector<std::uint8_t> covered = signed_bytes_of(kReleasePurpose, challenge);
  for (std::size_t n = 0; n < trust.keys.size() && n < kMaxTrustedKeys; ++n) {
    const TrustedKey& key = trust.keys[n];
    if (key.expires_wall_s != 0 && key.expires_wall_s <= wall_s) continue;
    for (std::uint32_t a = 0; a < claim.answers; ++a)
      if (::crypto_sign_verify_detached(claim.answer[a].data(), covered.data(), covered.size(),
                                        key.key.data()) == 0)
        all.keys.set(n);
  }
  return all;
}

std::string names_of(const CountedKeys& keys, const PolicyTrust& trust) {
  std::string text = "break-glass, key";
  for (std::size_t n = 0; n < trust.keys.size() && n < kMaxTrustedKeys; ++n)
    if (keys.test(n)) text += " " + hex_of(trust.keys[n].id);
  return text;
}

}  // namespace

bool is_sound(const ReleaseState& state) {
  return state.now.holds <= 1 && state.now.left_s <= kReleaseS && state.now.asked.back() == '\0';
}

wire::CommandId release_id(const ChallengeBytes& challenge) {
  wire::CommandId id{};
  std::copy_n(sha256(challenge).begin(), id.size(), id.begin());
  return id;
}

NextRelease next_release(const ReleaseState& before, const ReleaseClaim& claim,
                         const PolicyTrust& trust, const Now& at) {
  NextRelease next{ReleaseRefusal::none, {}, before};
  const auto refused = [&](ReleaseRefusal why) {
    next.why = why;
    return next;
  };
  if (claim.magic != kClaimMagic || claim.answers == 0 || claim.answers > claim.answer.size() ||
      claim.pad != 0)
    return refused(ReleaseRefusal::damaged);
  if (trust.host.empty() || !is_known(at.boot)) return refused(ReleaseRefusal::no_host);
  const std::uint64_t now_s = at.boot_ns / kSecondNs;
  if (claim.expires_boot_s <= now_s || claim.expires_boot_s - now_s > kChallengeS)
    return refused(ReleaseRefusal::expired);
  for (const PastRelease& past : before.past)
    if (past.boot == at.boot && past.nonce == claim.nonce) return refused(ReleaseRefusal::used);
  const ChallengeBytes challenge =
      bytes_of({host_mark(trust.host), boot_mark(at.boot), claim.nonce, claim.expires_boot_s});
  const Signers signers = signers_of(claim, challenge, trust, at.wall_s);
  if (!signers.usable) return refused(ReleaseRefusal::failed);
  if (signers.keys.none()) return refused(ReleaseRefusal::wrong_answer);
  if (signers.keys.count() < trust.threshold) return refused(ReleaseRefusal::threshold);
  const auto room = std::ranges::find_if(
      next.state.past, [&](const PastRelease& past) { return !is_of_last_day(past, at); });
  if (room == next.state.past.end()) return refused(ReleaseRefusal::ceiling);
  *room = {claim.nonce, at.boot_ns, at.boot, at.wall_s};
  next.keys = signers.keys;
  HostRelease now;
  now.id = release_id(challenge);
  now.holds = 1;
  now.until_boot_ns = at.boot_ns + kReleaseS * kSecondNs;
  now.boot = at.boot;
  now.until_wall_s = at.wall_s + kReleaseS;
  put_text(now.asked, names_of(next.keys, trust));
  next.state.now = written_release(now, at);
  return next;
}

std::uint64_t released_until(const HostRelease& release, const Now& at) {
  if (release.holds == 0) return 0;
  std::uint64_t left_ns = 0;
  if (is_known(at.boot) && release.boot == at.boot) {
    left_ns = release.until_boot_ns - std::min(release.until_boot_ns, at.boot_ns);
  } else {
    const auto by_wall = std::clamp<std::int64_t>(release.until_wall_s - at.wall_s, 0, kReleaseS);
    left_ns =
        std::min<std::uint64_t>(release.left_s, static_cast<std::uint64_t>(by_wall)) * kSecondNs;
  }
  left_ns = std::min(left_ns, kReleaseS * kSecondNs);
  return left_ns == 0 ? 0 : at.boot_ns + left_ns;
}

HostRelease written_release(const HostRelease& release, const Now& at) {
  HostRelease next = release;
  next.until_boot_ns = released_until(release, at);
  if (next.until_boot_ns == 0) return {};
  const auto left_s = static_cast<std::uint32_t>((next.until_boot_ns - at.boot_ns) / kSecondNs);
  next.left_s = left_s - std::min(left_s, kReleaseStepS);
  next.boot = at.boot;
  return next;
}

}  // namespace weir
