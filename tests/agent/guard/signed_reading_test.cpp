// What the reading children made of commands and sets of keys, and what may be done with it; ids
// that were done before.
#include "agent/guard/signed_reading.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <cstring>

#include "agent/guard/done_commands.h"
#include "core/base/fixed_text.h"

namespace weir {
namespace {

using wire::CommandRefusal;
using wire::TrustRefusal;
constexpr std::int64_t kNow = 1'800'000'000;
constexpr char kHost[] = "host-1";

struct Signer {
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> key{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  explicit Signer(std::uint8_t seed) {
    EXPECT_GE(::sodium_init(), 0);
    std::array<std::uint8_t, crypto_sign_SEEDBYTES> bytes{seed};
    ::crypto_sign_seed_keypair(key.data(), secret.data(), bytes.data());
  }
  wire::OfferedSignature sign(std::string_view purpose, Bytes bytes) const {
    wire::OfferedSignature one;
    one.key = policy_key_id(key);
    const std::vector<std::uint8_t> covered = signed_bytes_of(purpose, bytes);
    ::crypto_sign_detached(one.signature.data(), nullptr, covered.data(), covered.size(),
                           secret.data());
    return one;
  }
  TrustedKey trusted() const { return {policy_key_id(key), key, 0}; }
};

wire::CommandId id_of(std::uint8_t seed) {
  wire::CommandId id{};
  id.fill(seed);
  return id;
}

CommandReading command() {
  CommandReading reading;
  reading.magic = kCommandReadingMagic;
  reading.verb = 5;
  reading.not_before_wall_s = kNow - 60;
  reading.expires_wall_s = kNow + 60;
  reading.id = id_of(1);
  put_text(reading.host_id, kHost);
  return reading;
}

template <class T>
Bytes bytes_of_block(const T& block) {
  return {reinterpret_cast<const std::uint8_t*>(&block), sizeof block};
}

TEST(commands, one_that_is_for_this_host_and_valid_may_be_done) {
  ASSERT_TRUE(read_command_reading(bytes_of_block(command())));
  EXPECT_EQ(check_command(command(), id_of(1), kHost, kNow), CommandRefusal::none);
}

TEST(commands, each_term_that_does_not_hold_has_its_reason) {
  EXPECT_EQ(check_command(command(), id_of(2), kHost, kNow), CommandRefusal::damaged);
  EXPECT_EQ(check_command(command(), id_of(1), "host-2", kNow), CommandRefusal::other_host);
  EXPECT_EQ(check_command(command(), id_of(1), "", kNow), CommandRefusal::no_host);
  EXPECT_EQ(check_command(command(), id_of(1), kHost, kNow + 60), CommandRefusal::expired);
  EXPECT_EQ(check_command(command(), id_of(1), kHost, kNow - 60 - kCommandSlackS),
            CommandRefusal::none);
  EXPECT_EQ(check_command(command(), id_of(1), kHost, kNow - 61 - kCommandSlackS),
            CommandRefusal::not_yet);
  CommandReading longer = command();
  longer.expires_wall_s = kNow + kMaxCommandLifeS + kCommandSlackS + 1;
  EXPECT_EQ(check_command(longer, id_of(1), kHost, kNow), CommandRefusal::too_long);
}

TEST(commands, an_answer_of_the_reader_that_is_none_is_refused) {
  CommandReading reading = command();
  for (std::size_t size : {std::size_t{0}, sizeof reading - 1})
    EXPECT_FALSE(read_command_reading(bytes_of_block(reading).first(size)));
  reading.verb = 12;
  EXPECT_FALSE(read_command_reading(bytes_of_block(reading)));
  reading = command();
  reading.host_id.fill('x');
  EXPECT_FALSE(read_command_reading(bytes_of_block(reading)));
  reading = command();
  reading.refusal = static_cast<std::uint32_t>(CommandRefusal::expired);
  EXPECT_FALSE(read_command_reading(bytes_of_block(reading))) << "not the reader's to say";
}

TEST(commands, an_id_is_found_again_and_forgotten_only_after_its_end) {
  DoneCommands done = DoneCommands::none();
  for (std::size_t n = 0; n < kMaxDoneCommands; ++n) {
    wire::CommandId id = id_of(7);
    id[0] = static_cast<std::uint8_t>(n);
    id[1] = static_cast<std::uint8_t>(n >> 8);
    ASSERT_TRUE(done.add({id, kNow + static_cast<std::int64_t>(n), 5, 1, 0, 0}, kNow - 1));
  }
  EXPECT_FALSE(done.add({id_of(9), kNow + 10, 5, 1, 0, 0}, kNow - 1)) << "none has expired";
  EXPECT_TRUE(done.add({id_of(9), kNow + 10, 5, 1, 0, 0}, kNow)) << "the first has";
  EXPECT_NE(done.find(id_of(9)), nullptr);
  wire::CommandId first = id_of(7), second = id_of(7);
  first[0] = first[1] = 0, second[0] = 1, second[1] = 0;
  EXPECT_EQ(done.find(first), nullptr);
  EXPECT_NE(done.find(second), nullptr);

  bool damaged = true;
  DoneCommands again = DoneCommands::read(done.bytes(), damaged);
  EXPECT_FALSE(damaged);
  EXPECT_NE(again.find(id_of(9)), nullptr);
  DoneCommands::read(done.bytes().first(100), damaged);
  EXPECT_TRUE(damaged);
  done.remove(id_of(9));
  EXPECT_EQ(done.find(id_of(9)), nullptr);
}

// ---- sets of keys -------------------------------------------------------------------------------

const std::vector<std::uint8_t> kSet{1, 2, 3};

TrustReading reading_of(std::uint32_t number, std::uint32_t threshold,
                        const std::vector<Signer>& signers) {
  TrustReading reading;
  reading.magic = kTrustReadingMagic;
  reading.number = number;
  reading.threshold = threshold;
  for (const Signer& one : signers)
    reading.key[reading.keys++] = {policy_key_id(one.key), one.key, 0};
  return reading;
}

TEST(keys, the_next_set_counts_if_its_own_threshold_has_signed) {
  Signer a(1), b(2), c(3);
  PolicyTrust now{"desks", 1, {a.trusted()}, kHost, 4};
  auto next =
      next_trust(now, reading_of(5, 2, {b, c}), kSet,
                 std::vector{b.sign(kTrustPurpose, kSet), c.sign(kTrustPurpose, kSet)}, kNow);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->number, 5u);
  EXPECT_EQ(next->threshold, 2u);
  EXPECT_EQ(next->keys.size(), 2u);
  EXPECT_EQ(next->group, "desks");
  EXPECT_EQ(next->host, kHost);
}

TEST(keys, every_other_number_and_every_missing_signature_is_refused) {
  Signer a(1), b(2), c(3);
  PolicyTrust now{"desks", 1, {a.trusted()}, kHost, 4};
  const auto one = b.sign(kTrustPurpose, kSet);
  for (std::uint32_t number : {1u, 4u, 6u})
    EXPECT_EQ(next_trust(now, reading_of(number, 1, {b}), kSet, std::vector{one}, kNow).error(),
              TrustRefusal::not_next);
  EXPECT_EQ(next_trust(now, reading_of(5, 2, {b, c}), kSet, std::vector{one}, kNow).error(),
            TrustRefusal::threshold);
  EXPECT_EQ(next_trust(now, reading_of(5, 2, {b, c}), kSet, std::vector{one, one}, kNow).error(),
            TrustRefusal::threshold)
      << "two by one key count once";
  EXPECT_EQ(
      next_trust(now, reading_of(5, 1, {b}), kSet, std::vector{b.sign(kPolicyPurpose, kSet)}, kNow)
          .error(),
      TrustRefusal::bad_signature);
  EXPECT_EQ(next_trust(now, reading_of(5, 1, {b, b}), kSet, std::vector{one}, kNow).error(),
            TrustRefusal::damaged);
  TrustReading wrong = reading_of(5, 1, {b});
  wrong.key[0].id[0] ^= 1;
  EXPECT_EQ(next_trust(now, wrong, kSet, std::vector{one}, kNow).error(), TrustRefusal::damaged);
}

}  // namespace
}  // namespace weir
