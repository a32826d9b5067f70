// How many handshakes are begun: of one address, of all, and what is given back.
#include "platform/doorman/handshakes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir {
namespace {

int taken(Handshakes& handshakes, const std::string& address, std::int64_t now_ms, int tries) {
  int count = 0;
  for (int n = 0; n < tries; ++n) count += handshakes.take(address, now_ms) ? 1 : 0;
  return count;
}

TEST(handshakes, an_address_gets_so_many_at_once_and_then_so_many_a_second) {
  Handshakes handshakes({100, 50}, {10, 5});
  EXPECT_EQ(taken(handshakes, "a", 1'000, 50), 10);
  EXPECT_EQ(taken(handshakes, "a", 2'000, 50), 5);
  EXPECT_EQ(taken(handshakes, "b", 2'000, 50), 10) << "another one has its own";
  EXPECT_EQ(taken(handshakes, "a", 1'000'000, 50), 10) << "never more at once";
}

TEST(handshakes, all_together_get_so_many_whatever_they_are) {
  Handshakes handshakes({20, 5}, {10, 5});
  int count = 0;
  for (int n = 0; n < 50; ++n) count += taken(handshakes, fmt::format("{}", n), 1'000, 50);
  EXPECT_EQ(count, 20);
  EXPECT_FALSE(handshakes.any(1'000));
  EXPECT_TRUE(handshakes.any(1'200));
}

TEST(handshakes, what_ended_well_is_given_back_so_a_fleet_never_waits) {
  Handshakes handshakes({20, 0}, {10, 0});
  for (int n = 0; n < 2'000; ++n) {
    ASSERT_TRUE(handshakes.take("office", 1'000)) << n;
    handshakes.give_back("office", 1'000);
  }
  for (int n = 0; n < 50; ++n) handshakes.give_back("office", 1'000);
  EXPECT_EQ(taken(handshakes, "office", 1'000, 50), 10) << "never more than at first";
}

TEST(handshakes, addresses_without_end_make_no_rows_without_end) {
  Handshakes handshakes({1e9, 0}, {10, 5});
  for (std::size_t n = 0; n < Handshakes::kMaxRows + 100; ++n)
    ASSERT_TRUE(handshakes.take(fmt::format("{}", n), 1'000));
  EXPECT_EQ(handshakes.rows(), Handshakes::kMaxRows);
  handshakes.sweep(1'100);
  EXPECT_EQ(handshakes.rows(), Handshakes::kMaxRows) << "not whole again";
  handshakes.sweep(2'000);
  EXPECT_EQ(handshakes.rows(), 0u);
}

TEST(handshakes, a_clock_that_stands_or_goes_back_gives_nothing) {
  Handshakes handshakes({100, 50}, {1, 5});
  EXPECT_TRUE(handshakes.take("a", 5'000));
  EXPECT_FALSE(handshakes.take("a", 4'000));
  EXPECT_FALSE(handshakes.take("a", 4'100));
}

}  // namespace
}  // namespace weir
