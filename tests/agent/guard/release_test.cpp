// A host is released by an answer to its own challenge, once, for 4 hours, and no clock or restart
// makes that more.
#include "agent/guard/release.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <cstddef>
#include <memory>

#include "agent/guard/exceptions.h"
#include "core/base/hex.h"

namespace weir {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr Now kNow{1'800'000'000, 5'000 * kSecond, {1}};
constexpr char kHost[] = "0c9d5b5e-8a5e-4d0a-9c57-0f2a4a1b7d11";
using Answer = std::array<std::uint8_t, kAnswerBytes>;

struct Signer {
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> key{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  explicit Signer(std::uint8_t seed) {
    EXPECT_GE(::sodium_init(), 0);
    std::array<std::uint8_t, crypto_sign_SEEDBYTES> bytes{seed};
    ::crypto_sign_seed_keypair(key.data(), secret.data(), bytes.data());
  }
  Answer answer(const ReleaseChallenge& challenge,
                std::string_view purpose = kReleasePurpose) const {
    const ChallengeBytes bytes = bytes_of(challenge);
    const auto covered = signed_bytes_of(purpose, bytes);
    Answer out{};
    ::crypto_sign_detached(out.data(), nullptr, covered.data(), covered.size(), secret.data());
    return out;
  }
  TrustedKey trusted() const { return {policy_key_id(key), key, 0}; }
};

class Release : public testing::Test {
 protected:
  Release() {
    trust.group = "desks";
    trust.host = kHost;
    trust.keys = {admin.trusted(), second.trusted()};
  }
  static ReleaseChallenge challenge(std::uint8_t nonce, const Now& at = kNow,
                                    const char* host = kHost) {
    return {host_mark(host),
            boot_mark(at.boot),
            {nonce},
            static_cast<std::uint32_t>(at.boot_ns / kSecond) + kChallengeS};
  }
  static ReleaseClaim claim(const ReleaseChallenge& shown, const std::vector<Answer>& answers) {
    ReleaseClaim out;
    out.magic = kClaimMagic;
    out.nonce = shown.nonce;
    out.expires_boot_s = shown.expires_boot_s;
    for (const Answer& one : answers) out.answer[out.answers++] = one;
    return out;
  }
  ReleaseRefusal next(const ReleaseClaim& asked, const Now& at = kNow) {
    NextRelease made = next_release(state, asked, trust, at);
    if (made.why == ReleaseRefusal::none) state = made.state;
    return made.why;
  }
  ReleaseRefusal released(std::uint8_t nonce, const Now& at = kNow) {
    const auto shown = challenge(nonce, at);
    return next(claim(shown, {admin.answer(shown)}), at);
  }

