// A blocked name: which flows and addresses get its key, by which the kernel refuses them.
#include "core/policy/shuts.h"

#include "core/line/answers.h"
#include "core/net/domain.h"
#include "core/policy/exceptions.h"
#include "tests/core/line/host.h"

namespace weir {
namespace {

using traffic::ip;

constexpr const char* kName = "files.evil.example";
const Endpoint kAsker{ip("10.0.0.5"), 5353};
const Endpoint kResolver{ip("10.0.0.53"), 53};
const Endpoint kServer{ip("203.0.113.9"), 443};

class Shuts : public testing::Test {
 protected:
  Shuts() {
    Policy policy;
    policy.mode = Mode::enforce;
    trust_resolver(policy, kResolver.address);
    host = std::make_unique<Host>(std::move(policy));
    host->interface("tun0", kOffice);
    host->via = kOffice;
  }
  void answer(const char* name = kName, const Endpoint& at = kServer) {
    const SocketRef who{1, 7, 1000, 11};
    host->packet(traffic::udp(kAsker, kResolver, traffic::dns_query(7, name)), who);
    host->packet(traffic::udp(kResolver, kAsker, traffic::dns_answer(7, name, at.address)), who,
                 false);
  }
  static Exception shut(const char* domain, PersonId person = kNoPerson, std::uint32_t slot = 3) {
    Exception one;
    one.number = slot + 1;
    one.domain = domain;
    one.person = person;
    one.until_boot_ns = std::int64_t{1} << 62;
    return one;
  }
  void hold(std::vector<Exception> all) {
    host->line.on({host->stamp(), ExceptionsChanged{std::make_shared<const std::vector<Exception>>(
                                      std::move(all))}});
  }
  std::uint64_t key_of_flow(const char* said, PersonId person = 1000,
                            const Endpoint& to = kServer) {
    ++cookie;
    socket = {cookie, 7, person, 11};
    flow = host->hello(socket, {kAsker.address, static_cast<std::uint16_t>(cookie)}, to, said);
    return last();
  }
  std::uint64_t last() const {
    const auto orders = host->out.all<Classify>();
    return orders.empty() ? 0 : orders.back().destination;
  }
  std::uint64_t last_of(const IpAddress& address) const {
    std::uint64_t key = 0;
    for (const ClassifyAddress& order : host->out.all<ClassifyAddress>())
      if (order.address == address) key = order.destination;
    return key;
  }

