// The row of exceptions: its accounts are the guard's alone; what is granted leaves and no more,
// for that person and that exception, while it lasts, whatever is restarted or replaced meanwhile.
#include <set>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;
constexpr std::uint64_t kFlight = 16 << 10;
constexpr std::uint64_t kRow = std::uint64_t{1} << WEIR_EXCEPTIONS;
constexpr std::uint32_t kNumber = 17;
constexpr std::uint64_t kDatagram = 1028;  // 1000 bytes and 28 of header

class ExceptionRow : public KernelTest {
 protected:
  void TearDown() override {
    if (!k) return;
    const bool pinned = !pins_.empty();
    k->events.reset();
    k->part.reset();
    if (pinned) EXPECT_TRUE(KernelPart::release(pins_));
  }
  // One row that the flow has spent before its verdict, so that nothing but an exception lets it
  // go.
  void load(std::vector<weir_limit> rows, bool pinned = false,
            std::uint64_t wait_ns = 60 * kSecond) {
    weir_state state{};
    state.first_flight = kFlight;
    state.verdict_wait_ns = wait_ns;
    KernelOptions options;
    if (pinned) pins_ = options.pin_dir = k->desk.pin_dir();
    k->load(std::move(rows), options, state);
  }
  weir_record flow() {
    weir_record found{};
    await(
        [&] {
          auto heads = k->records<weir_head>(WEIR_REC_HEAD);
          if (!heads.empty()) found = heads[0].record;
          return found.cookie != 0;
        },
        within(3000));
    return found;
  }
  Result<void> grant(std::uint32_t person, std::uint64_t bytes,
                     std::uint64_t for_ns = 600 * kSecond, std::uint32_t number = kNumber) {
    return k->part->grant({number, person, bytes, boot_now() + for_ns});
  }
  Result<void> verdict(const weir_record& of, std::uint64_t rows, std::uint32_t number = kNumber) {
    return k->part->put_verdict(of.cookie, rows, 0, 0, number);
  }
  std::uint64_t settled() { return k->desk.settled(milliseconds(500), within(4000)); }

  std::string pins_;
};

