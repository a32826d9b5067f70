// Orders to a host, as weirctl signs them.
#include "collector/ctl/order.h"

#include <gtest/gtest.h>

#include "collector/ctl/sign.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

TEST(Order, holds_from_as_long_ago_as_a_policy_and_ends_with_its_lifetime) {
  const v1::CommandBody body =
      order_to({.host = "h", .principal = "ops", .reason = "why", .lifetime_s = 60},
               v1::CommandBody::undo, 1'000'000);
  EXPECT_EQ(body.not_before_wall_s(), 1'000'000 - kBackdated_s);
  EXPECT_EQ(body.expires_wall_s(), 1'000'060);
  EXPECT_EQ(body.host_id(), "h");
  EXPECT_EQ(body.reason().args(0), "ops");
  EXPECT_EQ(body.reason().args(1), "why");
}

}  // namespace
}  // namespace weir
