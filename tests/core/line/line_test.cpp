// The line over a live host's events: what is ordered from the kernel, and what is told to people.
#include "core/line/line.h"

#include "core/policy/limit_table.h"
#include "tests/core/line/host.h"

namespace weir {
namespace {

using Field = Condition::Field;
using traffic::ip;

const Endpoint kClient{ip("10.0.0.5"), 40000};
const Endpoint kResolver{ip("10.0.0.53"), 53};
const Endpoint kServer{ip("203.0.113.9"), 443};
const SocketRef kSocket{77, 7, 1000, 11};

Policy enforced() {
  Policy policy;
  policy.mode = Mode::enforce;
  policy.number = 3;
  return policy;
}

TEST(line, flow_is_classified_once_when_it_is_named_with_the_limits_that_count_for_it) {
  Policy policy = enforced();
  add_limit(policy, "elsewhere", leaf(Field::destination_domain, {"other.example"}), 1000,
            Per::person);
  add_limit(policy, "unknown-places", leaf(Field::trust, {"unknown"}), 1000, Per::destination);
  Host host(policy);
  const FlowKey flow = host.hello(kSocket, kClient, kServer, "www.nowhere.example");
  host.ledger(kSocket, flow, 70'000, 100);
  const auto orders = host.out.all<Classify>();
  ASSERT_EQ(orders.size(), 1u);
  EXPECT_EQ(orders[0].cookie, 77u);
  EXPECT_EQ(orders[0].limits, 2u);
  EXPECT_EQ(orders[0].trust, Trust::unknown);
  EXPECT_NE(orders[0].destination, 0u);
}

TEST(line, flow_that_never_says_a_name_is_classified_by_its_ledger) {
  Policy policy = enforced();
  add_limit(policy, "unknown-places", leaf(Field::trust, {"unknown"}), 1000, Per::destination);
  Host host(policy);
  host.ledger(kSocket, {kClient, kServer, Transport::tcp}, 70'000, 100);
  ASSERT_EQ(host.out.all<Classify>().size(), 1u);
  EXPECT_EQ(host.out.all<Classify>()[0].limits, 1u);
}

TEST(line, flow_that_was_silent_for_an_hour_keeps_its_name) {
  Policy policy = enforced();
  add_limit(policy, "clouds", leaf(Field::upload_to, {"cloud_storage"}), 1000, Per::person);
  Host host(policy);
  const FlowKey flow = host.hello(kSocket, kClient, kServer, "content.dropboxapi.com");
  host.pass(3600);
  host.ledger(kSocket, flow, 70'000, 100, true);
  host.line.finish();
  ASSERT_EQ(host.out.all<Classify>().size(), 1u);
  ASSERT_EQ(host.out.flows.size(), 1u);
  EXPECT_EQ(host.out.flows[0].server_name, "content.dropboxapi.com");
}

TEST(line, new_policy_classifies_what_is_open_again) {
  Host host(enforced());
  host.hello(kSocket, kClient, kServer, "www.nowhere.example");
  Policy policy = enforced();
  add_limit(policy, "unknown-places", leaf(Field::trust, {"unknown"}), 1000, Per::destination);
  host.change(policy);
  const auto orders = host.out.all<Classify>();
  ASSERT_EQ(orders.size(), 2u);
  EXPECT_EQ(orders[0].limits, 0u);
  EXPECT_EQ(orders[1].limits, 1u);
}

TEST(line, limit_that_waits_for_a_finding_counts_from_it_on) {
  Policy policy = enforced();
  Condition when = leaf(Field::burst, {});
  when.number = 65'536;
  add_limit(policy, "bursts", when, 1000, Per::person);
  Host host(policy);
  const FlowKey flow = host.hello(kSocket, kClient, kServer, "content.dropboxapi.com");
  host.ledger(kSocket, flow, 60'000, 100);
  host.ledger(kSocket, flow, 70'000, 100);
  const auto orders = host.out.all<Classify>();
  ASSERT_EQ(orders.size(), 2u);
  EXPECT_EQ(orders[0].limits, 0u);
  EXPECT_EQ(orders[1].limits, 1u);
}

TEST(line, claimed_name_never_takes_a_flow_off_a_rule_about_a_name_answered_for_its_address) {
  Policy policy = enforced();
  add_limit(policy, "clouds", leaf(Field::destination_domain, {"cloud.example"}), 1000,
            Per::person);
  Host host(policy);
  host.look_up({kClient.address, 5353}, kResolver, "up.cloud.example", kServer.address, kSocket);
  host.look_up({kClient.address, 5354}, kResolver, "www.shared.example", kServer.address, kSocket);
  const auto limits_of = [&](const char* said, std::uint64_t cookie) {
    const auto port = static_cast<std::uint16_t>(40000 + cookie);
    host.hello({cookie, 7, 1000, 11}, {kClient.address, port}, kServer, said);
    const auto orders = host.out.all<Classify>();
    EXPECT_EQ(orders.back().cookie, cookie);
    return orders.back().limits;
  };
  EXPECT_EQ(limits_of("harmless.example", 78), 1u);    // nobody answered it for this address
  EXPECT_EQ(limits_of("www.shared.example", 79), 0u);  // two sites at one address
  EXPECT_EQ(limits_of("up.cloud.example", 80), 1u);
  host.ledger({81, 7, 1000, 11}, {{kClient.address, 40081}, kServer, Transport::tcp}, 70'000, 100);
  EXPECT_EQ(host.out.all<Classify>().back().limits, 1u);  // says none; the newest answer is another
}

TEST(line, answer_tells_the_kernel_which_limits_can_not_be_about_its_address) {
  Policy policy = enforced();
  policy.resolvers = {{ip("10.0.0.53"), "office"}};
  add_limit(policy, "clouds", leaf(Field::upload_to, {"cloud_storage"}), 1000, Per::person);
  add_limit(policy, "unknown-places", leaf(Field::trust, {"unknown"}), 1000, Per::destination);
  Host host(policy);
  host.look_up(kClient, kResolver, "www.nowhere.example", kServer.address, kSocket);
  const auto orders = host.out.all<ClassifyAddress>();
  ASSERT_EQ(orders.size(), 2u);
  EXPECT_EQ(orders[1].address, kServer.address);
  EXPECT_EQ(orders[1].limits, 2u);
  EXPECT_FALSE(orders[1].final);
}

TEST(line, questions_to_the_sites_resolver_touch_no_limit_for_other_places) {
  Policy policy = enforced();
  add_limit(policy, "clouds", leaf(Field::upload_to, {"cloud_storage"}), 1000, Per::person);
  add_limit(policy, "unknown-places", leaf(Field::trust, {"unknown"}), 1000, Per::destination);
  add_limit(policy, "everything", Condition{}, 1000, Per::host);
  Host host(policy);
  host.look_up(kClient, kResolver, "www.nowhere.example", kServer.address, kSocket);
  host.look_up(kClient, {ip("8.8.8.8"), 53}, "www.nowhere.example", kServer.address, kSocket);
  const auto orders = host.out.all<ClassifyAddress>();
  ASSERT_EQ(orders.size(), 2u);  // none for a public resolver that nobody named
  EXPECT_EQ(orders[0].address, kResolver.address);
  EXPECT_EQ(orders[0].limits, 4u);
}

TEST(line, spent_account_is_one_report_with_rule_program_person_and_the_bytes_that_left) {
  Policy policy = enforced();
  add_limit(policy, "clouds", leaf(Field::upload_to, {"cloud_storage"}), 262'144, Per::person);
  Host host(policy);
  host.start(11, 7, "/usr/bin/curl");
  const FlowKey flow = host.hello(kSocket, kClient, kServer, "content.dropboxapi.com");
  for (int second = 0; second < 5; ++second) host.spent(kSocket, flow, 0, 262'000);
  host.ledger(kSocket, flow, 261'900, 4000, true, 90'000);
  host.line.finish();
  std::vector<Report> limits;
  for (const Report& report : host.out.last())
    if (report.decision.rule == "clouds") limits.push_back(report);
  ASSERT_EQ(limits.size(), 1u);
  const Report& report = limits[0];
  EXPECT_EQ(report.decision.action, Action::limit);
  EXPECT_TRUE(report.decision.enforced);
  EXPECT_EQ(report.decision.policy_number, 3u);
  EXPECT_EQ(report.actor.program, "/usr/bin/curl");
  EXPECT_EQ(report.actor.person, 1000u);
  EXPECT_EQ(report.destination.service, "dropbox");
  EXPECT_EQ(report.bytes_out, 261'900u);
  EXPECT_EQ(report.finding.severity, Severity::high);
}

TEST(line, refusal_before_a_flow_is_classified_is_told_only_if_the_row_turns_out_to_count) {
  Policy policy = enforced();
  add_limit(policy, "clouds", leaf(Field::upload_to, {"cloud_storage"}), 1000, Per::person);
  const auto reports_of = [&](const char* name) {
    Host host(policy);
    host.packet(traffic::tcp(kClient, kServer, 100, 0, traffic::kSyn, {}), kSocket);
    host.spent(kSocket, {kClient, kServer, Transport::tcp}, 0, 1000);
    EXPECT_TRUE(host.out.reports.empty());
    host.packet(traffic::tcp(kClient, kServer, 101, 1, traffic::kAck, traffic::client_hello(name)),
                kSocket);
    host.line.finish();
    return host.out.last();
  };
  EXPECT_TRUE(reports_of("www.nowhere.example").empty());
  ASSERT_EQ(reports_of("content.dropboxapi.com").size(), 1u);
  EXPECT_EQ(reports_of("content.dropboxapi.com")[0].decision.rule, "clouds");
}

TEST(line, spent_number_of_answers_is_one_report_that_no_rule_is_named_in) {
  Policy policy = enforced();
  add_limit(policy, "clouds", leaf(Field::upload_to, {"cloud_storage"}), 1000, Per::person);
  Host host(policy);
  host.start(11, 7, "/usr/sbin/dnsmasq", 0);
  const FlowKey flow{{kClient.address, 53}, {ip("10.0.0.77"), 40000}, Transport::udp};
  for (int second = 0; second < 3; ++second)
    host.spent(kSocket, flow, answers_row(policy), 16u << 20);
  EXPECT_EQ(host.line.counters().spent_unknown, 0u);
  ASSERT_EQ(host.out.last().size(), 1u);
  const Report report = host.out.last()[0];
  EXPECT_EQ(report.decision.rule, "defaults.answers");
  EXPECT_TRUE(report.decision.enforced);
  EXPECT_EQ(report.actor.program, "/usr/sbin/dnsmasq");
  ASSERT_EQ(report.finding.because.size(), 1u);
  EXPECT_EQ(report.finding.because[0].code, "answers_spent");
}

// A log that is replayed under another policy: tier 4 holds no accounts.
TEST(line, replayed_log_charges_answers_to_their_own_number_and_the_rest_to_the_rules) {
  Policy policy = enforced();
  policy.defaults.answers = 100'000;
  add_limit(policy, "elsewhere", {}, 10'000, Per::person);
  const auto rules_told = [&](std::uint16_t port, std::uint64_t sent, std::uint64_t got) {
    Host host(policy, 4);
    const FlowKey flow{{kClient.address, port}, {ip("10.0.0.77"), 40000}, Transport::udp};
    host.ledger(kSocket, flow, sent, got);
    host.line.finish();
    std::vector<std::string> rules;
    for (const Report& report : host.out.last())
      if (report.finding.detector == "limit") rules.push_back(report.decision.rule);
    return rules;
  };
  using Rules = std::vector<std::string>;
  EXPECT_EQ(rules_told(53, 45'000, 20'000), Rules{});
  EXPECT_EQ(rules_told(53, 45'000, 1'000), Rules{"elsewhere"}) << "more than was asked for";
  EXPECT_EQ(rules_told(443, 45'000, 20'000), Rules{"elsewhere"});
  EXPECT_EQ(rules_told(53, 90'000, 20'000), (Rules{"defaults.answers", "elsewhere"}))
      << "half of it at once";
  policy.defaults.answers = 0;
  EXPECT_EQ(rules_told(53, 45'000, 20'000), Rules{"elsewhere"});
}

TEST(line, refusal_by_a_row_that_the_policy_does_not_have_is_counted) {
  Host host(enforced());
  host.spent(kSocket, {kClient, kServer, Transport::tcp}, 62, 1000);
  EXPECT_EQ(host.line.counters().spent_unknown, 1u);
}

TEST(line, blocked_destination_is_taken_from_the_tree_for_a_lease_and_reported_once) {
  Policy policy = enforced();
  add_rule(policy, "not-there", leaf(Field::destination_domain, {"nowhere.example"}),
           Action::block);
  Host host(policy);
  host.start(11, 7, "/usr/bin/curl");
  const FlowKey flow = host.hello(kSocket, kClient, kServer, "www.nowhere.example");
  host.ledger(kSocket, flow, 400, 0, true);
  host.line.finish();
  const auto blocks = host.out.all<Block>();
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_EQ(blocks[0].tree, 7u);
  EXPECT_EQ(blocks[0].target, Block::Target::destination);
  EXPECT_EQ(blocks[0].destination, host.out.all<Classify>().at(0).destination);
  EXPECT_GT(blocks[0].until_boot_ns, host.stamp().boot_ns);
  ASSERT_EQ(host.out.last().size(), 1u);
  EXPECT_TRUE(host.out.last()[0].decision.enforced);
}

TEST(line, mode_observe_orders_no_block_and_says_that_nothing_was_enforced) {
  Policy policy = enforced();
  policy.mode = Mode::observe;
  add_rule(policy, "not-there", leaf(Field::destination_domain, {"nowhere.example"}),
           Action::block);
  Host host(policy);
  host.hello(kSocket, kClient, kServer, "www.nowhere.example");
  host.line.finish();
  EXPECT_TRUE(host.out.all<Block>().empty());
  ASSERT_EQ(host.out.last().size(), 1u);
  EXPECT_EQ(host.out.last()[0].decision.action, Action::block);
  EXPECT_FALSE(host.out.last()[0].decision.enforced);
}

TEST(line, usage_rows_hold_each_hours_bytes_of_person_program_and_destination) {
  Host host(enforced());
  host.start(11, 7, "/usr/bin/curl");
  const FlowKey flow = host.hello(kSocket, kClient, kServer, "content.dropboxapi.com");
  host.ledger(kSocket, flow, 100'000, 2000);
  host.pass(3600);
  host.ledger(kSocket, flow, 150'000, 2500, true);
  host.line.finish();
  std::uint64_t out = 0, in = 0;
  ASSERT_EQ(host.out.rows.size(), 2u);
  for (const UsageRow& row : host.out.rows) {
    EXPECT_EQ(row.person, 1000u);
    EXPECT_EQ(row.program, "/usr/bin/curl");
    EXPECT_EQ(row.destination, "dropboxapi.com");
    EXPECT_EQ(row.trust, Trust::upload);
    out += row.bytes_out;
    in += row.bytes_in;
  }
  EXPECT_EQ(host.out.rows[1].hour, host.out.rows[0].hour + 1);
  EXPECT_EQ(out, 150'000u);
  EXPECT_EQ(in, 2500u);
}

TEST(line, lost_events_are_counted) {
  Host host(enforced());
  host.line.on({host.stamp(), Gap{"ring", 12}});
  EXPECT_EQ(host.line.counters().lost, 12u);
}

TEST(line, a_removed_hook_is_a_report_each_time) {
  Host host(enforced());
  HookRemoved removed;
  removed.name = "weir_egress";
  removed.open_ns = 1'200'000'000;
  removed.sent = 5000;
  removed.restored = true;
  for (int n = 0; n < 2; ++n) {
    host.line.on({host.stamp(), removed});
    host.pass(1);
  }
  removed.restored = false;
  removed.problem = "cannot open /x";
  host.line.on({host.stamp(), removed});
  const std::vector<Report> reports = host.out.last();
  ASSERT_EQ(reports.size(), 3u);
  EXPECT_EQ(reports[0].group, reports[1].group);
  EXPECT_EQ(reports[0].finding.detector, "tampering");
  EXPECT_EQ(reports[0].finding.severity, Severity::high);
  EXPECT_EQ(reports[0].finding.attack, std::vector<std::string>{"T1562.001"});
  EXPECT_EQ(
      reports[0].finding.because,
      (std::vector<Reason>{{"hook_removed", {"weir_egress", "2", "5000"}}, {"hook_restored", {}}}));
  EXPECT_EQ(reports[2].finding.severity, Severity::critical);
  EXPECT_EQ(reports[2].finding.because[1], (Reason{"hook_not_restored", {"cannot open /x"}}));
}

// DNS questions that carry data under one zone, as a tunnel's client asks them.
void tunnel(Host& host, const SocketRef& socket, bool serving = false) {
  std::uint64_t state = 88172645463325252ull;
  for (int query = 0; query < 400; ++query) {
    std::string label;
    for (int i = 0; i < 50; ++i) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      label += "abcdefghijklmnopqrstuvwxyz012345"[state % 32];
    }
    const auto bytes = traffic::udp(
        {ip("10.0.0.5"), 41000}, kResolver,
        traffic::dns_query(static_cast<unsigned>(query), label + ".t.evil.example", 10));
    host.packet(bytes, socket, !serving);
  }
}

TEST(line, dns_tunnel_that_a_rule_blocks_takes_port_53_from_its_tree_alone) {
  Policy policy = enforced();
  add_rule(policy, "tunnels", leaf(Field::detector, {"dns_tunnel", "tunnel"}), Action::block);
  Host host(policy);
  host.start(11, 7, "/usr/sbin/iodine");
  tunnel(host, kSocket);
  host.line.finish();
  ASSERT_FALSE(host.out.all<Block>().empty());
  for (const Block& block : host.out.all<Block>()) {
    EXPECT_EQ(block.tree, 7u);
    EXPECT_EQ(block.target, Block::Target::dns);
  }
  ASSERT_EQ(host.out.last().size(), 1u);
  const Report report = host.out.last()[0];
  EXPECT_EQ(report.finding.detector, "dns_tunnel");
  EXPECT_EQ(report.destination.zone, "evil.example");
  EXPECT_EQ(report.actor.program, "/usr/sbin/iodine");
  EXPECT_EQ(report.decision.rule, "tunnels");
  EXPECT_TRUE(report.decision.enforced);
  EXPECT_LE(host.out.reports.size(), 8u);
}

TEST(line, resolver_through_which_a_tunnel_goes_keeps_its_port_53) {
  Policy policy = enforced();
  add_rule(policy, "tunnels", leaf(Field::detector, {"dns_tunnel", "tunnel"}), Action::block);
  Host host(policy);
  const SocketRef dnsmasq{88, 9, 99, 20};
  host.start(20, 9, "/usr/sbin/dnsmasq");
  tunnel(host, dnsmasq, true);    // it hears them …
  tunnel(host, {89, 9, 99, 20});  // … and passes them on
  host.line.finish();
  EXPECT_TRUE(host.out.all<Block>().empty());
  ASSERT_FALSE(host.out.reports.empty());
  EXPECT_FALSE(host.out.last()[0].decision.enforced);
}

}  // namespace
}  // namespace weir