  std::unique_ptr<Host> host;
  std::uint64_t cookie = 77;
  SocketRef socket;
  FlowKey flow;
};

TEST_F(Shuts, name_has_the_flows_that_say_it_or_what_is_below_it) {
  hold({shut("evil.example")});
  const std::uint64_t key = destination_key("evil.example");
  EXPECT_EQ(key_of_flow(kName), key) << "a name that nobody answered counts";
  EXPECT_EQ(key_of_flow("evil.example"), key);
  EXPECT_NE(key_of_flow("notevil.example"), key);
  EXPECT_NE(key_of_flow("good.example"), key);
}

TEST_F(Shuts, name_has_what_is_open_at_once_and_gives_it_back) {
  answer();
  const std::uint64_t before = key_of_flow(kName);
  EXPECT_NE(before, destination_key(kName));
  hold({shut(kName)});
  EXPECT_EQ(last(), destination_key(kName));
  hold({});
  EXPECT_EQ(last(), before);
}

TEST_F(Shuts, name_has_the_addresses_that_led_to_it_also_those_of_later) {
  answer();
  EXPECT_NE(last_of(kServer.address), destination_key(kName));
  hold({shut(kName)});
  EXPECT_EQ(last_of(kServer.address), destination_key(kName)) << "known before";
  const Endpoint later{ip("198.51.100.7"), 443};
  answer(kName, later);
  EXPECT_EQ(last_of(later.address), destination_key(kName));
  hold({});
  EXPECT_NE(last_of(kServer.address), destination_key(kName));
  EXPECT_NE(last_of(later.address), destination_key(kName));
}

TEST_F(Shuts, name_has_what_says_none_where_it_was_answered_but_not_what_says_a_neighbour) {
  answer();
  hold({shut(kName)});
  EXPECT_EQ(key_of_flow("invented.example"), destination_key(kName)) << "nobody answered that";
  answer("neighbour.example");
  EXPECT_NE(key_of_flow("neighbour.example"), destination_key(kName));
  EXPECT_EQ(key_of_flow(kName), destination_key(kName));
}

// An engine that was started again has heard no answer.
TEST_F(Shuts, name_has_the_addresses_that_it_was_seen_at_before) {
  Exception seen = shut(kName);
  seen.prefix = {kServer.address, 128};
  hold({shut(kName), seen});
  const std::uint64_t key = destination_key(kName);
  EXPECT_EQ(key_of_flow("invented.example"), key) << "nobody answered that";
  EXPECT_NE(key_of_flow("invented.example", 1000, {ip("203.0.113.10"), 443}), key);
  answer("neighbour.example");
  EXPECT_EQ(last_of(kServer.address), key) << "for what says nothing";
  EXPECT_NE(key_of_flow("neighbour.example"), key);
  hold({shut(kName, 1001), seen});
  EXPECT_NE(key_of_flow("invented.example", 1000), key) << "another person's";
  hold({seen});
  EXPECT_NE(key_of_flow("invented.example"), key) << "it has ended";
}

TEST_F(Shuts, name_is_its_persons_and_of_two_the_narrower_counts) {
  hold({shut("evil.example", 1000, 1), shut(kName, 1001, 2)});
  EXPECT_EQ(key_of_flow(kName, 1000), destination_key("evil.example"));
  EXPECT_EQ(key_of_flow(kName, 1001), destination_key(kName));
  EXPECT_NE(key_of_flow(kName, 1002), destination_key(kName));
  hold({shut("evil.example", kNoPerson, 1), shut(kName, 1001, 2)});
  EXPECT_EQ(key_of_flow(kName, 1001), destination_key(kName));
  hold({shut("evil.example", kNoPerson, 1)});
  EXPECT_EQ(last(), destination_key("evil.example")) << "the other goes on";
}

TEST_F(Shuts, address_is_renewed_as_long_as_its_answer_holds) {
  answer();
  hold({shut(kName)});
  const std::size_t before = host->out.all<ClassifyAddress>().size();
  host->pass(160);
  EXPECT_GT(host->out.all<ClassifyAddress>().size(), before);
}

TEST_F(Shuts, address_is_named_again_once_a_policy_came) {
  answer();
  hold({shut(kName)});
  const std::size_t before = host->out.all<ClassifyAddress>().size();
  Policy next;
  next.mode = Mode::enforce;
  trust_resolver(next, kResolver.address);
  host->change(std::move(next));
  EXPECT_GT(host->out.all<ClassifyAddress>().size(), before) << "the swap took its prefix";
  EXPECT_EQ(last_of(kServer.address), destination_key(kName));
}

TEST_F(Shuts, place_is_told_to_whom_it_was_refused) {
  answer();
  hold({shut(kName)});
  (void)key_of_flow(kName);
  AccountSpent spent;
  spent.socket = socket;
  spent.flow = flow;
  spent.limit = kShutRow;
  spent.destination = 3;
  host->line.on({host->stamp(), spent});
  host->line.finish();
  ASSERT_FALSE(host->out.reports.empty());
  const Report& report = host->out.reports.back();
  EXPECT_EQ(report.decision.rule, kShutRule);
  EXPECT_EQ(report.decision.action, Action::block);
  ASSERT_EQ(report.finding.because.size(), 1u);
  EXPECT_EQ(report.finding.because[0].code, "place_blocked");
  EXPECT_EQ(report.finding.because[0].args, std::vector<std::string>{kName});
}

}  // namespace
}  // namespace weir
