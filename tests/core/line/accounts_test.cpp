// Simulated accounts: all or none, totals, windows that refill, and their keys.
#include "core/line/accounts.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

constexpr std::int64_t kHour = 3'600'000'000'000;

Policy with(std::vector<Limit> limits) {
  Policy policy;
  policy.limits = std::move(limits);
  return policy;
}

Limit limit(std::uint64_t bytes, std::int64_t window_ns, Per per) {
  Limit out;
  out.bytes = bytes;
  out.window_ns = window_ns;
  out.per = per;
  return out;
}

// Charges packets of 100 bytes until one is refused; what was let through.
std::uint64_t fill(Accounts& accounts, const Policy& policy, Charge charge, std::int64_t now) {
  charge.bytes = 100;
  std::uint64_t passed = 0;
  while (passed < 10'000'000 && !accounts.charge(policy, charge, now)) passed += charge.bytes;
  return passed;
}

TEST(accounts, total_passes_all_of_it_at_once_and_nothing_later) {
  Accounts accounts;
  const Policy policy = with({limit(1000, 0, Per::person)});
  const Charge charge{1, 2, 3, 1, 0};
  EXPECT_EQ(fill(accounts, policy, charge, 0), 1000u);
  EXPECT_EQ(fill(accounts, policy, charge, 1000 * kHour), 0u);
}

TEST(accounts, window_passes_half_as_burst_and_never_more_than_its_number) {
  Accounts accounts;
  const Policy policy = with({limit(20'000, kHour, Per::host)});
  const Charge charge{1, 2, 3, 1, 0};
  std::uint64_t passed = fill(accounts, policy, charge, 0);
  EXPECT_EQ(passed, 10'000u);
  for (std::int64_t now = 0; now < kHour; now += kHour / 100)
    passed += fill(accounts, policy, charge, now);
  EXPECT_LE(passed, 20'000u);
  EXPECT_GE(passed, 19'000u);
  EXPECT_EQ(fill(accounts, policy, charge, 3 * kHour), 10'000u);  // full again, not more
}

TEST(accounts, a_row_per_flow_counts_each_flow_and_takes_no_account) {
  Accounts accounts;
  const Policy policy = with({limit(1000, 0, Per::flow), limit(2500, 0, Per::person)});
  std::uint64_t first = 0, second = 0, third = 0;
  EXPECT_EQ(fill(accounts, policy, {1, 9, 0, 3, 0, &first}, 0), 1000u);
  EXPECT_EQ(fill(accounts, policy, {1, 9, 0, 3, 0, &second}, 0), 1000u);
  EXPECT_EQ(fill(accounts, policy, {1, 9, 0, 3, 0, &third}, 0), 500u) << "the person's";
  EXPECT_EQ(third, 500u) << "both are charged or none";
  EXPECT_EQ(fill(accounts, policy, {1, 9, 0, 1, 0, &third}, 0), 500u);
  for (std::size_t n = 0; n < 2 * kMaxAccounts; ++n) {
    std::uint64_t flow = 0;
    ASSERT_FALSE(accounts.charge(policy, {n, n, n, 1, 100, &flow}, 0));
  }
  EXPECT_EQ(accounts.dropped(), 0u);
}

TEST(accounts, charge_that_one_account_refuses_is_charged_to_none) {
  Accounts accounts;
  const Policy policy = with({limit(1000, 0, Per::person), limit(300, 0, Per::process_tree)});
  EXPECT_EQ(fill(accounts, policy, {1, 9, 0, 3, 0}, 0), 300u);
  EXPECT_EQ(fill(accounts, policy, {2, 9, 0, 3, 0}, 0), 300u);  // another tree of that person
  EXPECT_EQ(fill(accounts, policy, {3, 9, 0, 1, 0}, 0), 400u);  // what the person has left
}

TEST(accounts, refusal_names_row_destination_and_what_was_spent) {
  Accounts accounts;
  const Policy policy = with({limit(5000, 0, Per::person), limit(200, 0, Per::destination)});
  EXPECT_EQ(fill(accounts, policy, {1, 9, 77, 3, 0}, 0), 200u);
  const auto refusal = accounts.charge(policy, {1, 9, 77, 3, 100}, 0);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->limit, 1u);
  EXPECT_EQ(refusal->destination, 77u);
  EXPECT_EQ(refusal->spent, 200u);
  EXPECT_EQ(fill(accounts, policy, {1, 9, 78, 3, 0}, 0), 200u);  // another destination
}

TEST(accounts, limit_of_nothing_refuses_the_first_byte) {
  Accounts accounts;
  const Policy policy = with({limit(0, 0, Per::host), limit(0, kHour, Per::host)});
  EXPECT_TRUE(accounts.charge(policy, {1, 1, 1, 1, 1}, 0));
  EXPECT_TRUE(accounts.charge(policy, {1, 1, 1, 2, 1}, 0));
}

TEST(accounts, limit_of_customers_alone_charges_no_bytes) {
  Accounts accounts;
  Limit customers;
  customers.customers = 5;
  customers.per = Per::person;
  EXPECT_FALSE(accounts.charge(with({customers}), {1, 1, 1, 1, 1'000'000}, 0));
}

}  // namespace
}  // namespace weir
