// What the connections of the console's door hold together, and how many calls run at once.
#include <gtest/gtest.h>

#include <vector>

#include "collector/api/holdings.h"
#include "collector/api/turns.h"

namespace weir {
namespace {

TEST(holdings, who_holds_the_most_goes_first_and_of_equals_the_oldest) {
  Holdings holdings;
  constexpr std::size_t kQuarter = Holdings::kMost / 4;
  holdings.set(1, kQuarter);
  holdings.set(2, kQuarter + 1);
  holdings.set(3, kQuarter + 1);
  EXPECT_FALSE(holdings.too_much());
  holdings.set(4, kQuarter);
  EXPECT_EQ(holdings.too_much(), 2u);
  holdings.set(2, 0);
  EXPECT_FALSE(holdings.too_much());
  holdings.set(3, 5);
  EXPECT_EQ(holdings.sum(), 2 * kQuarter + 5);
  for (std::uint64_t who : {1u, 3u, 4u}) holdings.set(who, 0);
  EXPECT_EQ(holdings.sum(), 0u);
}

TEST(turns, so_many_calls_of_a_method_run_at_once_and_the_others_in_their_order) {
  Turns turns;
  std::vector<int> ran;
  for (int n = 0; n < static_cast<int>(Turns::kAtOnce) + 3; ++n)
    turns.begin("list", [&ran, n] { ran.push_back(n); });
  EXPECT_EQ(ran.size(), Turns::kAtOnce);
  turns.begin("other", [&ran] { ran.push_back(-1); });
  EXPECT_EQ(ran.back(), -1) << "another method has its own";
  turns.end("list");
  turns.end("list");
  EXPECT_EQ(ran.back(), static_cast<int>(Turns::kAtOnce) + 1);
  turns.forget();
  EXPECT_EQ(ran.size(), Turns::kAtOnce + 3);
}

}  // namespace
}  // namespace weir
