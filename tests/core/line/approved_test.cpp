// Approved counts only when proven: whose answer it was, over which network, to whose question, and
// what the client says where.
#include "tests/core/line/host.h"

namespace weir {
namespace {

using Field = Condition::Field;
using traffic::ip;

constexpr const char* kName = "files.corp.example";
const Endpoint kClient{ip("10.0.0.5"), 40000};
const Endpoint kAsker{ip("10.0.0.5"), 5353};
const Endpoint kResolver{ip("10.0.0.53"), 53};
const Endpoint kServer{ip("203.0.113.9"), 443};
const Endpoint kInside{ip("10.1.2.3"), 443};
const SocketRef kSocket{77, 7, 1000, 11};
constexpr std::uint32_t kHotspot = 3;

Selector domain(const char* name, const char* via = "") {
  return {Selector::Kind::domain, name, {}, via};
}

// Row 0 bounds what is not approved.
Policy desk() {
  Policy policy;
  policy.mode = Mode::enforce;
  trust_resolver(policy, kResolver.address);
  policy.approved = {domain("corp.example")};
  Condition when;
  when.kind = Condition::Kind::none;
  when.parts = {leaf(Field::destination_approved, {})};
  add_limit(policy, "elsewhere", when, 1000, Per::person);
  return policy;
}

class Approved : public testing::Test {
 protected:
  Approved() { begin(desk()); }
  void begin(Policy policy) {
    host = std::make_unique<Host>(std::move(policy));
    host->interface("tun0", kOffice);
    host->via = kOffice;
    cookie = 77;
  }
  void look_up(const Endpoint& resolver, const IpAddress& address, std::uint32_t ttl = 60,
               const char* name = kName) {
    host->packet(traffic::udp(kAsker, resolver, traffic::dns_query(7, name)), kSocket);
    host->packet(traffic::udp(resolver, kAsker, traffic::dns_answer(7, name, address, ttl)),
                 kSocket, false);
  }
  // The verdict of a new flow there that says this name.
  Classify verdict(const Endpoint& server, const char* said = kName) {
    ++cookie;
    host->hello({cookie, 7, 1000, 11}, {kClient.address, static_cast<std::uint16_t>(cookie)},
                server, said);
    const auto orders = host->out.all<Classify>();
    EXPECT_FALSE(orders.empty());
    EXPECT_EQ(orders.back().cookie, cookie);
    return orders.back();
  }
  bool is_approved(const Endpoint& server, const char* said = kName) {
    const Classify order = verdict(server, said);
    EXPECT_EQ(order.limits, order.trust == Trust::approved ? 0u : 1u);
    return order.trust == Trust::approved;
  }

