// The flat policy: what the policy child writes is what the guard reads, and nothing else is taken.
#include "agent/guard/flat_policy.h"

#include <gtest/gtest.h>

#include <cstring>

namespace weir {
namespace {

FlatHeader two_rows() {
  FlatHeader header;
  header.limits = 2;
  header.enforce = 1;
  header.no_hold_rows = 0b11;
  header.state.unclassified = 0b11;
  header.state.first_flight = 16384;
  header.table[0] = {.bytes = 65536,
                     .ns_per_byte_q4 = 0,
                     .unnamed_bytes = 0,
                     .unnamed_ns_per_byte_q4 = 0,
                     .flow_bytes = 0,
                     .name = 0,
                     .per = WEIR_PER_PERSON,
                     .labels = 0,
                     .flags = 0,
                     .account = 0};
  header.table[1] = {.bytes = 1048576,
                     .ns_per_byte_q4 = 0,
                     .unnamed_bytes = 0,
                     .unnamed_ns_per_byte_q4 = 0,
                     .flow_bytes = 0,
                     .name = 0,
                     .per = WEIR_PER_HOST,
                     .labels = 0,
                     .flags = WEIR_LIMIT_FIXED,
                     .account = 0};
  return header;
}

FlatPrefix ten_slash_eight(std::uint64_t limits) {
  FlatPrefix prefix;
  prefix.key.length = 104;
  prefix.key.address[10] = prefix.key.address[11] = 0xff;
  prefix.key.address[12] = 10;
  prefix.value.limits = limits;
  return prefix;
}

TEST(flat_policy, what_was_written_is_read) {
  FlatPrefix prefix = ten_slash_eight(0b10);
  std::vector<std::uint8_t> bytes = write_flat_policy(two_rows(), {&prefix, 1});
  Result<FlatPolicy> policy = read_flat_policy(bytes);
  ASSERT_TRUE(policy) << policy.error().sentence;
  EXPECT_EQ(policy->rows(), 0b11u);
  EXPECT_EQ(policy->fixed_rows(), 0b10u);
  ASSERT_EQ(policy->prefixes.size(), 1u);
  EXPECT_EQ(policy->prefixes[0].value.limits, 0b10u);
}

TEST(flat_policy, every_other_length_is_refused) {
  FlatPrefix prefix = ten_slash_eight(0);
  std::vector<std::uint8_t> bytes = write_flat_policy(two_rows(), {&prefix, 1});
  for (std::size_t length :
       {std::size_t{0}, std::size_t{8}, sizeof(FlatHeader), bytes.size() - 1}) {
    std::vector<std::uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<long>(length));
    EXPECT_FALSE(read_flat_policy(cut)) << length;
  }
  bytes.push_back(0);
  EXPECT_FALSE(read_flat_policy(bytes));
}

TEST(flat_policy, a_row_beyond_the_table_is_refused_wherever_it_is_named) {
  FlatHeader header = two_rows();
  header.state.unclassified = 0b100;
  EXPECT_FALSE(read_flat_policy(write_flat_policy(header, {})));
  FlatPrefix prefix = ten_slash_eight(0b100);
  EXPECT_FALSE(read_flat_policy(write_flat_policy(two_rows(), {&prefix, 1})));
  header = two_rows();
  header.table[5].per = WEIR_PER_HOST;
  EXPECT_FALSE(read_flat_policy(write_flat_policy(header, {})));
}

TEST(flat_policy, the_number_of_a_flow_stands_in_rows_per_flow_alone) {
  FlatHeader header = two_rows();
  header.table[0].flow_bytes = 1;
  EXPECT_FALSE(read_flat_policy(write_flat_policy(header, {})));
  header.table[0].per = WEIR_PER_FLOW;
  EXPECT_TRUE(read_flat_policy(write_flat_policy(header, {})));
  header.table[0].per = WEIR_PER_FLOW + 1;
  EXPECT_FALSE(read_flat_policy(write_flat_policy(header, {})));
}

TEST(flat_policy, observe_can_not_carry_a_row_that_refuses) {
  FlatHeader header = two_rows();
  header.enforce = 0;
  EXPECT_FALSE(read_flat_policy(write_flat_policy(header, {})));
  header.table[0].flags |= WEIR_LIMIT_OBSERVE;
  header.table[1].flags |= WEIR_LIMIT_OBSERVE;
  EXPECT_TRUE(read_flat_policy(write_flat_policy(header, {})));
  header.state.charged_only = 1;
  EXPECT_FALSE(read_flat_policy(write_flat_policy(header, {}))) << "nor refuse sockets";
  header = two_rows();
  header.state.charged_only = 1;
  EXPECT_TRUE(read_flat_policy(write_flat_policy(header, {})));
}

TEST(flat_policy, a_verdict_lifts_liftable_rows_and_never_a_fixed_one) {
  std::vector<std::uint8_t> bytes = write_flat_policy(two_rows(), {});
  Result<FlatPolicy> policy = read_flat_policy(bytes);
  ASSERT_TRUE(policy);
  EXPECT_EQ(allowed_limits(*policy, 0), 0b10u);
  EXPECT_EQ(allowed_limits(*policy, 0b01), 0b11u);
  EXPECT_EQ(allowed_limits(*policy, ~0ull), 0b11u);
}

}  // namespace
}  // namespace weir
