// Which sockets are destroyed, and when.
#include "agent/guard/due_sockets.h"

#include <gtest/gtest.h>

#include <memory>

namespace weir {
namespace {

constexpr std::uint64_t kNow = 1'000'000'000;

weir_refused tcp_refusal(std::uint64_t cookie) {
  weir_refused record{};
  record.record.cookie = cookie;
  record.tuple.protocol = 6;
  record.settled = 1;
  return record;
}

TEST(due_sockets, a_refused_tcp_socket_is_due_after_200_ms_and_once) {
  auto due = std::make_unique<DueSockets>();
  due->refused(tcp_refusal(1), kNow);
  due->refused(tcp_refusal(1), kNow + 50'000'000);
  EXPECT_FALSE(due->take_due(kNow + 199'999'999));
  EXPECT_EQ(due->next_due_ns(), kNow + 200'000'000);
  ASSERT_TRUE(due->take_due(kNow + 200'000'000));
  EXPECT_FALSE(due->take_due(kNow + 9'000'000'000));
  EXPECT_FALSE(due->next_due_ns());
}

TEST(due_sockets, an_unsettled_flow_and_a_datagram_are_left_alone) {
  auto due = std::make_unique<DueSockets>();
  weir_refused unsettled = tcp_refusal(1);
  unsettled.settled = 0;
  weir_refused datagram = tcp_refusal(2);
  datagram.tuple.protocol = 17;
  due->refused(unsettled, kNow);
  due->refused(datagram, kNow);
  EXPECT_FALSE(due->take_due(kNow + 1'000'000'000));
}

TEST(due_sockets, a_full_table_counts_what_it_drops_and_goes_on) {
  auto due = std::make_unique<DueSockets>();
  for (std::uint64_t cookie = 1; cookie <= DueSockets::kMax + 5; ++cookie)
    due->refused(tcp_refusal(cookie), kNow);
  EXPECT_EQ(due->dropped(), 5u);
  std::size_t taken = 0;
  while (due->take_due(kNow + DueSockets::kDelayNs)) ++taken;
  EXPECT_EQ(taken, DueSockets::kMax);
  due->refused(tcp_refusal(99), kNow);
  EXPECT_TRUE(due->next_due_ns());
}

}  // namespace
}  // namespace weir