TEST_F(ExceptionRow, lets_a_person_send_what_was_granted_and_no_more) {
  load({limit_row(5'000, 0, WEIR_PER_PERSON)});
  k->desk.start(udp({"--ms", "60000"}));
  const weir_record of = flow();
  const std::uint64_t before = settled();
  EXPECT_LE(before, 5'000u);
  ASSERT_TRUE(grant(of.person, 100'000));
  EXPECT_FALSE(grant(of.person, 100'000)) << "what was spent stays spent";
  ASSERT_TRUE(verdict(of, kRow));
  settled();
  const std::uint64_t charged = k->charged(WEIR_EXCEPTIONS);
  fmt::print("granted 100000, charged {}, received {}\n", charged, k->desk.received());
  EXPECT_LE(charged, 100'000u);
  EXPECT_GT(charged, 100'000u - kDatagram);
  EXPECT_EQ(k->desk.received(), charged / kDatagram * 1000);
  EXPECT_EQ(k->part->left_of_grant(of.person, kNumber), 100'000 - charged);
  EXPECT_EQ(k->charged(0), 0u) << "the row that was set aside has its first flight back";
}

TEST_F(ExceptionRow, lets_a_stream_of_that_size_pass_whole) {
  load({limit_row(5'000, 0, WEIR_PER_PERSON)});
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "60000"}));
  const weir_record of = flow();
  ASSERT_TRUE(grant(of.person, 300'000));
  ASSERT_TRUE(verdict(of, kRow));
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(8000)))
      << k->desk.received();
  EXPECT_EQ(k->part->left_of_grant(of.person, kNumber), 0u);
}

TEST_F(ExceptionRow, that_has_no_room_for_the_first_flight_leaves_it_charged_where_it_was) {
  load({limit_row(20'000, 0, WEIR_PER_PERSON), limit_row(20'000, 0, WEIR_PER_PERSON_DEST)});
  const pid_t first = k->desk.start(udp({"--ms", "60000"}));
  const weir_record of = flow();
  // Of the row per destination 5,000 are for flows without a name.
  const std::uint64_t flight = settled() / 1000 * kDatagram;
  ASSERT_GT(flight, 0u);
  ASSERT_EQ(k->charged(0), flight);
  ASSERT_TRUE(grant(of.person, 1'000));
  ASSERT_TRUE(verdict(of, kRow));
  settled();
  EXPECT_EQ(k->charged(0), flight) << "it has left, and the exception did not take it";
  EXPECT_EQ(k->charged(1), flight);
  EXPECT_EQ(k->charged(WEIR_EXCEPTIONS), 0u);
  ASSERT_TRUE(verdict(of, 3, 0));  // the exception is over
  EXPECT_GT(settled(), flight) << "it goes on under its ordinary rows";
  EXPECT_EQ(k->charged(0), k->charged(1)) << "each byte is charged once";
  EXPECT_EQ(k->desk.received(), k->charged(0) / kDatagram * 1000);
  EXPECT_LE(k->charged(1), 20'000u);
  k->desk.end(first);
}

TEST_F(ExceptionRow, that_refuses_a_first_flight_frees_nothing_for_the_flows_after_it) {
  load({limit_row(10'000, 0, WEIR_PER_PERSON)});
  std::set<std::uint64_t> seen;
  for (int n = 0; n < 6; ++n) {
    k->desk.start(udp({"--count", "1", "--ms", "60000"}));
    settled();
    for (const auto& head : k->records<weir_head>(WEIR_REC_HEAD)) {
      if (!seen.insert(head.record.cookie).second) continue;
      if (seen.size() == 1) ASSERT_TRUE(grant(head.record.person, 1'000));
      ASSERT_TRUE(verdict(head.record, kRow));
    }
  }
  EXPECT_GT(seen.size(), 0u);
  EXPECT_LE(settled() / 1000 * kDatagram, 10'000u) << seen.size() << " flows";
}

TEST_F(ExceptionRow, that_is_spent_stops_a_flow_also_when_the_wait_for_its_name_is_over) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON)}, false, kSecond);
  k->desk.start(udp({"--ms", "60000"}));
  const weir_record of = flow();
  ASSERT_TRUE(grant(of.person, 1'000));
  ASSERT_TRUE(await([&] { return k->count(WEIR_COUNT_WAITED) > 0; }, within(3000)));
  ASSERT_TRUE(verdict(of, kRow));
  const std::uint64_t stopped = settled();
  EXPECT_LE(stopped, kFlight);
  usleep(static_cast<unsigned>(2'000'000 * scale()));
  EXPECT_EQ(k->desk.received(), stopped) << "its verdict has come, and finds no room";
}

TEST_F(ExceptionRow, of_another_person_or_number_is_none) {
  load({limit_row(5'000, 0, WEIR_PER_PERSON)});
  k->desk.start(udp({"--ms", "60000"}));
  const weir_record of = flow();
  const std::uint64_t before = settled();
  ASSERT_TRUE(grant(of.person + 1, 100'000));
  ASSERT_TRUE(verdict(of, kRow));
  EXPECT_EQ(settled(), before) << "that number is another person's";
  ASSERT_TRUE(grant(of.person, 100'000, 600 * kSecond, kNumber + 1));
  ASSERT_TRUE(verdict(of, kRow, 0));
  EXPECT_EQ(settled(), before) << "a verdict without a number";
  ASSERT_TRUE(verdict(of, kRow, kNumber + 2));
  EXPECT_EQ(settled(), before);
  EXPECT_EQ(k->accounts_of(WEIR_EXCEPTIONS).size(), 2u) << "no packet opens an account";
  EXPECT_EQ(k->charged(WEIR_EXCEPTIONS), 0u);
  ASSERT_TRUE(verdict(of, kRow, kNumber + 1));
  EXPECT_GT(settled(), before);
}

TEST_F(ExceptionRow, ends_with_its_time_and_by_hand) {
  load({limit_row(5'000, 0, WEIR_PER_PERSON)});
  k->desk.start(udp({"--ms", "60000"}));
  const weir_record of = flow();
  settled();
  const auto lasts = static_cast<std::uint64_t>(kSecond) * 2 * static_cast<unsigned>(scale());
  ASSERT_TRUE(grant(of.person, kRoomy / 2, lasts));
  ASSERT_TRUE(verdict(of, kRow));
  const std::uint64_t began = boot_now();
  EXPECT_TRUE(await([&] { return k->desk.received() > 100'000; }, within(1500)));
  while (boot_now() < began + lasts) usleep(20'000);
  usleep(200'000);
  const std::uint64_t at_end = k->desk.received();
  usleep(700'000);
  EXPECT_EQ(k->desk.received(), at_end) << "it has ended";
  EXPECT_GT(*k->part->left_of_grant(of.person, kNumber), 0u);

  ASSERT_TRUE(grant(of.person, kRoomy / 2, 600 * kSecond, kNumber + 1));
  ASSERT_TRUE(verdict(of, kRow, kNumber + 1));
  EXPECT_TRUE(await([&] { return k->desk.received() > at_end + 100'000; }, within(3000)));
  ASSERT_TRUE(k->part->end_grant(of.person, kNumber + 1));
  usleep(200'000);
  const std::uint64_t undone = k->desk.received();
  usleep(700'000);
  EXPECT_EQ(k->desk.received(), undone);
}

TEST_F(ExceptionRow, stands_beside_the_rows_that_were_not_set_aside) {
  load({limit_row(5'000, 0, WEIR_PER_PERSON), limit_row(50'000, 0, WEIR_PER_HOST)});
  k->desk.start(udp({"--ms", "60000"}));
  const weir_record of = flow();
  settled();
  ASSERT_TRUE(grant(of.person, 100'000));
  ASSERT_TRUE(verdict(of, kRow | 2));
  settled();
  EXPECT_LE(k->charged(1), 50'000u);
  EXPECT_GT(k->charged(1), 50'000u - kDatagram);
  EXPECT_EQ(k->charged(WEIR_EXCEPTIONS), k->charged(1)) << "all rows or none";
}

TEST_F(ExceptionRow, and_what_was_spent_of_it_outlive_the_loader_and_a_swap) {
  load({limit_row(5'000, 0, WEIR_PER_PERSON)}, true);
  k->desk.start(udp({"--ms", std::to_string(60'000 * scale())}));
  const weir_record of = flow();
  settled();
  ASSERT_TRUE(grant(of.person, 40'000));
  ASSERT_TRUE(verdict(of, kRow));
  settled();
  const auto left = k->part->left_of_grant(of.person, kNumber);
  ASSERT_TRUE(left);
  EXPECT_LT(*left, kDatagram);
  k->events.reset();
  k->part.reset();
  KernelOptions options;
  options.pin_dir = pins_;
  options.cgroup = k->desk.cgroup();
  options.max_accounts = options.max_tasks = 4096;
  auto again = KernelPart::load(options);
  ASSERT_TRUE(again) << again.error().sentence;
  ASSERT_TRUE(again->adopted());
  k->part = std::make_unique<KernelPart>(std::move(*again));
  EXPECT_EQ(k->part->left_of_grant(of.person, kNumber), left);
  EXPECT_FALSE(grant(of.person, 40'000));

  const weir_limit rows[] = {limit_row(6'000, 0, WEIR_PER_HOST)};
  weir_state state = k->part->state();
  ASSERT_TRUE(k->part->replace({rows, {}, state}));
  EXPECT_EQ(k->part->left_of_grant(of.person, kNumber), left) << "no policy refills it";
  const std::uint64_t before = settled();
  ASSERT_TRUE(verdict(of, kRow));
  EXPECT_EQ(settled(), before) << "it is spent, under any policy";
  ASSERT_TRUE(grant(of.person, 20'000, 600 * kSecond, kNumber + 1));
  ASSERT_TRUE(verdict(of, kRow, kNumber + 1));
  EXPECT_GT(settled(), before);
}

}  // namespace
}  // namespace weir::test
