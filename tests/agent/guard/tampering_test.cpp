// Removals that wait to be told: each once, a flood by its number, none lost without a count.
#include "agent/guard/tampering.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000, kStart = 1000 * kSecond;

wire::HookRemoved removal(std::uint32_t number) {
  wire::HookRemoved one;
  one.count = number;
  return one;
}

TEST(tampering, each_removal_is_told_once_and_in_order) {
  Tampering tampering;
  EXPECT_FALSE(tampering.next(kStart));
  tampering.found(removal(1), kStart);
  tampering.found(removal(2), kStart);
  EXPECT_EQ(tampering.next(kStart)->count, 1u);
  EXPECT_EQ(tampering.next(kStart)->count, 1u) << "it was not heard";
  tampering.told();
  EXPECT_EQ(tampering.next(kStart)->count, 2u);
  tampering.told();
  EXPECT_FALSE(tampering.next(kStart));
}

TEST(tampering, a_flood_is_told_by_its_number_when_the_minute_is_over) {
  Tampering tampering;
  for (std::uint32_t n = 0; n < Tampering::kMaxAMinute + 100; ++n)
    tampering.found(removal(1), kStart + n);
  std::uint32_t told = 0;
  for (; tampering.next(kStart + kSecond); tampering.told()) ++told;
  EXPECT_EQ(told, Tampering::kMaxAMinute);
  const auto rest = tampering.next(kStart + 60 * kSecond);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->what, wire::kMoreRemoved);
  EXPECT_EQ(rest->count, 100u);
  tampering.told();
  EXPECT_FALSE(tampering.next(kStart + 600 * kSecond));
  EXPECT_EQ(tampering.seen(), Tampering::kMaxAMinute + 100u);
}

TEST(tampering, while_nobody_hears_it_as_many_are_kept_as_have_room) {
  Tampering tampering;
  for (std::uint32_t n = 0; n < 10; ++n)
    for (std::uint32_t m = 0; m < Tampering::kMaxAMinute; ++m)
      tampering.found(removal(1), kStart + n * 60 * kSecond);
  std::uint32_t told = 0, more = 0;
  for (; auto next = tampering.next(kStart + 3600 * kSecond); tampering.told())
    ++(next->what == wire::kMoreRemoved ? more : told);
  EXPECT_EQ(told, Tampering::kMaxWaiting);
  EXPECT_EQ(more, 1u);
}

}  // namespace
}  // namespace weir
