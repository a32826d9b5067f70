// One policy in the place of another: what was spent stays spent, nothing slips by meanwhile, and
// what is approved loses nothing.
#include <functional>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = 1ull << 40;
constexpr int kSwaps = 20;

weir_limit named(weir_limit row, std::uint64_t name) {
  row.name = name;
  return row;
}

class Swap : public KernelTest {
 protected:
  // Rows in this order, all of them for what nothing names.
  void put(const std::vector<weir_limit>& rows, std::uint64_t approved = 0) {
    KernelPolicy policy;
    policy.rows = rows;
    policy.state.unclassified = ~std::uint64_t{0} >> (64 - rows.size());
    auto peer = IpAddress::parse(kOther4);
    weir_prefix value{};
    value.limits = approved;
    value.final = 1;
    std::pair<Prefix, weir_prefix> prefix{Prefix{*peer, 128}, value};
    policy.prefixes = {&prefix, 1};
    auto replaced = k->part->replace(policy);
    ASSERT_TRUE(replaced) << replaced.error().sentence;
  }

  // The row moves, and its number goes up and down.
  void swap_under_a_flood(const std::function<weir_limit(std::uint64_t)>& row, std::uint64_t first,
                          std::uint64_t high, std::uint64_t low) {
    weir_limit roomy = named(limit_row(kRoomy, 0, WEIR_PER_HOST), 2);
    k->load({row(first), roomy});
    put({row(first), roomy});
    k->desk.start(udp({"--shape", "forks", "--count", "2"}));
    for (int n = 0; n < kSwaps; ++n) {
      usleep(50'000);
      const std::uint64_t bytes = n % 4 < 2 ? high : low;
      if (n % 2 == 0)
        put({roomy, row(bytes)});
      else
        put({row(bytes), roomy});
    }
    k->desk.settled(milliseconds(300), milliseconds(3000));
    k->desk.end_all();  // the flood would go on for seconds
    k->desk.settled(milliseconds(100), milliseconds(500));
  }
};

TEST_F(Swap, twenty_times_under_a_flood_lets_no_more_than_a_total_leave) {
  swap_under_a_flood(
      [](std::uint64_t bytes) { return named(limit_row(bytes, 0, WEIR_PER_PERSON), 1); }, 60'000,
      100'000, 80'000);
  EXPECT_LE(k->desk.received(), 100'000u);
  EXPECT_GT(k->desk.received(), 60'000u) << "the raised number was there to be used";
  EXPECT_GT(k->count(WEIR_COUNT_REFUSED_PACKETS), 0u);
  fmt::print("{} bytes arrived, {} datagrams lost within {} swaps\n", k->desk.received(),
             k->count(WEIR_COUNT_SWAPPED), kSwaps);
}

TEST_F(Swap, twenty_times_under_a_flood_lets_no_more_than_a_window_leave) {
  constexpr std::int64_t kWindow = 24 * 3600 * kSecond;
  swap_under_a_flood(
      [](std::uint64_t bytes) { return named(limit_row(bytes, kWindow, WEIR_PER_PERSON), 1); },
      120'000, 200'000, 120'000);
  EXPECT_LE(k->desk.received(), 101'000u) << "half at once; the rest takes a day to come back";
  EXPECT_GT(k->desk.received(), 60'000u);
}

TEST_F(Swap, a_row_of_another_name_starts_fresh_and_leaves_no_account_behind) {
  k->load({named(limit_row(50'000, 0, WEIR_PER_PERSON), 1)});
  put({named(limit_row(50'000, 0, WEIR_PER_PERSON), 1)});
  k->desk.finish(k->desk.start(udp({"--ms", "500"})));
  const std::uint64_t first = k->desk.settled(milliseconds(300), milliseconds(2000));
  EXPECT_LE(first, 50'000u);
  put({named(limit_row(50'000, 0, WEIR_PER_PERSON), 7)});
  const auto accounts = k->part->accounts();
  for (const KernelAccount& left : *accounts)  // the one for all without room is made new
    EXPECT_EQ(left.key.per | left.value.charged, WEIR_PER_PERSON | WEIR_PER_OVERFLOW);
  k->desk.finish(k->desk.start(udp({"--ms", "500"})));
  const std::uint64_t both = k->desk.settled(milliseconds(300), milliseconds(2000));
  EXPECT_LE(both - first, 50'000u);
  EXPECT_GT(both - first, 40'000u);
}

TEST_F(Swap, an_approved_flow_loses_nothing) {
  weir_limit roomy = named(limit_row(kRoomy, 0, WEIR_PER_HOST), 2);
  weir_limit small = named(limit_row(1000, 0, WEIR_PER_PERSON), 1);
  k->load({small, roomy});
  put({small, roomy}, 0b10);
  constexpr std::uint64_t kBytes = 40'000'000;
  pid_t pid = k->desk.start({"--to", kOther4, "--bytes", std::to_string(kBytes), "--ms",
                             std::to_string(30'000 * scale())});
  std::uint64_t longest = 0;
  for (int n = 0; n < kSwaps; ++n) {
    usleep(20'000);
    const std::uint64_t before = boot_now();
    if (n % 2 == 0)
      put({roomy, small}, 0b01);
    else
      put({small, roomy}, 0b10);
    longest = std::max(longest, boot_now() - before);
  }
  k->desk.finish(pid);
  EXPECT_TRUE(await([&] { return k->desk.received() == kBytes; }, within(20'000)))
      << k->desk.received();
  fmt::print("{} packets lost and sent again, longest swap {} us\n", k->count(WEIR_COUNT_SWAPPED),
             longest / 1000);
}

TEST_F(Swap, a_question_that_no_row_counts_for_leaves_meanwhile) {
  k->load({named(limit_row(kRoomy, 0, WEIR_PER_PERSON), 1)});
  put({named(limit_row(kRoomy, 0, WEIR_PER_PERSON), 1)});  // kOther4 is free
  weir_state midway = k->part->state();
  midway.swapping = 1;
  ASSERT_TRUE(k->part->overwrite_state(midway));
  const auto sent_to = [&](const char* address, int port) {
    const std::uint64_t before = k->desk.received(port);
    k->desk.finish(k->desk.start({"--udp", "--to", address, "--port", std::to_string(port),
                                  "--size", "60", "--bytes", "600", "--ms", "500"}));
    await([&] { return k->desk.received(port) >= before + 600; }, within(300));
    return k->desk.received(port) - before;
  };
  EXPECT_EQ(sent_to(kOther4, 53), 600u);
  EXPECT_EQ(sent_to(kPeer4, 53), 0u) << "a resolver that is charged";
  EXPECT_EQ(sent_to(kOther4, k->desk.port()), 0u) << "no question";
  EXPECT_EQ(k->charged(0), 0u);
}

TEST_F(Swap, twenty_times_under_questions_to_a_free_resolver_loses_none) {
  weir_limit roomy = named(limit_row(kRoomy, 0, WEIR_PER_HOST), 2);
  weir_limit small = named(limit_row(1000, 0, WEIR_PER_PERSON), 1);
  k->load({small, roomy});
  put({small, roomy});
  const std::uint64_t before = k->desk.datagrams(53);
  pid_t pid = k->desk.start({"--shape", "ping", "--udp", "--to", kOther4, "--port", "53", "--size",
                             "60", "--count", "50", "--ms", "20000"});
  for (int n = 0; n < kSwaps; ++n) {
    usleep(20'000);
    if (n % 2 == 0)
      put({roomy, small});
    else
      put({small, roomy});
  }
  k->desk.finish(pid);
  EXPECT_EQ(k->desk.datagrams(53) - before, 50u);
  EXPECT_EQ(k->count(WEIR_COUNT_SWAPPED), 0u);
}

TEST_F(Swap, a_swap_that_was_cut_off_lets_nothing_leave_until_the_next_one) {
  KernelOptions options;
  options.pin_dir = k->desk.pin_dir();
  k->load({named(limit_row(kRoomy, 0, WEIR_PER_PERSON), 1)}, options);
  weir_state cut = k->part->state();
  cut.swapping = 1;
  ASSERT_TRUE(k->part->overwrite_state(cut));
  k->desk.finish(k->desk.start(udp({"--ms", "300"})));
  EXPECT_EQ(k->desk.settled(milliseconds(200), milliseconds(1000)), 0u);
  put({named(limit_row(kRoomy, 0, WEIR_PER_PERSON), 1)});
  k->desk.finish(k->desk.start(udp({"--ms", "300"})));
  EXPECT_GT(k->desk.settled(milliseconds(200), milliseconds(1000)), 0u);
  k->events.reset();
  k->part.reset();
  EXPECT_TRUE(KernelPart::release(k->desk.pin_dir()));
}

}  // namespace
}  // namespace weir::test
