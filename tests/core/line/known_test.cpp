// Known counts only when proven, as approved does: a popular name that is only said is an unknown
// place.
#include "core/policy/known_names.h"
#include "tests/core/line/host.h"

namespace weir {
namespace {

using Field = Condition::Field;
using traffic::ip;

constexpr const char* kName = "www.popular.example";
const Endpoint kClient{ip("10.0.0.5"), 40000};
const Endpoint kAsker{ip("10.0.0.5"), 5353};
const Endpoint kResolver{ip("10.0.0.53"), 53};
const Endpoint kServer{ip("203.0.113.9"), 443};
const Endpoint kEvil{ip("203.0.113.77"), 443};
const SocketRef kSocket{77, 7, 1000, 11};
constexpr std::uint32_t kHotspot = 3;
constexpr std::uint64_t kKnownRow = 1, kUnknownRow = 2;

Policy desk() {
  Policy policy;
  policy.mode = Mode::enforce;
  trust_resolver(policy, kResolver.address);
  policy.known = known_text({"popular.example", "dropboxapi.com", "dropbox.com"});
  add_limit(policy, "known", leaf(Field::trust, {"known"}), 1000, Per::destination);
  add_limit(policy, "unknown", leaf(Field::trust, {"unknown"}), 1000, Per::person);
  return policy;
}

class Known : public testing::Test {
 protected:
  Known() { begin(desk()); }
  void begin(Policy policy) {
    host = std::make_unique<Host>(std::move(policy));
    host->interface("tun0", kOffice);
    host->via = kOffice;
    cookie = 77;
  }
  void look_up(const Endpoint& resolver, const IpAddress& address, const char* name = kName) {
    host->look_up(kAsker, resolver, name, address, kSocket);
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
  void expect_known(const Endpoint& server, const char* said = kName) {
    const Classify order = verdict(server, said);
    EXPECT_EQ(order.trust, Trust::known) << said;
    EXPECT_EQ(order.limits, kKnownRow) << said;
  }
  void expect_unknown(const Endpoint& server, const char* said = kName) {
    const Classify order = verdict(server, said);
    EXPECT_EQ(order.trust, Trust::unknown) << said;
    EXPECT_EQ(order.limits, kUnknownRow) << said;
  }

  std::unique_ptr<Host> host;
  std::uint64_t cookie = 77;
};

TEST_F(Known, is_a_listed_domain_whose_name_the_policys_resolver_answered_there) {
  look_up(kResolver, kServer.address);
  expect_known(kServer);
  expect_unknown(kServer, "popular.example");  // not answered for that address
  look_up(kResolver, kServer.address, "www.other.example");
  expect_unknown(kServer, "www.other.example");  // not listed
}

TEST_F(Known, is_no_popular_name_that_is_said_to_ones_own_address) {
  look_up(kResolver, kServer.address);
  expect_unknown(kEvil);
}

TEST_F(Known, is_nothing_that_another_resolver_or_another_network_answered) {
  look_up({ip("10.0.0.66"), 53}, kEvil.address);
  expect_unknown(kEvil);
  host->via = kHotspot;
  look_up(kResolver, kEvil.address);
  host->via = kOffice;
  expect_unknown(kEvil);
}

TEST_F(Known, is_nothing_where_the_flow_says_no_name) {
  look_up(kResolver, kServer.address);
  const SocketRef socket{90, 7, 1000, 11};
  const FlowKey flow{{kClient.address, 6000}, {kServer.address, 22}, Transport::tcp};
  host->packet(traffic::tcp(flow.client, flow.server, 1, 0, traffic::kSyn, {}), socket);
  host->ledger(socket, flow, 70'000, 0);
  EXPECT_EQ(host->out.all<Classify>().back().limits, kUnknownRow);
}

TEST_F(Known, private_address_counts_only_over_the_network_that_named_it) {
  const Endpoint inside{ip("10.1.2.3"), 443};
  look_up(kResolver, inside.address);
  const Classify order = verdict(inside);
  EXPECT_EQ(order.trust, Trust::known);
  EXPECT_EQ(order.via, kOffice) << "the kernel holds the socket to it";
  host->via = kHotspot;
  expect_unknown(inside);
}

TEST_F(Known, an_upload_host_stays_one_however_popular) {
  look_up(kResolver, kServer.address, "content.dropboxapi.com");
  EXPECT_EQ(verdict(kServer, "content.dropboxapi.com").trust, Trust::upload);
}

TEST_F(Known, a_service_needs_the_same_proof) {
  Policy policy = desk();
  policy.known.clear();
  Service crm;
  crm.id = "crm";
  crm.domains = {"crm.example"};
  policy.services = {crm};
  begin(policy);
  expect_unknown(kEvil, "crm.example");
  look_up({ip("10.0.0.66"), 53}, kEvil.address, "crm.example");
  expect_unknown(kEvil, "crm.example");
  look_up(kResolver, kServer.address, "crm.example");
  expect_known(kServer, "crm.example");
  expect_unknown(kEvil, "www.teamviewer.com");
}

TEST_F(Known, is_nothing_where_no_resolver_of_the_policy_proves) {
  for (const bool named : {true, false}) {
    Policy policy = desk();
    policy.networks.clear();
    policy.resolvers.clear();
    if (named) policy.resolvers = {{kResolver.address, ""}};
    begin(policy);
    look_up(kResolver, kServer.address);
    expect_unknown(kServer);
  }
}

TEST_F(Known, ends_with_the_policy_that_lists_it) {
  look_up(kResolver, kServer.address);
  expect_known(kServer);
  Policy policy = desk();
  policy.known.clear();
  host->change(policy);
  EXPECT_EQ(host->out.all<Classify>().back().limits, kUnknownRow) << "an open flow";
  expect_unknown(kServer);
}

TEST_F(Known, usage_says_which_names_were_proven) {
  look_up(kResolver, kServer.address);
  for (const Endpoint& server : {kServer, kEvil}) {
    (void)verdict(server);
    const Endpoint client{kClient.address, static_cast<std::uint16_t>(cookie)};
    host->ledger({cookie, 7, 1000, 11}, {client, server, Transport::tcp}, 5'000, 100, true);
  }
  host->line.finish();
  bool proven = false;
  for (const UsageRow& row : host->out.rows) {
    EXPECT_EQ(row.name_proven, row.destination == "popular.example") << row.destination;
    proven = proven || row.name_proven;
  }
  EXPECT_TRUE(proven);
}

}  // namespace
}  // namespace weir
