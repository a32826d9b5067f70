// The message table between guard and engine: what is accepted, and how each kind of nonsense ends.
#include "agent/guard/messages.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace weir::wire {
namespace {

constexpr std::uint64_t kRows = 0b111;
constexpr std::uint64_t kNow = 10'000'000'000;

template <class M>
std::vector<std::uint8_t> bytes_of_message(M message, std::uint32_t sequence) {
  Bytes sealed = seal(message, sequence);
  return {sealed.begin(), sealed.end()};
}

Classify verdict(std::uint64_t limits) {
  Classify m;
  m.cookie = 7;
  m.limits = limits;
  return m;
}

Damage damage_of(const Received<FromEngine>& received) {
  EXPECT_FALSE(received.has_value());
  return received ? Damage::oversized : received.error();
}

TEST(guard_messages, a_ready_engine_may_classify_a_socket) {
  EngineSession session(kRows);
  ASSERT_TRUE(session.on(bytes_of_message(Ready{}, 0), kNow));
  auto received = session.on(bytes_of_message(verdict(0b101), 1), kNow);
  ASSERT_TRUE(received);
  EXPECT_EQ(std::get<Classify>(*received).limits, 0b101u);
  EXPECT_EQ(session.last_heard_ns(), kNow);
}

TEST(guard_messages, nothing_is_heard_before_ready_and_ready_only_once) {
  EngineSession early(kRows);
  EXPECT_EQ(damage_of(early.on(bytes_of_message(verdict(1), 0), kNow)), Damage::out_of_turn);
  EngineSession twice(kRows);
  ASSERT_TRUE(twice.on(bytes_of_message(Ready{}, 0), kNow));
  EXPECT_EQ(damage_of(twice.on(bytes_of_message(Ready{}, 1), kNow)), Damage::out_of_turn);
}

TEST(guard_messages, a_repeated_or_skipped_sequence_is_out_of_turn) {
  EngineSession session(kRows);
  ASSERT_TRUE(session.on(bytes_of_message(Ready{}, 0), kNow));
  EXPECT_EQ(damage_of(session.on(bytes_of_message(verdict(1), 2), kNow)), Damage::out_of_turn);
  EXPECT_EQ(damage_of(session.on(bytes_of_message(verdict(1), 0), kNow)), Damage::out_of_turn);
}

TEST(guard_messages, every_length_but_the_right_one_is_refused) {
  std::vector<std::uint8_t> right = bytes_of_message(verdict(1), 0);
  for (std::size_t length = 0; length < kReceiveBuffer; ++length) {
    std::vector<std::uint8_t> cut = right;
    cut.resize(length);
    EXPECT_EQ(parse_from_engine(cut).has_value(), length == right.size()) << length;
  }
  std::vector<std::uint8_t> large(kReceiveBuffer, 0);
  std::memcpy(large.data(), right.data(), right.size());
  EXPECT_EQ(damage_of(parse_from_engine(large)), Damage::oversized);
}

TEST(guard_messages, a_header_that_lies_about_its_size_is_refused) {
  for (std::uint16_t size : {0, 1, 8, 39, 41, 65535}) {
    std::vector<std::uint8_t> lie = bytes_of_message(verdict(1), 0);
    std::memcpy(lie.data() + offsetof(Header, size), &size, sizeof size);
    EXPECT_FALSE(parse_from_engine(lie)) << size;
  }
}

TEST(guard_messages, an_unknown_kind_or_one_of_the_other_direction_is_refused) {
  for (std::uint16_t kind : {0, 8, 63, 64, 65, 66, 67, 68, 65535}) {
    std::vector<std::uint8_t> other = bytes_of_message(verdict(1), 0);
    std::memcpy(other.data(), &kind, sizeof kind);
    EXPECT_EQ(damage_of(parse_from_engine(other)), Damage::unknown_kind) << kind;
  }
  EXPECT_FALSE(parse_from_guard(bytes_of_message(verdict(1), 0)));
  EXPECT_TRUE(parse_from_guard(bytes_of_message(Stop{}, 0)));
}

TEST(guard_messages, until_a_policy_is_taken_what_is_said_about_rows_is_of_the_former_one) {
  EngineSession session(kRows);
  ASSERT_TRUE(session.on(bytes_of_message(Ready{}, 0), kNow));
  session.give(9, 0b1);
  EXPECT_FALSE(session.is_taken());
  EXPECT_TRUE(session.on(bytes_of_message(verdict(0b100), 1), kNow)) << "a row of before";
  PolicyTaken taken;
  taken.number = 9;
  EXPECT_TRUE(session.on(bytes_of_message(taken, 2), kNow));
  EXPECT_TRUE(session.is_taken());
  EXPECT_EQ(damage_of(session.on(bytes_of_message(verdict(0b100), 3), kNow)), Damage::bad_field);
}

TEST(guard_messages, a_policy_that_was_not_given_can_not_be_taken) {
  EngineSession session(kRows);
  ASSERT_TRUE(session.on(bytes_of_message(Ready{}, 0), kNow));
  PolicyTaken taken;
  taken.number = 9;
  EXPECT_EQ(damage_of(session.on(bytes_of_message(taken, 1), kNow)), Damage::out_of_turn);
}

TEST(guard_messages, a_verdict_names_only_rows_that_exist) {
  EngineSession session(kRows);
  ASSERT_TRUE(session.on(bytes_of_message(Ready{}, 0), kNow));
  EXPECT_EQ(damage_of(session.on(bytes_of_message(verdict(0b1000), 1), kNow)), Damage::bad_field);
}

TEST(guard_messages, an_address_lease_can_not_name_a_wide_prefix) {
  ClassifyAddress m;
  m.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 0};
  m.length = 96 + 24;
  EXPECT_TRUE(parse_from_engine(bytes_of_message(m, 0)));
  m.length = 96 + 23;
  EXPECT_EQ(damage_of(parse_from_engine(bytes_of_message(m, 0))), Damage::bad_field);
  m.address = {0x20, 0x01, 0x0d, 0xb8};
  m.length = 47;
  EXPECT_EQ(damage_of(parse_from_engine(bytes_of_message(m, 0))), Damage::bad_field);
}