  std::unique_ptr<Host> host;
  std::uint64_t cookie = 77;
};

TEST_F(Approved, is_the_name_that_the_policys_resolver_answered_at_that_address) {
  look_up(kResolver, kServer.address);
  EXPECT_TRUE(is_approved(kServer));
  EXPECT_FALSE(is_approved(kServer, "other.corp.example")) << "never answered for that address";
  EXPECT_FALSE(is_approved({ip("203.0.113.10"), 443})) << "it is not there";
  EXPECT_FALSE(is_approved(kServer, "files.corp.example.evil.example"));
}

TEST_F(Approved, is_nothing_that_a_client_only_claims) {
  EXPECT_FALSE(is_approved(kServer));
}

TEST_F(Approved, is_nothing_that_another_resolver_answered) {
  look_up({ip("10.0.0.66"), 53}, kServer.address);
  look_up({ip("8.8.8.8"), 53}, kServer.address);
  EXPECT_FALSE(is_approved(kServer));
}

TEST_F(Approved, is_nothing_that_came_over_another_network_from_the_resolvers_address) {
  host->via = kHotspot;
  look_up(kResolver, kServer.address);
  host->via = kOffice;
  EXPECT_FALSE(is_approved(kServer));
  look_up(kResolver, kServer.address);
  host->via = kHotspot;
  look_up(kResolver, kServer.address);
  EXPECT_TRUE(is_approved(kServer)) << "nor does it take away what was proven";
}

TEST_F(Approved, is_nothing_of_an_unknown_interface) {
  host->via = 0;
  look_up(kResolver, kServer.address);
  EXPECT_FALSE(is_approved(kServer));
}

TEST_F(Approved, is_no_answer_that_a_program_sent_itself_or_that_nobody_asked_for) {
  using namespace traffic;
  const auto query = [&](unsigned id, const char* name) {
    host->packet(udp(kAsker, kResolver, dns_query(id, name)), kSocket);
  };
  const auto answer = [&](unsigned id, const char* name, bool outgoing) {
    host->packet(udp(outgoing ? kAsker : kResolver, outgoing ? kResolver : kAsker,
                     dns_answer(id, name, kServer.address)),
                 kSocket, outgoing);
  };
  query(7, kName);
  answer(7, kName, true);
  EXPECT_FALSE(is_approved(kServer)) << "sent by the program";
  answer(8, kName, false);
  EXPECT_FALSE(is_approved(kServer)) << "another id";
  answer(7, "www.corp.example", false);
  EXPECT_FALSE(is_approved(kServer, "www.corp.example")) << "another question";
  answer(7, kName, false);
  EXPECT_TRUE(is_approved(kServer));
  answer(7, "www.corp.example", false);
  EXPECT_FALSE(is_approved(kServer, "www.corp.example")) << "it was answered already";
}

TEST_F(Approved, counts_also_where_the_network_was_told_after_the_answer) {
  begin(desk());
  host->interface("tun0", 0);
  host->via = 9;
  look_up(kResolver, kServer.address);
  EXPECT_FALSE(is_approved(kServer));
  host->interface("tun0", 9);
  EXPECT_TRUE(is_approved(kServer));
}

TEST_F(Approved, outlives_a_reconnect_of_the_network_but_not_its_time) {
  look_up(kResolver, kServer.address, 600);
  host->interface("tun0", 0);
  host->interface("tun0", 12);
  EXPECT_TRUE(is_approved(kServer));
  host->pass(590);
  EXPECT_TRUE(is_approved(kServer));
  host->pass(20);
  EXPECT_FALSE(is_approved(kServer));
}

TEST_F(Approved, private_address_counts_only_over_the_network_that_named_it) {
  look_up(kResolver, kInside.address);
  const Classify order = verdict(kInside);
  EXPECT_EQ(order.trust, Trust::approved);
  EXPECT_EQ(order.via, kOffice) << "the kernel holds the socket to it";
  host->via = kHotspot;
  EXPECT_FALSE(is_approved(kInside)) << "every hotspot has a 10.0.0.0/8";
  host->via = kOffice;
  host->interface("tun0", 0);
  EXPECT_FALSE(is_approved(kInside)) << "the network is gone";
}

TEST_F(Approved, public_address_rests_on_no_network_unless_the_policy_says_so) {
  look_up(kResolver, kServer.address);
  host->via = kHotspot;
  EXPECT_EQ(verdict(kServer).via, 0u);
  Policy policy = desk();
  policy.approved = {domain("corp.example", "office")};
  host->change(policy);
  EXPECT_FALSE(is_approved(kServer));
  host->via = kOffice;
  EXPECT_EQ(verdict(kServer).via, kOffice);
}

TEST_F(Approved, range_counts_over_its_network_alone_whatever_name_is_said) {
  Policy policy = desk();
  policy.approved = {
      {Selector::Kind::cidr, "10.1.0.0/16", *Prefix::parse("10.1.0.0/16"), "office"}};
  begin(policy);
  const Classify order = verdict(kInside, "whatever.example");
  EXPECT_EQ(order.trust, Trust::approved);
  EXPECT_EQ(order.via, kOffice);
  EXPECT_FALSE(is_approved({ip("10.2.0.1"), 443}));
  host->via = kHotspot;
  EXPECT_FALSE(is_approved(kInside));
}

TEST_F(Approved, service_without_a_hello_counts_only_if_it_is_marked) {
  Policy policy = desk();
  Service calls;
  calls.id = "calls";
  calls.domains = {"corp.example"};
  policy.services = {calls};
  const auto approved = [&](bool no_sni) {
    policy.services[0].no_sni = no_sni;
    begin(policy);
    look_up(kResolver, kServer.address);
    host->packet(
        traffic::udp({kClient.address, 6000}, {kServer.address, 5060}, traffic::Buffer(300, 'x')),
        {90, 7, 1000, 11});
    host->ledger({90, 7, 1000, 11},
                 {{kClient.address, 6000}, {kServer.address, 5060}, Transport::udp}, 70'000, 0);
    return host->out.all<Classify>().back().trust == Trust::approved;
  };
  EXPECT_FALSE(approved(false));
  EXPECT_TRUE(approved(true));
}

TEST_F(Approved, resolver_without_a_network_narrows_addresses_and_proves_nothing) {
  Policy policy = desk();
  policy.resolvers = {{ip("8.8.8.8"), ""}};
  add_limit(policy, "clouds", leaf(Field::upload_to, {"cloud_storage"}), 1000, Per::person);
  begin(policy);
  look_up({ip("8.8.8.8"), 53}, kServer.address);
  EXPECT_FALSE(verdict(kServer).trust == Trust::approved);
  const auto narrowed = host->out.all<ClassifyAddress>();
  ASSERT_EQ(narrowed.size(), 2u);
  EXPECT_EQ(narrowed[0].address, ip("8.8.8.8"));
  EXPECT_EQ(narrowed[1].address, kServer.address);
  EXPECT_EQ(narrowed[1].limits, 1u) << "no upload service has that name";
  EXPECT_EQ(verdict(kServer, "content.dropboxapi.com").limits, 3u)
      << "the name that is said counts";
  ASSERT_EQ(host->out.all<ClassifyAddress>().size(), 3u);
  EXPECT_EQ(host->out.all<ClassifyAddress>().back().limits, 3u) << "and from now on for all there";
  verdict(kServer, "content.dropboxapi.com");
  EXPECT_EQ(host->out.all<ClassifyAddress>().size(), 3u) << "which is told once";
}

TEST_F(Approved, allow_by_name_sets_a_rule_aside_only_where_the_name_is_proven) {
  Policy policy = desk();
  Rule allow;
  allow.id = "courier";
  allow.action = Action::allow;
  allow.excepts = {"elsewhere"};
  allow.when = leaf(Field::destination_domain, {"courier.example"});
  policy.rules.push_back(allow);
  begin(policy);
  EXPECT_EQ(verdict(kServer, "up.courier.example").limits, 1u);
  look_up(kResolver, kServer.address, 60, "up.courier.example");
  EXPECT_EQ(verdict(kServer, "up.courier.example").limits, 0u);
  look_up(kResolver, kInside.address, 60, "up.courier.example");
  EXPECT_EQ(verdict(kInside, "up.courier.example").via, kOffice);
}

TEST_F(Approved, is_judged_anew_for_open_flows_when_the_policy_changes) {
  Policy before = desk();
  before.approved.clear();
  before.resolvers.clear();  // a private one narrows, and what it said is kept
  begin(before);
  look_up(kResolver, kServer.address);
  EXPECT_FALSE(is_approved(kServer));
  host->change(desk());
  const Classify order = host->out.all<Classify>().back();
  EXPECT_EQ(order.cookie, cookie);
  EXPECT_EQ(order.trust, Trust::approved);
  Policy other = desk();
  other.resolvers = {{ip("10.0.0.99"), "office"}};
  host->change(other);
  EXPECT_NE(host->out.all<Classify>().back().trust, Trust::approved);
}

TEST_F(Approved, proven_name_stays_while_others_lead_their_own_to_its_address) {
  look_up(kResolver, kServer.address);
  Policy policy = desk();
  policy.resolvers.push_back({ip("8.8.8.8"), ""});
  host->change(policy);
  for (int i = 0; i < 40; ++i) {
    const std::string own = "n" + std::to_string(i) + ".evil.example";
    look_up({ip("8.8.8.8"), 53}, kServer.address, 60, own.c_str());
  }
  EXPECT_TRUE(is_approved(kServer));
}

}  // namespace
}  // namespace weir
