// An offered policy: what its signatures, its numbers and its compiled form must be.
#include <gtest/gtest.h>
#include <sodium.h>

#include <cstddef>
#include <cstring>

#include "agent/guard/compiled.h"

namespace weir {
namespace {

using wire::Refusal;
constexpr std::int64_t kNow = 1'800'000'000;

struct Signer {
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> key{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  explicit Signer(std::uint8_t seed) {
    EXPECT_GE(::sodium_init(), 0);
    std::array<std::uint8_t, crypto_sign_SEEDBYTES> bytes{seed};
    ::crypto_sign_seed_keypair(key.data(), secret.data(), bytes.data());
  }
  wire::OfferedSignature sign(Bytes covered) const {
    wire::OfferedSignature one;
    one.key = policy_key_id(key);
    ::crypto_sign_detached(one.signature.data(), nullptr, covered.data(), covered.size(),
                           secret.data());
    return one;
  }
  TrustedKey trusted(std::int64_t expires = 0) const { return {policy_key_id(key), key, expires}; }
};

const std::vector<std::uint8_t> kEnvelope{1, 2, 3, 4};

wire::OfferedSignature good(const Signer& by) {
  return by.sign(signed_bytes_of_policy(kEnvelope));
}

Refusal check(const std::vector<wire::OfferedSignature>& signatures, const PolicyTrust& trust) {
  return check_signatures(kEnvelope, signatures, trust, kNow);
}

TEST(offers, one_good_signature_meets_a_threshold_of_one) {
  Signer a(1), b(2);
  EXPECT_EQ(check({good(a)}, {"g", 1, {a.trusted(), b.trusted()}}), Refusal::none);
}

TEST(offers, the_same_key_twice_counts_once) {
  Signer a(1), b(2);
  PolicyTrust two{"g", 2, {a.trusted(), b.trusted()}};
  EXPECT_EQ(check({good(a), good(a)}, two), Refusal::threshold);
  EXPECT_EQ(check({good(a), good(b)}, two), Refusal::none);
}

TEST(offers, an_unknown_or_an_expired_key_signs_nothing) {
  Signer a(1), b(2);
  EXPECT_EQ(check({good(b)}, {"g", 1, {a.trusted()}}), Refusal::unknown_key);
  EXPECT_EQ(check({}, {"g", 1, {a.trusted()}}), Refusal::unknown_key);
  EXPECT_EQ(check({good(a)}, {"g", 1, {a.trusted(kNow)}}), Refusal::unknown_key);
  EXPECT_EQ(check({good(a)}, {"g", 1, {a.trusted(kNow + 1)}}), Refusal::none);
}

TEST(offers, a_signature_over_other_bytes_is_bad) {
  Signer a(1);
  EXPECT_EQ(check({a.sign(signed_bytes_of_policy(std::vector<std::uint8_t>{1, 2, 3, 5}))},
                  {"g", 1, {a.trusted()}}),
            Refusal::bad_signature);
  EXPECT_EQ(check({a.sign(kEnvelope)}, {"g", 1, {a.trusted()}}), Refusal::bad_signature)
      << "the purpose is signed too";
}

TEST(offers, a_larger_envelope_than_may_be_is_not_verified) {
  std::vector<std::uint8_t> large(kMaxEnvelopeBytes + 1);
  EXPECT_EQ(check_signatures(large, {}, {}, kNow), Refusal::too_large);
}

// A compiled answer for one policy without rows.
std::vector<std::uint64_t> answer(std::uint32_t number, const std::string& target,
                                  std::int64_t from, std::int64_t to) {
  FlatHeader flat_header;
  flat_header.policy_number = number;
  std::vector<std::uint8_t> flat = write_flat_policy(flat_header, {});
  CompiledHeader header;
  header.magic = kCompiledMagic;
  header.number = number;
  header.not_before_wall_s = from;
  header.expires_wall_s = to;
  std::copy(target.begin(), target.end(), header.target.begin());
  header.flat_size = flat.size();
  header.policy_size = 8;
  std::vector<std::uint64_t> all((sizeof header + flat.size() + 8) / 8);
  auto* at = reinterpret_cast<std::uint8_t*>(all.data());
  std::memcpy(at, &header, sizeof header);
  std::memcpy(at + sizeof header, flat.data(), flat.size());
  return all;
}

Bytes bytes_of_answer(const std::vector<std::uint64_t>& words) {
  return {reinterpret_cast<const std::uint8_t*>(words.data()), words.size() * 8};
}

Refusal terms(std::uint32_t number, const std::string& target, std::int64_t from, std::int64_t to) {
  std::vector<std::uint64_t> words = answer(number, target, from, to);
  auto compiled = read_compiled(bytes_of_answer(words));
  EXPECT_TRUE(compiled) << compiled.error().sentence;
  return check_terms(*compiled, {"support", 1, {}}, {"support", 5}, kNow);
}

TEST(offers, number_group_and_times_must_be_right) {
  EXPECT_EQ(terms(6, "support", kNow, kNow + 1), Refusal::none);
  EXPECT_EQ(terms(5, "support", kNow, kNow + 1), Refusal::not_newer);
  EXPECT_EQ(terms(4, "support", kNow, kNow + 1), Refusal::not_newer);
  EXPECT_EQ(terms(6, "sales", kNow, kNow + 1), Refusal::other_group);
  EXPECT_EQ(terms(6, "support", kNow - 9, kNow), Refusal::expired);
  EXPECT_EQ(terms(6, "support", kNow + 1, kNow + 9), Refusal::not_yet);
}

TEST(offers, an_answer_that_is_cut_anywhere_is_refused) {
  std::vector<std::uint64_t> words = answer(6, "support", kNow, kNow + 1);
  Bytes whole = bytes_of_answer(words);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(read_compiled(whole.first(size))) << size;
}

TEST(offers, a_kept_policy_is_read_as_it_was_written) {
  KeptPolicy head;
  head.magic = kKeptMagic;
  head.offer.signatures = 1;
  head.offer.envelope_size = 3;
  std::vector<std::uint8_t> file(sizeof head + 3);
  std::memcpy(file.data(), &head, sizeof head);
  EXPECT_TRUE(read_kept(file));
  file.pop_back();
  EXPECT_FALSE(read_kept(file));
  file.assign(sizeof head, 0);
  EXPECT_FALSE(read_kept(file));
}

TEST(offers, a_kept_policy_of_an_earlier_build_is_read_and_outlives_no_key) {
  KeptPolicy head;
  head.magic = kFirstKeptMagic;
  head.keep_on_exit = 1;
  head.offer.signatures = 1;
  head.offer.envelope_size = 3;
  const std::size_t size = offsetof(KeptPolicy, trust_number);
  std::vector<std::uint8_t> file(size + 3, 9);
  std::memcpy(file.data(), &head, size);
  auto kept = read_kept(file);
  ASSERT_TRUE(kept) << kept.error().sentence;
  EXPECT_EQ(kept->envelope.size(), 3u);
  EXPECT_EQ(kept->head.keep_on_exit, 1u);
  EXPECT_FALSE(kept->was_taken_before({"g", 1, {}, "", 5}));
}

TEST(offers, a_kept_policy_outlives_its_keys_only_as_it_was_written) {
  KeptPolicy head;
  head.magic = kKeptMagic;
  head.offer.envelope_size = kEnvelope.size();
  head.trust_number = 2;
  head.digest = sha256(kEnvelope);
  std::vector<std::uint8_t> file(sizeof head);
  std::memcpy(file.data(), &head, sizeof head);
  file.insert(file.end(), kEnvelope.begin(), kEnvelope.end());
  EXPECT_TRUE(read_kept(file)->was_taken_before({"g", 1, {}, "", 3}));
  EXPECT_FALSE(read_kept(file)->was_taken_before({"g", 1, {}, "", 2}))
      << "its keys count still: its signature has to hold";
  file.back() ^= 1;
  EXPECT_FALSE(read_kept(file)->was_taken_before({"g", 1, {}, "", 3}));
}

}  // namespace
}  // namespace weir