TEST(guard_messages, the_unattributed_can_not_be_blocked) {
  Block m;
  m.tree = 0;
  EXPECT_EQ(damage_of(parse_from_engine(bytes_of_message(m, 0))), Damage::bad_field);
}

TEST(guard_messages, more_than_the_rate_in_one_second_is_too_fast_and_a_new_second_is_not) {
  EngineSession session(kRows);
  ASSERT_TRUE(session.on(bytes_of_message(Ready{}, 0), kNow));
  std::uint32_t sequence = 1;
  for (; sequence < kMessagesPerSecond; ++sequence)
    ASSERT_TRUE(session.on(bytes_of_message(verdict(1), sequence), kNow));
  EXPECT_EQ(damage_of(session.on(bytes_of_message(verdict(1), sequence), kNow)), Damage::too_fast);
  EngineSession calm(kRows);
  ASSERT_TRUE(calm.on(bytes_of_message(Ready{}, 0), kNow));
  for (std::uint32_t n = 1; n < 2 * kMessagesPerSecond; ++n)
    ASSERT_TRUE(calm.on(bytes_of_message(verdict(1), n), kNow + n * 100'000ull));
}

TEST(guard_messages, a_program_name_without_an_end_is_refused) {
  Process m;
  m.exec.record.kind = WEIR_REC_EXEC;
  m.exec.record.size = sizeof(weir_exec);
  std::memset(m.exec.program, 'a', sizeof m.exec.program);
  EXPECT_FALSE(parse_from_guard(bytes_of_message(m, 0)));
  m.exec.program[sizeof m.exec.program - 1] = 0;
  EXPECT_TRUE(parse_from_guard(bytes_of_message(m, 0)));
}

TEST(guard_messages, a_removed_hook_has_a_kind_a_count_and_words_that_end) {
  HookRemoved right;
  right.count = 1;
  right.name = {'w'};
  EXPECT_TRUE(parse_from_guard(bytes_of_message(right, 0)));
  HookRemoved wrong = right;
  wrong.what = kSilent + 1;
  EXPECT_FALSE(parse_from_guard(bytes_of_message(wrong, 0)));
  wrong = right;
  wrong.count = 0;
  EXPECT_FALSE(parse_from_guard(bytes_of_message(wrong, 0)));
  wrong = right;
  wrong.open_ns = -1;
  EXPECT_FALSE(parse_from_guard(bytes_of_message(wrong, 0)));
  wrong = right;
  wrong.name.fill('a');
  EXPECT_FALSE(parse_from_guard(bytes_of_message(wrong, 0)));
  wrong = right;
  wrong.problem.fill('a');
  EXPECT_FALSE(parse_from_guard(bytes_of_message(wrong, 0)));
}

TEST(guard_messages, the_end_of_a_hold_names_a_socket_a_row_and_how) {
  HoldEnded right;
  right.cookie = 7;
  EXPECT_TRUE(parse_from_guard(bytes_of_message(right, 0)));
  const auto refused = [&](auto change) {
    HoldEnded wrong = right;
    change(wrong);
    return !parse_from_guard(bytes_of_message(wrong, 0)).has_value();
  };
  EXPECT_TRUE(refused([](HoldEnded& m) { m.cookie = 0; }));
  EXPECT_TRUE(refused([](HoldEnded& m) { m.limit = WEIR_LIMITS; }));
  EXPECT_TRUE(refused([](HoldEnded& m) { m.how = kHoldEnds; }));
  EXPECT_TRUE(refused([](HoldEnded& m) { m.flows = 0; }));
  EXPECT_TRUE(refused([](HoldEnded& m) { m.size = kMaxAnswerBytes + 1; }));
  EXPECT_TRUE(refused([](HoldEnded& m) { m.pad = 1; }));
}

TEST(guard_messages, an_interface_has_a_name_that_ends) {
  Interface m;
  m.index = 7;
  EXPECT_FALSE(parse_from_guard(bytes_of_message(m, 0))) << "no name";
  m.name.fill('a');
  EXPECT_FALSE(parse_from_guard(bytes_of_message(m, 0))) << "no end";
  m.name = {'t', 'u', 'n', '0'};
  auto received = parse_from_guard(bytes_of_message(m, 0));
  ASSERT_TRUE(received);
  EXPECT_EQ(std::get<Interface>(*received).text(), "tun0");
}

}  // namespace
}  // namespace weir::wire
