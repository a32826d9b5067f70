// The line over a capture's packets: no host, no ledger, accounts simulated.
#include "tests/core/line/host.h"

namespace weir {
namespace {

using Field = Condition::Field;
using traffic::ip;

const Endpoint kClient{ip("10.0.0.5"), 40000};
const Endpoint kServer{ip("203.0.113.9"), 443};

Kept replay(const traffic::Script& script, const Policy* policy = nullptr) {
  Kept kept;
  Line line(kept);
  if (policy != nullptr) line.on({{}, PolicyChanged{std::make_shared<const Policy>(*policy)}});
  for (const auto& sent : script.packets) line.on(traffic::event_of(sent));
  line.finish();
  return kept;
}

TEST(capture, upload_to_a_cloud_is_one_report_with_service_client_and_bytes) {
  traffic::Script script;
  script.tcp_flow(kClient, kServer, traffic::client_hello("content.dropboxapi.com"), 1'048'576,
                  900);
  const Kept kept = replay(script);
  ASSERT_EQ(kept.last().size(), 1u);
  const Report report = kept.last()[0];
  EXPECT_EQ(report.finding.detector, "cloud_upload");
  EXPECT_EQ(report.destination.service, "dropbox");
  EXPECT_EQ(report.destination.trust, Trust::upload);
  EXPECT_EQ(report.actor.address, kClient.address);
  EXPECT_GE(report.bytes_out, 1'048'576u);
  EXPECT_LE(report.bytes_out, 1'048'576u + 2000);
  EXPECT_FALSE(report.decision.enforced);
  EXPECT_LE(kept.reports.size(), 6u);  // 64 KiB, doublings, the end
}

TEST(capture, upload_to_an_approved_place_is_no_report_also_at_its_end) {
  Policy policy;
  trust_resolver(policy, ip("10.0.0.53"));
  policy.approved = {{Selector::Kind::service, "dropbox", {}, ""}};
  traffic::Script script;
  script.look_up({kClient.address, 50000}, {ip("10.0.0.53"), 53}, "content.dropboxapi.com",
                 kServer.address);
  script.tcp_flow(kClient, kServer, traffic::client_hello("content.dropboxapi.com"), 1'000'000,
                  900);
  EXPECT_TRUE(replay(script, &policy).reports.empty());
  script.packets.erase(script.packets.begin(), script.packets.begin() + 2);  // nobody answered it
  EXPECT_EQ(replay(script, &policy).last().size(), 1u);
}

TEST(capture, limit_is_reported_when_it_would_have_been_spent) {
  Policy policy;
  policy.mode = Mode::enforce;
  add_limit(policy, "unknown-places", leaf(Field::trust, {"unknown"}), 65'536, Per::destination);
  traffic::Script small, large;
  small.tcp_flow(kClient, kServer, traffic::client_hello("www.nowhere.example"), 60'000, 100);
  large.tcp_flow(kClient, kServer, traffic::client_hello("www.nowhere.example"), 70'000, 100);
  EXPECT_TRUE(replay(small, &policy).reports.empty());
  const Kept kept = replay(large, &policy);
  ASSERT_EQ(kept.last().size(), 1u);
  EXPECT_EQ(kept.last()[0].decision.rule, "unknown-places");
  EXPECT_EQ(kept.last()[0].decision.action, Action::limit);
  EXPECT_FALSE(kept.last()[0].decision.enforced);
  EXPECT_TRUE(kept.orders.empty());
}

TEST(capture, many_flows_to_one_place_share_the_clients_account) {
  Policy policy;
  add_limit(policy, "unknown-places", leaf(Field::trust, {"unknown"}), 65'536, Per::destination);
  traffic::Script script;
  for (std::uint16_t i = 0; i < 20; ++i)
    script.tcp_flow({kClient.address, static_cast<std::uint16_t>(40000 + i)}, kServer,
                    traffic::client_hello("www.nowhere.example"), 5000, 10);
  const Kept kept = replay(script, &policy);
  ASSERT_EQ(kept.last().size(), 1u);
  EXPECT_EQ(kept.last()[0].decision.rule, "unknown-places");
}

TEST(capture, a_limit_per_flow_counts_each_flow_by_itself) {
  Policy policy;
  add_limit(policy, "small-uploads", leaf(Field::trust, {"unknown"}), 65'536, Per::flow);
  traffic::Script many, one;
  for (std::uint16_t i = 0; i < 20; ++i)
    many.tcp_flow({kClient.address, static_cast<std::uint16_t>(40000 + i)}, kServer,
                  traffic::client_hello("www.nowhere.example"), 60'000, 10);
  for (const Report& report : replay(many, &policy).reports)  // 1.2 MB are a finding all the same
    EXPECT_NE(report.finding.detector, "limit") << report.finding.because.front().code;
  one.tcp_flow(kClient, kServer, traffic::client_hello("www.nowhere.example"), 70'000, 10);
  const Kept kept = replay(one, &policy);
  ASSERT_EQ(kept.last().size(), 1u);
  EXPECT_EQ(kept.last()[0].finding.because.front().code, "limit_flow_spent");
}

TEST(capture, name_that_each_flow_invents_does_not_open_an_account_each) {
  Policy policy;
  add_limit(policy, "unknown-places", leaf(Field::trust, {"unknown"}), 65'536, Per::destination);
  traffic::Script script;
  for (std::uint16_t i = 0; i < 20; ++i)
    script.tcp_flow({kClient.address, static_cast<std::uint16_t>(40000 + i)}, kServer,
                    traffic::client_hello("host.invented" + std::to_string(i) + ".example"), 5000,
                    10);
  EXPECT_EQ(replay(script, &policy).last().size(), 1u);
}

TEST(capture, range_over_a_named_network_approves_nothing) {
  Policy policy;
  policy.approved = {
      {Selector::Kind::cidr, "203.0.113.0/24", *Prefix::parse("203.0.113.0/24"), "office"}};
  add_limit(policy, "unknown-places", leaf(Field::trust, {"unknown"}), 1000, Per::destination);
  traffic::Script script;
  script.tcp_flow(kClient, kServer, traffic::client_hello("www.nowhere.example"), 5000, 10);
  EXPECT_EQ(replay(script, &policy).last().size(), 1u);
}

TEST(capture, browsing_and_a_large_download_are_no_reports) {
  traffic::Script script;
  for (std::uint16_t i = 0; i < 50; ++i) {
    const std::string name = "www.site" + std::to_string(i) + ".example";
    script.look_up({kClient.address, static_cast<std::uint16_t>(50000 + i)}, {ip("10.0.0.53"), 53},
                   name, kServer.address);
    script.tcp_flow({kClient.address, static_cast<std::uint16_t>(41000 + i)}, kServer,
                    traffic::client_hello(name), 1500, 40'000);
  }
  script.tcp_flow(kClient, kServer, traffic::client_hello("download.site1.example"), 500,
                  5'000'000);
  EXPECT_TRUE(replay(script).reports.empty());
}

TEST(capture, times_that_run_backwards_change_no_report_but_its_times) {
  traffic::Script script;
  script.tcp_flow(kClient, kServer, traffic::client_hello("content.dropboxapi.com"), 300'000, 900);
  for (std::size_t i = 0; i < script.packets.size(); i += 3)
    script.packets[i].at_ns -= 5'000'000'000;
  ASSERT_EQ(replay(script).last().size(), 1u);
}

}  // namespace
}  // namespace weir
