// Tokens, hosts, policies: each decision is one transaction.
#include <thread>

#include "tests/collector/store/store_fixture.h"

namespace weir {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;

class FleetStoreTest : public StoreTest {
 protected:
  void SetUp() override {
    open();
    ASSERT_TRUE(fleet->add_token({.id = "t1",
                                  .group = "desks",
                                  .created_by = "admin",
                                  .max_uses = 1,
                                  .created_s = kNow,
                                  .expires_s = kNow + 3600},
                                 digest_of(1), kNow));
  }
  Redeemed redeem(int number, std::uint64_t secret = 1, std::int64_t at = kNow) {
    HostRow host{.id = fmt::format("host-{}", number), .name = "desk"};
    CertificateRow certificate{.serial = fmt::format("{:x}", number), .not_after_s = at + 60};
    return fleet->redeem(digest_of(secret), at, host, certificate);
  }
};

TEST_F(FleetStoreTest, a_token_is_good_for_its_uses_and_no_more) {
  EXPECT_EQ(redeem(1), Redeemed::done);
  EXPECT_EQ(redeem(2), Redeemed::refused);
  ASSERT_EQ(fleet->hosts().size(), 1u);
  EXPECT_EQ(fleet->hosts()[0].group, "desks");
  EXPECT_TRUE(fleet->certificate("1").has_value());
  EXPECT_FALSE(fleet->certificate("2").has_value());
}

TEST_F(FleetStoreTest, a_wrong_expired_or_revoked_token_takes_nobody_in) {
  EXPECT_EQ(redeem(1, 2), Redeemed::refused);
  EXPECT_EQ(redeem(1, 1, kNow + 3600), Redeemed::refused);
  ASSERT_TRUE(fleet->revoke_token("t1")->revoked);
  EXPECT_EQ(redeem(1), Redeemed::refused);
  EXPECT_TRUE(fleet->hosts().empty());
}

TEST_F(FleetStoreTest, of_1000_redemptions_at_once_exactly_one_counts) {
  std::atomic<int> done = 0, other = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 20; ++t)
    threads.emplace_back([&, t] {
      for (int n = 0; n < 50; ++n) {
        Redeemed answer = redeem(t * 50 + n);
        if (answer == Redeemed::done) ++done;
        if (answer != Redeemed::done && answer != Redeemed::refused) ++other;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done, 1);
  EXPECT_EQ(other, 0);
  EXPECT_EQ(fleet->hosts().size(), 1u);
  EXPECT_EQ(fleet->tokens("", 10)[0].uses, 1u);
}

TEST_F(FleetStoreTest, a_failed_redemption_uses_nothing_up) {
  ASSERT_EQ(redeem(1), Redeemed::done);
  ASSERT_TRUE(fleet->add_token(
      {.id = "t2", .group = "desks", .max_uses = 5, .expires_s = kNow + 60}, digest_of(2), kNow));
  EXPECT_EQ(redeem(1, 2), Redeemed::failed) << "that host id is taken";
  EXPECT_EQ(fleet->tokens("t1", 10)[0].uses, 0u);
}

TEST_F(FleetStoreTest, a_nonce_renews_once) {
  ASSERT_EQ(redeem(1), Redeemed::done);
  CertificateRow next{.serial = "n1", .host = 1, .not_after_s = kNow + 999};
  EXPECT_TRUE(fleet->renew(bytes_of("nonce-1"), next, kNow));
  next.serial = "n2";
  EXPECT_FALSE(fleet->renew(bytes_of("nonce-1"), next, kNow));
  EXPECT_EQ(fleet->sentence(), "");
  EXPECT_FALSE(fleet->certificate("n2").has_value());
  EXPECT_EQ(fleet->hosts()[0].certificate_expires_s, kNow + 999);
}

TEST_F(FleetStoreTest, what_a_host_is_outlives_a_restart) {
  ASSERT_EQ(redeem(1), Redeemed::done);
  std::vector<HostRow> hosts = fleet->hosts();
  hosts[0].cloned = true;
  hosts[0].policy_state = std::string("\0state", 6);
  ASSERT_TRUE(fleet->save_hosts(hosts));
  open();
  EXPECT_TRUE(fleet->hosts()[0].cloned);
  EXPECT_EQ(fleet->hosts()[0].policy_state.size(), 6u);
}

TEST_F(FleetStoreTest, a_policy_needs_a_higher_number_than_its_group_has) {
  EXPECT_TRUE(fleet->add_policy({.group = "desks", .number = 3, .signed_policy = "three"}));
  EXPECT_FALSE(fleet->add_policy({.group = "desks", .number = 3, .signed_policy = "again"}));
  EXPECT_FALSE(fleet->add_policy({.group = "desks", .number = 2, .signed_policy = "old"}));
  EXPECT_TRUE(fleet->add_policy({.group = "labs", .number = 1, .signed_policy = "one"}));
  EXPECT_TRUE(fleet->add_policy({.group = "desks", .number = 4, .signed_policy = "four"}));
  EXPECT_EQ(fleet->policy("desks", 0)->signed_policy, "four");
  EXPECT_EQ(fleet->policy("desks", 3)->signed_policy, "three");
  EXPECT_FALSE(fleet->policy("desks", 9).has_value());
  EXPECT_EQ(fleet->newest_policies().size(), 2u);
}

TEST_F(FleetStoreTest, a_secret_names_its_principal_and_no_other_does) {
  ASSERT_TRUE(fleet->add_secret(digest_of(5), "admin"));
  EXPECT_EQ(fleet->principal(digest_of(5)), "admin");
  EXPECT_FALSE(fleet->principal(digest_of(6)).has_value());
}

}  // namespace
}  // namespace weir