  Signer admin{1}, second{2}, stranger{3};
  PolicyTrust trust;
  ReleaseState state;
};

TEST_F(Release, by_an_answer_to_its_own_challenge_and_by_nothing_else) {
  const auto shown = challenge(1);
  Answer cut = admin.answer(shown);
  cut[17] ^= 1;
  Now other = kNow;
  other.boot = {2};
  for (const Answer& wrong :
       {cut, stranger.answer(shown), admin.answer(shown, kCommandPurpose),
        admin.answer(challenge(2)), admin.answer(challenge(1, kNow, "another host")),
        admin.answer(challenge(1, other))})
    EXPECT_EQ(next(claim(shown, {wrong})), ReleaseRefusal::wrong_answer);
  EXPECT_EQ(next(claim(shown, {})), ReleaseRefusal::damaged);
  ReleaseClaim wide = claim(shown, {admin.answer(shown)});
  wide.answers = 9;
  EXPECT_EQ(next(wide), ReleaseRefusal::damaged);
  EXPECT_EQ(state.now.holds, 0u);

  EXPECT_EQ(next(claim(shown, {admin.answer(shown)})), ReleaseRefusal::none);
  EXPECT_EQ(released_until(state.now, kNow), kNow.boot_ns + kReleaseS * kSecond);
  EXPECT_EQ(state.now.id, release_id(bytes_of(shown)));
  EXPECT_NE(std::string(state.now.asked.data()).find(hex_of(admin.trusted().id)),
            std::string::npos);
}

TEST_F(Release, a_challenge_is_used_once_and_ends) {
  const auto shown = challenge(1);
  Now late = kNow;
  late.boot_ns += (kChallengeS + 1) * kSecond;
  EXPECT_EQ(next(claim(shown, {admin.answer(shown)}), late), ReleaseRefusal::expired);
  Now early = kNow;
  early.boot_ns -= 10 * kSecond;
  EXPECT_EQ(next(claim(shown, {admin.answer(shown)}), early), ReleaseRefusal::expired)
      << "it says that it lasts longer than any does";
  EXPECT_EQ(next(claim(shown, {admin.answer(shown)})), ReleaseRefusal::none);
  EXPECT_EQ(next(claim(shown, {admin.answer(shown)})), ReleaseRefusal::used);
}

TEST_F(Release, as_many_keys_answer_as_the_host_wants) {
  trust.threshold = 2;
  const auto shown = challenge(1);
  EXPECT_EQ(next(claim(shown, {admin.answer(shown)})), ReleaseRefusal::threshold);
  EXPECT_EQ(next(claim(shown, {admin.answer(shown), admin.answer(shown)})),
            ReleaseRefusal::threshold)
      << "one key twice is one";
  EXPECT_EQ(next(claim(shown, {second.answer(shown), admin.answer(shown)})), ReleaseRefusal::none);
  trust.keys[0].expires_wall_s = kNow.wall_s;
  const auto again = challenge(2);
  EXPECT_EQ(next(claim(again, {second.answer(again), admin.answer(again)})),
            ReleaseRefusal::threshold);
  trust.host.clear();
  EXPECT_EQ(next(claim(again, {admin.answer(again)})), ReleaseRefusal::no_host);
}

TEST_F(Release, three_times_within_a_day_whatever_the_clock_says) {
  Now at = kNow;
  for (std::uint8_t n = 0; n < kReleasesADay; ++n) EXPECT_EQ(released(n, at), ReleaseRefusal::none);
  EXPECT_EQ(released(10, at), ReleaseRefusal::ceiling);
  at.wall_s += 400'000;  // the clock alone
  EXPECT_EQ(released(11, at), ReleaseRefusal::ceiling);
  Now other = kNow;
  other.boot = {2};
  other.boot_ns = 60 * kSecond;
  EXPECT_EQ(released(12, other), ReleaseRefusal::ceiling) << "a boot does not forget them";
  other.wall_s -= 3'600;  // set back
  EXPECT_EQ(released(12, other), ReleaseRefusal::ceiling);
  at.wall_s = kNow.wall_s;
  at.boot_ns += 86'401 * kSecond;
  EXPECT_EQ(released(13, at), ReleaseRefusal::none);
}

TEST_F(Release, it_ends_with_its_time_and_no_clock_or_boot_makes_it_longer) {
  ASSERT_EQ(released(1), ReleaseRefusal::none);
  Now at = kNow;
  at.boot_ns += (kReleaseS - 1) * kSecond;
  at.wall_s -= 1'000'000;
  EXPECT_EQ(released_until(state.now, at), kNow.boot_ns + kReleaseS * kSecond);
  at.boot_ns += kSecond;
  EXPECT_EQ(released_until(state.now, at), 0u);
  EXPECT_EQ(written_release(state.now, at).holds, 0u);
  const Now ahead{kNow.wall_s + kReleaseS, 30 * kSecond, {9}};
  EXPECT_EQ(released_until(state.now, ahead), 0u) << "its time has passed by the clock as well";

  // One boot after the other, each with a clock that was set back: never more than 4 hours in all.
  HostRelease held = state.now;
  std::uint32_t total_s = 0, boots = 0;
  for (std::uint8_t boot = 2; boot < 200; ++boot, ++boots) {
    const Now next{kNow.wall_s - 500'000, 30 * kSecond, {boot}};
    EXPECT_LE(released_until(held, next), next.boot_ns + held.left_s * kSecond);
    held = written_release(held, next);
    if (held.holds == 0) break;
    total_s += kReleaseStepS;  // as long as a boot has without the file being written once more
  }
  EXPECT_LE(total_s, kReleaseS);
  EXPECT_GE(boots, 40u);
  EXPECT_LT(boots, 100u);
}

TEST_F(Release, a_table_of_before_has_none_and_a_damaged_one_is_refused) {
  const auto table = std::make_unique<ExceptionTable>(ExceptionTable::none());
  table->magic = kSecondExceptionMagic;
  const Bytes before = table->bytes().first(offsetof(ExceptionTable, release));
  Result<ExceptionTable> read = ExceptionTable::read(before);
  ASSERT_TRUE(read) << read.error().sentence;
  EXPECT_EQ(read->release.now.holds, 0u);
  EXPECT_FALSE(ExceptionTable::read(table->bytes())) << "of the old name and the new size";
  *table = ExceptionTable::none();
  EXPECT_TRUE(ExceptionTable::read(table->bytes()));
  table->release.now.left_s = kReleaseS + 1;
  EXPECT_FALSE(ExceptionTable::read(table->bytes()));
}

TEST(challenge, is_told_from_every_other_one_by_its_bytes) {
  const ReleaseChallenge one{
      {1, 2, 3, 4, 5}, {6, 7, 8}, {9, 10, 11, 12, 13, 14, 15, 16}, 0x11121314};
  const ChallengeBytes bytes = bytes_of(one);
  EXPECT_EQ(hex_of(bytes), "0102030405060708090a0b0c0d0e0f1011121314");
  EXPECT_EQ(bytes_of(challenge_of(bytes)), bytes);
}

}  // namespace
}  // namespace weir
