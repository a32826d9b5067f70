// Flows that wait for an answer, as the line tells of them: that they wait, why they went on or
// were closed, and what somebody said.
#include "core/policy/exceptions.h"
#include "core/policy/explain.h"
#include "tests/core/line/host.h"

namespace weir {
namespace {

using Field = Condition::Field;
using traffic::ip;

const Endpoint kClient{ip("10.0.0.5"), 40001};
const Endpoint kServer{ip("203.0.113.9"), 443};
constexpr std::uint64_t kUploads = 1, kAsk = 2;  // rows

Policy desk(Mode mode = Mode::enforce) {
  Policy policy;
  policy.mode = mode;
  add_limit(policy, "uploads", leaf(Field::destination_domain, {"files.example"}), 1 << 20,
            Per::person);
  add_rule(policy, "ask-first", leaf(Field::destination_domain, {"files.example"}), Action::hold);
  policy.rules[1].hold = Hold{45'000'000'000, "justification", Action::block};
  policy.rules[1].limits = {1};
  Limit row;
  row.rule = "ask-first";
  row.per = Per::process_tree_destination;
  policy.limits.push_back(row);
  return policy;
}

class Holds : public testing::Test {
 protected:
  void begin(Mode mode = Mode::enforce) { host = std::make_unique<Host>(desk(mode)); }
  void say(const char* name) { key = host->hello(socket, kClient, kServer, name); }
  void held(std::uint32_t row = 1) {
    host->line.on({host->stamp(), FlowHeld{socket, key, row, 4711, 16'000, 500}});
  }
  void ended(HoldEnded::How how, std::string_view because = "") {
    HoldEnded out;
    out.socket = socket;
    out.flow = key;
    out.limit = 1;
    out.destination = 4711;
    out.how = how;
    out.by = 1000;
    out.because = because;
    host->line.on({host->stamp(), out});
  }
  Report only() {
    const auto reports = host->out.last();
    EXPECT_EQ(reports.size(), 1u);
    return reports.empty() ? Report{} : reports.back();
  }

  std::unique_ptr<Host> host;
  SocketRef socket{77, 7, 1000, 11};
  FlowKey key;
};

TEST_F(Holds, a_flow_under_a_rule_that_holds_gets_its_row_and_no_report_until_it_waits) {
  begin();
  say("files.example");
  const auto orders = host->out.all<Classify>();
  ASSERT_FALSE(orders.empty());
  EXPECT_EQ(orders.back().limits, kUploads | kAsk);
  EXPECT_TRUE(host->out.reports.empty()) << "most flows never send more than their first flight";
  held();
  const Report report = only();
  EXPECT_EQ(report.decision.action, Action::hold);
  EXPECT_TRUE(report.decision.enforced);
  EXPECT_EQ(report.decision.rule, "ask-first");
  EXPECT_EQ(report.destination.name, "files.example");
  ASSERT_EQ(report.finding.because.size(), 1u);
  EXPECT_EQ(report.finding.because[0],
            (Reason{"held_then_closed", {"ask-first", "files.example", "45"}}));
}

TEST_F(Holds, what_somebody_says_is_a_revision_of_the_same_report) {
  begin();
  say("files.example");
  held();
  const std::string id = only().id;
  ended(HoldEnded::How::answered, "the yearly statement, for the auditor");
  const Report report = only();
  EXPECT_EQ(report.id, id);
  EXPECT_EQ(report.revision, 2u);
  EXPECT_EQ(report.finding.because[0],
            (Reason{"hold_answered", {"1000", "the yearly statement, for the auditor"}}));
  EXPECT_NE(explain(report.finding.because[0], Language::english).find("the auditor"),
            std::string::npos);
  EXPECT_NE(explain(report.finding.because[0], Language::chinese).find("the auditor"),
            std::string::npos);
}

TEST_F(Holds, every_end_says_which_it_was) {
  for (const auto& [how, code] : {std::pair{HoldEnded::How::closed, "hold_closed"},
                                  std::pair{HoldEnded::How::let_go, "hold_let_go"},
                                  std::pair{HoldEnded::How::too_many, "hold_too_many"}}) {
    begin();
    say("files.example");
    held();
    ended(how);
    EXPECT_EQ(only().finding.because[0].code, code);
  }
}

TEST_F(Holds, an_end_that_comes_after_the_flow_is_gone_still_names_its_place) {
  begin();
  say("files.example");
  held();
  host->ledger(socket, key, 16'000, 500, true);
  host->pass(2);
  ended(HoldEnded::How::closed);
  EXPECT_EQ(only().destination.name, "files.example");
  EXPECT_EQ(only().finding.because[0].code, "hold_closed");
}

TEST_F(Holds, a_flow_that_waits_and_is_not_under_the_rule_gets_its_verdict_at_once) {
  begin();
  key = {kClient, kServer, Transport::tcp};
  held();  // nothing of it was seen: an engine that has just started
  const auto orders = host->out.all<Classify>();
  ASSERT_FALSE(orders.empty());
  EXPECT_EQ(orders.back().cookie, socket.cookie);
  EXPECT_EQ(orders.back().limits & kAsk, 0u);
  EXPECT_TRUE(host->out.reports.empty());
}

TEST_F(Holds, an_exception_for_the_place_takes_the_flow_off_the_row) {
  Policy policy = desk();
  trust_resolver(policy, ip("10.0.0.53"));
  host = std::make_unique<Host>(policy);
  host->interface("tun0", kOffice);
  host->via = kOffice;
  host->look_up({kClient.address, 5353}, {ip("10.0.0.53"), 53}, "files.example", kServer.address,
                {1, 7, 1000, 11});
  say("files.example");
  held();
  Exception one;
  one.number = 5;
  one.person = 1000;
  one.domain = "files.example";
  one.sets_aside = {"ask-first"};
  one.bytes = 1 << 20;
  one.until_boot_ns = host->stamp().boot_ns + 600'000'000'000;
  host->line.on({host->stamp(), ExceptionsChanged{std::make_shared<const std::vector<Exception>>(
                                    std::vector<Exception>{one})}});
  const auto orders = host->out.all<Classify>();
  EXPECT_EQ(orders.back().cookie, socket.cookie);
  EXPECT_EQ(orders.back().limits & kAsk, 0u);
  EXPECT_EQ(orders.back().exception, 5u);
}

TEST_F(Holds, in_observe_the_decision_is_told_and_nothing_waits) {
  begin(Mode::observe);
  say("files.example");
  EXPECT_EQ(only().decision.action, Action::hold);
  EXPECT_FALSE(only().decision.enforced);
}

TEST_F(Holds, an_end_of_no_row_that_holds_is_nothing) {
  begin();
  say("files.example");
  HoldEnded out;
  out.socket = socket;
  out.flow = key;
  for (std::uint32_t row : {0u, 2u, 63u, 4'000'000'000u}) {
    out.limit = row;
    host->line.on({host->stamp(), out});
  }
  held(0);
  held(99);
  EXPECT_TRUE(host->out.reports.empty() || host->out.last().back().decision.action != Action::hold);
}

}  // namespace
}  // namespace weir
