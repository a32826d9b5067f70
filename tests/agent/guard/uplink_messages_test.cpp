// The message table between guard and uplink: what is accepted, and how nonsense ends.
#include "agent/guard/uplink_messages.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>
#include <vector>

namespace weir::wire {
namespace {

constexpr std::uint64_t kNow = 1'000'000'000'000;

template <class M>
std::vector<std::uint8_t> bytes_of_message(M message, std::uint32_t sequence) {
  Bytes sealed = seal(message, sequence);
  return {sealed.begin(), sealed.end()};
}

OfferPolicy offer() {
  OfferPolicy m;
  m.envelope_size = 100;
  m.signatures = 1;
  m.signature[0].key[0] = 7;
  return m;
}

Damage damage_of(const Received<FromUplink>& received) {
  EXPECT_FALSE(received);
  return received ? Damage::too_fast : received.error();
}

TEST(uplink_messages, a_beat_and_an_offer_are_heard) {
  UplinkSession session;
  EXPECT_EQ(session.last_heard_ns(), 0u);
  ASSERT_TRUE(session.on(bytes_of_message(UplinkBeat{}, 0), 0, kNow));
  auto received = session.on(bytes_of_message(offer(), 1), 1, kNow + 5);
  ASSERT_TRUE(received);
  EXPECT_EQ(std::get<OfferPolicy>(*received).signature[0].key[0], 7);
  EXPECT_EQ(session.last_heard_ns(), kNow + 5);
}

TEST(uplink_messages, an_offer_comes_with_one_descriptor_and_a_beat_with_none) {
  for (std::size_t descriptors : {0, 2}) {
    UplinkSession session;
    EXPECT_EQ(damage_of(session.on(bytes_of_message(offer(), 0), descriptors, kNow)),
              Damage::bad_field);
  }
  UplinkSession session;
  EXPECT_EQ(damage_of(session.on(bytes_of_message(UplinkBeat{}, 0), 1, kNow)), Damage::bad_field);
}

TEST(uplink_messages, a_repeated_or_skipped_sequence_is_out_of_turn) {
  UplinkSession session;
  EXPECT_EQ(damage_of(session.on(bytes_of_message(UplinkBeat{}, 1), 0, kNow)), Damage::out_of_turn);
  ASSERT_TRUE(session.on(bytes_of_message(UplinkBeat{}, 0), 0, kNow));
  EXPECT_EQ(damage_of(session.on(bytes_of_message(UplinkBeat{}, 0), 0, kNow)), Damage::out_of_turn);
}

TEST(uplink_messages, every_length_but_the_right_one_is_refused) {
  std::vector<std::uint8_t> right = bytes_of_message(offer(), 0);
  for (std::size_t length = 0; length < right.size(); ++length)
    EXPECT_FALSE(parse_from_uplink(Bytes(right).first(length))) << length;
  right.push_back(0);
  EXPECT_EQ(damage_of(parse_from_uplink(right)), Damage::wrong_size);
  right.resize(kMaxUplinkMessage + 1);
  EXPECT_EQ(damage_of(parse_from_uplink(right)), Damage::oversized);
}

TEST(uplink_messages, more_signatures_than_eight_or_bytes_behind_the_last_are_refused) {
  OfferPolicy many = offer();
  many.signatures = kMaxPolicySignatures + 1;
  EXPECT_EQ(damage_of(parse_from_uplink(bytes_of_message(many, 0))), Damage::bad_field);
  OfferPolicy hidden = offer();
  hidden.signature[1].signature[63] = 1;
  EXPECT_EQ(damage_of(parse_from_uplink(bytes_of_message(hidden, 0))), Damage::bad_field);
  OfferPolicy empty = offer();
  empty.envelope_size = 0;
  EXPECT_EQ(damage_of(parse_from_uplink(bytes_of_message(empty, 0))), Damage::bad_field);
}

TEST(uplink_messages, what_is_the_engines_or_the_other_directions_is_unknown) {
  EXPECT_EQ(damage_of(parse_from_uplink(bytes_of_message(Ready{}, 0))), Damage::unknown_kind);
  EXPECT_EQ(damage_of(parse_from_uplink(bytes_of_message(UplinkStop{}, 0))), Damage::unknown_kind);
  EXPECT_FALSE(parse_to_uplink(bytes_of_message(UplinkBeat{}, 0)));
  EXPECT_TRUE(parse_to_uplink(bytes_of_message(UplinkStop{}, 0)));
}

TEST(uplink_messages, a_state_names_one_of_four_and_its_words_end) {
  PolicyStateMessage state;
  EXPECT_FALSE(parse_to_uplink(bytes_of_message(state, 0)));
  state.state = 4;
  EXPECT_TRUE(parse_to_uplink(bytes_of_message(state, 0)));
  state.words.fill('a');
  EXPECT_FALSE(parse_to_uplink(bytes_of_message(state, 0)));
}

TEST(uplink_messages, more_than_twenty_in_a_second_are_too_fast) {
  UplinkSession session;
  std::uint32_t n = 0;
  for (; n < kUplinkMessagesPerSecond; ++n)
    ASSERT_TRUE(session.on(bytes_of_message(UplinkBeat{}, n), 0, kNow));
  EXPECT_EQ(damage_of(session.on(bytes_of_message(UplinkBeat{}, n), 0, kNow)), Damage::too_fast);
}

TEST(uplink_messages, a_command_and_a_set_of_keys_come_as_a_policy_does) {
  UplinkSession session;
  OfferCommand command;
  command.body_size = 10;
  OfferTrust keys;
  keys.set_size = 10;
  ASSERT_TRUE(session.on(bytes_of_message(command, 0), 1, kNow));
  ASSERT_TRUE(session.on(bytes_of_message(keys, 1), 1, kNow));
  EXPECT_EQ(damage_of(session.on(bytes_of_message(command, 2), 0, kNow)), Damage::bad_field);
  command.body_size = 0;
  EXPECT_EQ(damage_of(parse_from_uplink(bytes_of_message(command, 0))), Damage::bad_field);
  keys.signatures = 9;
  EXPECT_EQ(damage_of(parse_from_uplink(bytes_of_message(keys, 0))), Damage::bad_field);
}

TEST(uplink_messages, an_outcome_and_the_facts_of_a_host_are_whole_or_refused) {
  CommandOutcomeMessage outcome;
  EXPECT_FALSE(parse_to_uplink(bytes_of_message(outcome, 0))) << "it says no outcome";
  outcome.outcome = 1;
  EXPECT_TRUE(parse_to_uplink(bytes_of_message(outcome, 0)));
  outcome.reason = kCommandRefusals;
  EXPECT_FALSE(parse_to_uplink(bytes_of_message(outcome, 0)));
  HostFactsMessage facts;
  EXPECT_TRUE(parse_to_uplink(bytes_of_message(facts, 0)));
  facts.control[5].name.fill('x');
  EXPECT_FALSE(parse_to_uplink(bytes_of_message(facts, 0)));
  facts = {};
  facts.counters = kMaxFacts + 1;
  EXPECT_FALSE(parse_to_uplink(bytes_of_message(facts, 0)));
  facts = {};
  facts.leases = kMaxExceptions + kMaxShuts + 3;
  EXPECT_TRUE(parse_to_uplink(bytes_of_message(facts, 0)));
  ++facts.leases;
  EXPECT_FALSE(parse_to_uplink(bytes_of_message(facts, 0)));
}

TEST(uplink_messages, every_reason_of_a_command_and_of_keys_has_a_code_of_its_own) {
  std::set<std::string_view> codes;
  for (std::size_t n = 1; n < kCommandRefusals; ++n)
    codes.insert(code_of(static_cast<CommandRefusal>(n)));
  for (std::size_t n = 1; n < kTrustRefusals; ++n)
    codes.insert(code_of(static_cast<TrustRefusal>(n)));
  EXPECT_EQ(codes.size(), kCommandRefusals + kTrustRefusals - 2);
}

TEST(uplink_messages, every_refusal_has_a_code_of_its_own) {
  for (std::uint32_t n = 1; n < kRefusals; ++n)
    for (std::uint32_t m = 0; m < n; ++m) EXPECT_NE(code_of(Refusal{n}), code_of(Refusal{m}));
}

}  // namespace
}  // namespace weir::wire
