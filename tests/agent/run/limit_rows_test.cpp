// The rows that reach the kernel are those of core/policy/limit_table.h, whose windows are shown
// there to pass no more than their number.
#include <gtest/gtest.h>

#include "agent/guard/flat_policy.h"
#include "agent/run/flatten.h"
#include "core/policy/limit_table.h"
#include "core/policy/units.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

TEST(limit_rows, of_a_flat_policy_are_those_of_the_compiler) {
  Policy policy;
  policy.mode = Mode::enforce;
  for (Per per : {Per::process_tree, Per::person, Per::host, Per::destination,
                  Per::process_tree_destination, Per::host_destination, Per::flow})
    for (std::int64_t window : {std::int64_t{0}, kHour_ns, 24 * kHour_ns, 7 * 24 * kHour_ns}) {
      Limit limit;
      limit.bytes = 4096 + 1001 * policy.limits.size();  // odd and even
      limit.window_ns = per == Per::flow ? 0 : window;
      limit.per = per;
      limit.labels = static_cast<std::uint32_t>(policy.limits.size() % 3);
      limit.liftable = policy.limits.size() % 2 == 0;
      policy.limits.push_back(limit);
    }
  for (Mode mode : {Mode::enforce, Mode::observe}) {
    policy.mode = mode;
    const std::vector<std::uint8_t> bytes = flatten(policy, {});
    const auto flat = read_flat_policy(bytes);
    ASSERT_TRUE(flat) << flat.error().sentence;
    const auto table = limit_table(policy);
    for (std::size_t i = 0; i < policy.limits.size(); ++i) {
      const weir_limit& row = flat->header->table[i];
      // Per destination the row is two parts (docs/decisions/0016), which together are the number.
      const bool of_flow = policy.limits[i].per == Per::flow;
      EXPECT_EQ(of_flow ? row.flow_bytes : row.bytes + row.unnamed_bytes, table[i].bytes) << i;
      EXPECT_EQ(row.unnamed_bytes != 0, has_unnamed_part(row.per)) << i;
      if (of_flow) {
        // What leaves without a socket: no 24 hours pass more than the number either.
        EXPECT_EQ(row.bytes, table[i].bytes / 2) << i;
        EXPECT_GE(row.ns_per_byte_q4 * row.bytes, 16u * 24 * kHour_ns) << i;
      } else if (row.unnamed_bytes == 0) {
        EXPECT_EQ(row.ns_per_byte_q4, table[i].ns_per_byte_q4) << i;
      } else if (table[i].ns_per_byte_q4 != 0) {
        const double parts = 1 / static_cast<double>(row.ns_per_byte_q4) +
                             1 / static_cast<double>(row.unnamed_ns_per_byte_q4);
        EXPECT_NEAR(parts * static_cast<double>(table[i].ns_per_byte_q4), 1, 1e-6) << i;
      }
      EXPECT_EQ(row.per, static_cast<std::uint32_t>(table[i].per)) << i;
      EXPECT_EQ(row.labels, table[i].labels) << i;
      EXPECT_EQ(row.flags, table[i].flags) << i;
    }
  }
}

}  // namespace
}  // namespace weir
