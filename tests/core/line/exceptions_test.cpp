// An exception sets rules aside for one person and one proven destination, until it ends; whatever
// it does not name counts on.
#include "core/policy/exceptions.h"

#include "core/policy/explain.h"
#include "tests/core/line/host.h"

namespace weir {
namespace {

using Field = Condition::Field;
using traffic::ip;

constexpr const char* kName = "files.corp.example";
const Endpoint kAsker{ip("10.0.0.5"), 5353};
const Endpoint kResolver{ip("10.0.0.53"), 53};
const Endpoint kServer{ip("203.0.113.9"), 443};
constexpr std::uint64_t kElsewhere = 1, kDaily = 2, kFixed = 4;
constexpr std::int64_t kMinute = 60'000'000'000;

Condition not_approved() {
  Condition when;
  when.kind = Condition::Kind::none;
  when.parts = {leaf(Field::destination_approved, {})};
  return when;
}

// Rows: 0 elsewhere, 1 daily, 2 of `fixed`, which nothing lifts; a rule of findings adds row 3.
Policy desk() {
  Policy policy;
  policy.mode = Mode::enforce;
  trust_resolver(policy, kResolver.address);
  add_limit(policy, "elsewhere", not_approved(), 1000, Per::person);
  add_limit(policy, "daily", not_approved(), 9000, Per::person);
  add_limit(policy, "fixed", not_approved(), 90'000, Per::person);
  policy.limits[2].liftable = false;
  return policy;
}

class Exceptions : public testing::Test {
 protected:
  Exceptions() { begin(desk()); }
  void begin(Policy policy) {
    host = std::make_unique<Host>(std::move(policy));
    host->interface("tun0", kOffice);
    host->via = kOffice;
  }
  void prove(const char* whose = kName, const Endpoint& at = kServer) {
    const SocketRef socket{1, 7, 1000, 11};
    host->packet(traffic::udp(kAsker, kResolver, traffic::dns_query(7, whose)), socket);
    host->packet(traffic::udp(kResolver, kAsker, traffic::dns_answer(7, whose, at.address)), socket,
                 false);
  }
  Exception one() {
    Exception out;
    out.number = 5;
    out.person = 1000;
    out.domain = "corp.example";
    out.sets_aside = {"elsewhere", "fixed"};
    out.bytes = 1 << 20;
    out.until_boot_ns = host->stamp().boot_ns + 10 * kMinute;
    return out;
  }
  void hold(std::vector<Exception> all) {
    host->line.on({host->stamp(), ExceptionsChanged{std::make_shared<const std::vector<Exception>>(
                                      std::move(all))}});
  }
  Classify last() {
    const auto orders = host->out.all<Classify>();
    return orders.empty() ? Classify{} : orders.back();
  }
  Classify flow(PersonId person = 1000, const char* said = kName, const Endpoint& to = kServer) {
    ++cookie;
    socket = {cookie, 7, person, 11};
    key = host->hello(socket, {kAsker.address, static_cast<std::uint16_t>(cookie)}, to, said);
    EXPECT_EQ(last().cookie, cookie);
    return last();
  }

  std::unique_ptr<Host> host;
  std::uint64_t cookie = 77;
  SocketRef socket;
  FlowKey key;
};

TEST_F(Exceptions, sets_its_rules_aside_where_the_name_is_proven_and_no_other_row) {
  prove();
  hold({one()});
  const Classify order = flow();
  EXPECT_EQ(order.limits, kDaily | kFixed)
      << "neither a rule that it does not name, nor a row that "
         "nothing lifts";
  EXPECT_EQ(order.exception, 5u);
}

TEST_F(Exceptions, of_a_name_is_nothing_that_a_client_only_claims) {
  hold({one()});
  const Classify order = flow();
  EXPECT_EQ(order.limits, kElsewhere | kDaily | kFixed);
  EXPECT_EQ(order.exception, 0u);
  prove("front.example");
  EXPECT_EQ(flow().exception, 0u) << "another name led there";
}

TEST_F(Exceptions, holds_for_its_person_its_destination_and_an_enforced_policy_alone) {
  prove();
  prove("mail.other.example", {ip("198.51.100.7"), 443});
  hold({one()});
  EXPECT_EQ(flow(1001).exception, 0u);
  EXPECT_EQ(flow(1001).limits, kElsewhere | kDaily | kFixed);
  EXPECT_EQ(flow(1000, "mail.other.example", {ip("198.51.100.7"), 443}).exception, 0u);
  Exception narrow = one();
  narrow.domain = "else.corp.example";
  hold({narrow});
  EXPECT_EQ(flow().exception, 0u) << "a name beside it";
  Policy observing = desk();
  observing.mode = Mode::observe;
  host->change(observing);
  hold({one()});
  EXPECT_EQ(flow().exception, 0u);
}

TEST_F(Exceptions, of_an_address_needs_no_name_and_holds_whatever_is_said_there) {
  Exception by_address = one();
  by_address.domain = "";
  by_address.prefix = {kServer.address, 128};
  hold({by_address});
  EXPECT_EQ(flow().exception, 5u) << "also where a name is only claimed";
  prove("front.example");
  EXPECT_EQ(flow(1000, "front.example").limits, kDaily | kFixed);
  EXPECT_EQ(flow(1000, "front.example", {ip("203.0.113.10"), 443}).exception, 0u);
}

TEST_F(Exceptions, are_applied_to_open_flows_when_they_come_and_taken_off_when_they_go) {
  prove();
  EXPECT_EQ(flow().exception, 0u);
  const std::uint64_t open = cookie;
  hold({one()});
  EXPECT_EQ(last().cookie, open);
  EXPECT_EQ(last().exception, 5u);
  EXPECT_EQ(last().limits, kDaily | kFixed);
  const std::size_t orders = host->out.orders.size();
  hold({one()});
  EXPECT_EQ(host->out.orders.size(), orders) << "nothing is another than before";
  hold({});
  EXPECT_EQ(last().exception, 0u);
  EXPECT_EQ(last().limits, kElsewhere | kDaily | kFixed);
}

TEST_F(Exceptions, end_before_the_kernel_refuses) {
  prove();
  hold({one()});
  EXPECT_EQ(flow().exception, 5u);
  host->pass(590);
  EXPECT_EQ(last().exception, 5u);
  host->pass(9);
  EXPECT_EQ(last().exception, 0u) << "flows are back at their rows before its last second";
  EXPECT_EQ(last().limits, kElsewhere | kDaily | kFixed);
  EXPECT_EQ(flow().exception, 0u);
}

TEST_F(Exceptions, one_that_is_spent_is_reported_and_the_ordinary_rows_count) {
  prove();
  hold({one()});
  EXPECT_EQ(flow().exception, 5u);
  host->line.on({host->stamp(), AccountSpent{socket, key, kExceptionsRow, 5, 4096}});
  EXPECT_EQ(last().exception, 5u) << "far from spent: its row was refused for another reason";
  host->line.on({host->stamp(), AccountSpent{socket, key, kExceptionsRow, 6, 1 << 20}});
  EXPECT_EQ(last().exception, 5u) << "another's";
  host->line.on({host->stamp(), AccountSpent{socket, key, kExceptionsRow, 5, (1 << 20) - 1000}});
  EXPECT_EQ(last().exception, 0u);
  EXPECT_EQ(flow().exception, 0u);
  hold({one()});
  EXPECT_EQ(flow().exception, 0u) << "told again, it is spent still";
  ASSERT_FALSE(host->out.last().empty());
  const Report report = host->out.last().back();
  EXPECT_EQ(report.decision.rule, kExceptionsRule);
  const Reason& why = report.finding.because.front();
  EXPECT_EQ(why.code, "exception_spent");
  EXPECT_EQ(
      explain(why, Language::english),
      "An exception let this person send 1 MiB to corp.example. 1023 KiB were sent by it, and "
      "what is left of it is too little for the next packet: it is over, and the ordinary "
      "limits hold again.")
      << "the place is what was granted, not what the flow's name falls under";
  EXPECT_EQ(explain(why, Language::chinese),
            "一项例外允许此人向 corp.example 发出 1 MiB。已凭此发出 1023 KiB，余额不足以发出下一个"
            "数据包：该例外已结束，普通限额重新生效。");
}

TEST_F(Exceptions, of_an_address_names_it_when_it_is_spent) {
  Exception by_address = one();
  by_address.domain = "";
  by_address.prefix = {kServer.address, 128};
  hold({by_address});
  EXPECT_EQ(flow().exception, 5u);
  host->line.on({host->stamp(), AccountSpent{socket, key, kExceptionsRow, 5, 1 << 20}});
  host->pass(1);
  EXPECT_EQ(host->out.last().back().finding.because.front().args.at(1), "203.0.113.9");
}

TEST_F(Exceptions, one_that_its_time_ended_is_not_told_as_used_up) {
  prove();
  Exception small = one();
  small.bytes = 64 << 10;
  hold({small});
  EXPECT_EQ(flow().exception, 5u);
  host->script.now_ns += 10 * kMinute;
  host->line.on({host->stamp(), AccountSpent{socket, key, kExceptionsRow, 5, 0}});
  EXPECT_EQ(last().exception, 0u) << "its flows are at the ordinary rows";
  host->pass(1);
  for (const Report& report : host->out.reports) EXPECT_NE(report.decision.rule, kExceptionsRule);
}

TEST_F(Exceptions, are_not_spent_by_another_person_whom_their_account_refused) {
  prove();
  Exception small = one();
  small.bytes = 1000;
  hold({small});
  EXPECT_EQ(flow().exception, 5u);
  const SocketRef owner = socket;
  const FlowKey theirs = key;
  EXPECT_EQ(flow().exception, 5u);
  const SocketRef other{socket.cookie, 8, 1001, 12};  // it was handed over
  host->line.on({host->stamp(), AccountSpent{other, key, kExceptionsRow, 5, 0}});
  EXPECT_EQ(last().cookie, other.cookie);
  EXPECT_EQ(last().exception, 0u) << "it goes by its own rows";
  EXPECT_EQ(last().limits, kElsewhere | kDaily | kFixed);
  EXPECT_TRUE(host->out.last().empty()) << "nothing of theirs is used up";
  host->line.on({host->stamp(), AccountSpent{other, key, 0, 0, 1000}});
  ASSERT_EQ(host->out.last().size(), 1u);
  const Report ordinary = host->out.last().back();
  EXPECT_EQ(ordinary.decision.rule, "elsewhere");
  EXPECT_EQ(ordinary.finding.because.front().code, "limit_total_spent");
  EXPECT_EQ(ordinary.actor.person, 1001u);
  EXPECT_EQ(flow().exception, 5u) << "of whom it is, it holds still";
  host->line.on({host->stamp(), AccountSpent{owner, theirs, kExceptionsRow, 5, 900}});
  EXPECT_EQ(host->out.last().back().finding.because.front().code, "exception_spent");
  EXPECT_EQ(host->out.last().back().actor.person, 1000u);
  EXPECT_EQ(flow().exception, 0u);
}

TEST_F(Exceptions, reports_say_whether_one_for_their_name_would_hold) {
  const auto stopped = [&] {
    flow();
    host->spent(socket, key, 0, 1000);
    host->pass(1);
    return host->out.last().back().destination;
  };
  EXPECT_FALSE(stopped().name_proven) << "the client said it, nobody answered it";
  begin(desk());
  prove();
  const Destination proven = stopped();
  EXPECT_TRUE(proven.name_proven);
  EXPECT_EQ(proven.name, kName);
}

TEST_F(Exceptions, name_the_block_that_they_lift) {
  Policy policy = desk();
  add_rule(policy, "closed", leaf(Field::destination_domain, {"corp.example"}), Action::block);
  begin(policy);
  prove();
  hold({one()});
  flow();
  ASSERT_FALSE(host->out.last().empty());
  EXPECT_EQ(host->out.last().back().decision.action, Action::block);
  EXPECT_EQ(host->out.all<Block>().size(), 1u);
  begin(policy);
  prove();
  Exception lifted = one();
  lifted.sets_aside.push_back("closed");
  hold({lifted});
  flow();
  EXPECT_EQ(host->out.all<Block>().size(), 0u);
}

TEST_F(Exceptions, charge_what_a_finding_brings_unless_they_name_its_rule) {
  Policy policy = desk();
  add_limit(policy, "bulk", leaf(Field::detector, {"bulk_egress"}), 5000, Per::person);
  begin(policy);
  prove();
  Exception bulk = one();
  bulk.sets_aside = {"bulk"};
  hold({bulk});
  EXPECT_EQ(flow().exception, 0u) << "nothing that it names applies yet";
  host->ledger(socket, key, 400'000'000, 1000);
  EXPECT_EQ(last().exception, 5u) << "the finding's row is set aside, the exception's counts";
  EXPECT_EQ(last().limits & 8, 0u);
  hold({});
  EXPECT_EQ(last().limits & 8, 8u) << "and it comes back when the exception goes";
}

}  // namespace
}  // namespace weir
