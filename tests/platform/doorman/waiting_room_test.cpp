// Who waits, whose turn it is, and who goes when the room is full.
#include "platform/doorman/waiting_room.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir {
namespace {

Waiting one(int fd, std::int64_t since_ms = 0) {
  return {fd, "", since_ms};
}

std::vector<int> round_of(WaitingRoom& room, std::size_t most) {
  std::vector<int> in;
  room.once_around([&](const std::string&, Waiting& first) {
    if (in.size() == most) return false;
    in.push_back(first.fd);
    return true;
  });
  return in;
}

TEST(waiting_room, addresses_take_turns_and_go_on_where_the_last_one_was) {
  WaitingRoom room(100, 100);
  for (int n = 0; n < 5; ++n) room.add("a", one(10 + n));
  room.add("b", one(20));
  room.add("c", one(30));
  EXPECT_EQ(round_of(room, 2), (std::vector<int>{10, 20}));
  EXPECT_EQ(round_of(room, 2), (std::vector<int>{30, 11}));
  EXPECT_EQ(round_of(room, 9), (std::vector<int>{12}));
  EXPECT_EQ(room.size(), 2u);
}

TEST(waiting_room, an_address_that_fills_the_room_makes_place_for_others) {
  WaitingRoom room(10, 10);
  for (int n = 0; n < 10; ++n) EXPECT_FALSE(room.add("flood", one(n)));
  EXPECT_EQ(room.add("flood", one(10)), 10) << "for itself it makes none";
  EXPECT_EQ(room.add("desk", one(20)), 9) << "its newest goes";
  EXPECT_EQ(room.size(), 10u);
  for (int n = 1; n < 5; ++n) EXPECT_TRUE(room.add("desk", one(20 + n)).has_value());
  EXPECT_EQ(room.add("desk", one(29)), 29) << "both have the same now";
}

TEST(waiting_room, a_full_room_of_single_ones_takes_nobody_else) {
  WaitingRoom room(10, 10);
  for (int n = 0; n < 10; ++n) EXPECT_FALSE(room.add(fmt::format("{}", n), one(n)));
  EXPECT_EQ(room.add("late", one(99)), 99);
}

TEST(waiting_room, of_one_address_so_many_may_wait) {
  WaitingRoom room(100, 3);
  for (int n = 0; n < 3; ++n) EXPECT_FALSE(room.add("a", one(n)));
  EXPECT_EQ(room.add("a", one(3)), 3);
  EXPECT_FALSE(room.add("b", one(4)));
}

TEST(waiting_room, who_has_waited_too_long_goes) {
  WaitingRoom room(100, 100);
  for (int n = 0; n < 6; ++n) room.add(n % 2 == 0 ? "a" : "b", one(n, n));
  EXPECT_EQ(room.since_before(3), (std::vector<int>{0, 2, 1}));
  EXPECT_EQ(room.size(), 3u);
  EXPECT_EQ(room.all().size(), 3u);
  EXPECT_EQ(room.size(), 0u);
}

}  // namespace
}  // namespace weir
