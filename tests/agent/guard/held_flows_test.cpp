// Which held flows end when, and how many of one person may wait.
#include "agent/guard/held_flows.h"

#include <gtest/gtest.h>

#include <set>

#include "agent/guard/hold_answer.h"

namespace weir {
namespace {

HeldFlow flow(std::uint64_t cookie, std::uint32_t person, std::uint64_t until,
              std::uint64_t tree = 7) {
  HeldFlow one;
  one.cookie = cookie;
  one.person = person;
  one.until_ns = until;
  one.tree = tree;
  one.destination = 4711;
  one.account = 3;
  return one;
}

TEST(held_flows, the_257th_of_a_person_may_not_wait_and_another_person_may) {
  HeldFlows flows;
  for (std::uint64_t n = 1; n <= 256; ++n)
    ASSERT_EQ(flows.add(flow(n, 1000, n)), HeldFlows::Taken::yes);
  EXPECT_EQ(flows.add(flow(9, 1000, 9)), HeldFlows::Taken::known);
  EXPECT_EQ(flows.add(flow(300, 1000, 1)), HeldFlows::Taken::too_many);
  EXPECT_EQ(flows.add(flow(300, 1001, 1)), HeldFlows::Taken::yes);
  EXPECT_TRUE(flows.remove(9));
  EXPECT_FALSE(flows.remove(9));
  EXPECT_EQ(flows.add(flow(301, 1000, 1)), HeldFlows::Taken::yes);
}

TEST(held_flows, a_full_table_takes_nobody) {
  HeldFlows flows;
  for (std::uint64_t n = 0; n < HeldFlows::kMax; ++n)
    ASSERT_EQ(flows.add(flow(n + 1, static_cast<std::uint32_t>(n / 200), 1)),
              HeldFlows::Taken::yes);
  EXPECT_EQ(flows.add(flow(1 << 20, 99'999, 1)), HeldFlows::Taken::too_many);
}

TEST(held_flows, end_in_the_order_of_their_times_whatever_the_order_they_came_in) {
  HeldFlows flows;
  flows.add(flow(1, 1000, 300));
  flows.add(flow(2, 1000, 100));
  flows.add(flow(3, 1000, 200));
  EXPECT_EQ(flows.next_due_ns(), 100u);
  EXPECT_FALSE(flows.take_due(99));
  EXPECT_EQ(flows.take_due(250)->cookie, 2u);
  EXPECT_EQ(flows.take_due(250)->cookie, 3u);
  EXPECT_FALSE(flows.take_due(250));
  EXPECT_EQ(flows.next_due_ns(), 300u);
}

TEST(held_flows, an_answer_is_for_all_flows_of_a_tree_to_a_place_and_no_other) {
  HeldFlows flows;
  flows.add(flow(1, 1000, 1));
  flows.add(flow(2, 1000, 1));
  flows.add(flow(3, 1000, 1, 8));
  const HeldPlace place{3, 7, 4711};
  ASSERT_NE(flows.find(place), nullptr);
  EXPECT_EQ(flows.take_at(place)->cookie, 1u);
  EXPECT_EQ(flows.take_at(place)->cookie, 2u);
  EXPECT_FALSE(flows.take_at(place)) << "answered: a second answer finds nothing";
  EXPECT_EQ(flows.find(place), nullptr);
  EXPECT_EQ(flows.find({4, 8, 4711}), nullptr);
  EXPECT_NE(flows.find({3, 8, 4711}), nullptr);
}

TEST(held_flows, ids_differ_by_row_tree_and_place) {
  std::set<std::string> ids;
  for (std::uint32_t row : {1u, 2u})
    for (std::uint64_t tree : {1u, 2u})
      for (std::uint64_t place : {1u, 2u}) ids.insert(hold_id({row, tree, place}));
  EXPECT_EQ(ids.size(), 8u);
  for (const std::string& id : ids) EXPECT_EQ(id.size(), 8u);
}

}  // namespace
}  // namespace weir
