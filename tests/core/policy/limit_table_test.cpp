// Rows for the kernel part, and the promise behind windows: none passes more than the number.
#include "core/policy/limit_table.h"

#include <deque>
#include <random>

#include "core/policy/units.h"
#include "platform/linux/bpf/weir_abi.h"
#include "tests/core/policy/sample.h"

namespace weir {
namespace {

TEST(limit_table, speaks_the_numbers_of_the_kernel_part) {
  EXPECT_EQ(static_cast<int>(RowPer::none), WEIR_PER_NONE);
  EXPECT_EQ(static_cast<int>(RowPer::process_tree), WEIR_PER_TREE);
  EXPECT_EQ(static_cast<int>(RowPer::person), WEIR_PER_PERSON);
  EXPECT_EQ(static_cast<int>(RowPer::host), WEIR_PER_HOST);
  EXPECT_EQ(static_cast<int>(RowPer::person_destination), WEIR_PER_PERSON_DEST);
  EXPECT_EQ(static_cast<int>(RowPer::process_tree_destination), WEIR_PER_TREE_DEST);
  EXPECT_EQ(static_cast<int>(RowPer::host_destination), WEIR_PER_HOST_DEST);
  EXPECT_EQ(static_cast<int>(RowPer::flow), WEIR_PER_FLOW);
  EXPECT_EQ(kRowObserve, WEIR_LIMIT_OBSERVE);
  EXPECT_EQ(kRowFixed, WEIR_LIMIT_FIXED);
  EXPECT_EQ(static_cast<unsigned>(kMaxCharges), WEIR_CHARGES);
  EXPECT_EQ(kMaxLimits, WEIR_POLICY_LIMITS);
}

TEST(limit_table, has_a_row_for_each_limit_in_bytes) {
  Policy p = must_parse(with_rules(R"(
  - {id: a, then: {limit: [{bytes: 1MiB, per: host}, {customers: 5, per: person}]}}
  - {id: b, when: {label: code, trust: unknown}, then: {limit: {bytes: 1MiB, window: 1h, per: destination}}}
)"));
  auto table = limit_table(p);
  EXPECT_EQ(table[0].bytes, 1048576u);
  EXPECT_EQ(table[0].ns_per_byte_q4, 0u);
  EXPECT_EQ(table[0].per, RowPer::host);
  EXPECT_EQ(table[0].flags, kRowFixed) << "always applies";
  EXPECT_EQ(table[1].per, RowPer::none) << "customers are not the kernel's";
  EXPECT_EQ(table[2].bytes, 524288u);
  EXPECT_EQ(table[2].per, RowPer::person_destination);
  EXPECT_EQ(table[2].labels, 0b10u);
  EXPECT_EQ(table[2].flags, 0u);
  EXPECT_EQ(table[3].per, RowPer::none);
  p.mode = Mode::observe;
  table = limit_table(p);
  EXPECT_EQ(table[0].flags, kRowObserve | kRowFixed);
  EXPECT_EQ(table[2].flags, kRowObserve);
}

// Sends by a random schedule and keeps what passed; after each packet, the sum over the window that
// ends there. A window [t, t + W) that passes the most ends just after a packet.
void no_window_exceeds(std::uint64_t bytes, std::int64_t window_ns, std::uint32_t seed) {
  Limit limit;
  limit.bytes = bytes;
  limit.window_ns = window_ns;
  limit.per = Per::host;
  const LimitRow row = limit_row(limit, Mode::enforce);
  std::mt19937_64 random(seed);
  const auto window = static_cast<std::uint64_t>(window_ns);
  std::uint64_t now = 1 + random() % window, word = 0, inside = 0, passed = 0;
  std::deque<std::pair<std::uint64_t, std::uint64_t>> sent;
  for (int i = 0; i < 4000; ++i) {
    switch (random() % 4) {  // floods, trickles, and pauses that refill
      case 0:
        break;
      case 1:
        now += random() % (window / 1000 + 1);
        break;
      case 2:
        now += random() % (window / 100 + 1);
        break;
      case 3:
        now += random() % 50 == 0 ? window + random() % window : 1;
        break;
    }
    const std::uint64_t size = random() % 8 == 0 ? 1 + random() % 65536 : 1 + random() % 1500;
    if (!charge_window(row, now, size, word)) continue;
    sent.emplace_back(now, size);
    inside += size;
    passed += size;
    while (sent.front().first + window <= now) {
      inside -= sent.front().second;
      sent.pop_front();
    }
    ASSERT_LE(inside, bytes) << "window " << window << " seed " << seed;
  }
  EXPECT_GT(passed, bytes / 4) << "the schedule must reach the limit";
}

TEST(limit_table, no_window_passes_more_than_its_number) {
  for (std::uint64_t bytes : {4096ull, 4097ull, 16384ull, 65536ull, 131073ull, 4194304ull})
    for (std::int64_t window : {kHour_ns, 24 * kHour_ns, 7 * 24 * kHour_ns})
      for (std::uint32_t seed = 1; seed <= 8; ++seed) no_window_exceeds(bytes, window, seed);
}

TEST(limit_table, a_steady_sender_gets_nearly_the_whole_number_in_a_window) {
  Limit limit;
  limit.bytes = 1048576;
  limit.window_ns = kHour_ns;
  limit.per = Per::host;
  const LimitRow row = limit_row(limit, Mode::enforce);
  std::uint64_t word = 0, passed = 0;
  const auto start = static_cast<std::uint64_t>(kHour_ns);
  for (std::uint64_t at = 0; at < static_cast<std::uint64_t>(kHour_ns); at += 10'000'000)
    if (charge_window(row, start + at, 1000, word)) passed += 1000;
  EXPECT_LE(passed, 1048576u);
  EXPECT_GE(passed, 1048576u - 4096u);
}

TEST(limit_table, a_charge_that_could_overflow_is_refused) {
  Limit limit;
  limit.bytes = 4096;
  limit.window_ns = 7 * 24 * kHour_ns;
  limit.per = Per::host;
  const LimitRow row = limit_row(limit, Mode::enforce);
  std::uint64_t word = 0;
  EXPECT_FALSE(charge_window(row, 1, ~std::uint64_t{0}, word));
  EXPECT_FALSE(charge_window(row, 1, 2049, word));
  EXPECT_TRUE(charge_window(row, 1, 2048, word));
}

}  // namespace
}  // namespace weir
