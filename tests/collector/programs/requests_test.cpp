// `weirctl requests` from a host's question to what the host is told, with programs.
#include <future>

#include "tests/collector/programs/programs_fixture.h"

namespace weir {
namespace {

using Body = v1::CommandBody;

class RequestsOfPrograms : public ProgramsTest {
 protected:
  void SetUp() override {
    ProgramsTest::SetUp();
    host = enrol("desk-1");
    client = connect(host);
    ASSERT_TRUE(client->greet());
  }
  void ask_for(const std::string& id, const std::string& why) {
    v1::Record record;
    v1::ExceptionRequest& asked = *record.mutable_exception_request();
    asked.set_id(id);
    asked.mutable_person()->mutable_user()->set_uid(1'000);
    asked.mutable_person()->set_name("lin");
    asked.mutable_destination()->set_name("partner.example");
    asked.mutable_destination()->set_name_proven(proven);
    asked.set_rule("unknown-places");
    asked.set_justification(why);
    asked.set_bytes(64 << 10);
    asked.set_duration_s(3'600);
    ASSERT_TRUE(client->send_records(v1::Lane::audit, ++sent, {record}));
    ASSERT_TRUE(client->acknowledged(sent, v1::Lane::audit));
  }
  // What the host gets while weirctl runs; it answers with `outcome`.
  Body told(v1::CommandResult::Outcome outcome, const std::string& code = "") {
    Body body;
    v1::ConnectResponse response;
    while (client->read(response) && !response.has_command()) {
    }
    EXPECT_TRUE(body.ParseFromString(response.command().body()));
    v1::ConnectRequest answer;
    answer.mutable_command_result()->set_id(response.command().id());
    answer.mutable_command_result()->set_outcome(outcome);
    if (!code.empty()) answer.mutable_command_result()->add_why()->set_code(code);
    EXPECT_TRUE(client->send(answer));
    return body;
  }
  std::future<Ran> ctl_later(std::vector<std::string> words) {
    return std::async(std::launch::async, [this, words] { return ctl(words); });
  }

  PlayedHost host;
  std::unique_ptr<Client> client;
  std::uint64_t sent = 0;
  bool proven = true;  // that the next request is about a name that was
};

TEST_F(RequestsOfPrograms, what_is_asked_is_listed_and_a_hostile_word_changes_no_terminal) {
  ask_for("r-1", "figures\x1b[2J\nr-9  approved");
  const Ran table = ctl({"requests", "list"});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_EQ(std::count(table.out.begin(), table.out.end(), '\n'), 2) << table.out;
  EXPECT_EQ(table.out.find('\x1b'), std::string::npos);
  EXPECT_NE(table.out.find("figures\\x1b[2J\\x0ar-9"), std::string::npos) << table.out;
  for (const char* cell : {"r-1", "open", "desk-1", "lin (uid 1000)", "partner.example",
                           "unknown-places", "64.0 KiB", "1h"})
    EXPECT_NE(table.out.find(cell), std::string::npos) << cell << "\n" << table.out;
  const Ran json = ctl({"requests", "list", "--state", "open", "-o", "json"});
  EXPECT_NE(json.out.find("\"id\":\"r-1\""), std::string::npos) << json.out;
  EXPECT_EQ(json.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(ctl({"requests", "list", "--state", "denied", "-o", "json"}).out, "");
}

TEST_F(RequestsOfPrograms, an_approval_is_signed_told_and_holds_for_what_was_asked) {
  ask_for("r-1", "figures");
  auto approving = ctl_later({"requests", "approve", "r-1", "--note", "as agreed"});
  const Body body = told(v1::CommandResult::done);
  const Ran ran = approving.get();
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_NE(ran.err.find("approved: lin (uid 1000) may send 64.0 KiB to partner.example"),
            std::string::npos)
      << ran.err;
  EXPECT_EQ(body.verb(), Body::except);
  EXPECT_EQ(body.host_id(), host.id);
  EXPECT_EQ(body.lease_s(), 3'600u);
  EXPECT_EQ(body.exception().request_id(), "r-1");
  EXPECT_EQ(body.exception().bytes(), 64u << 10);
  EXPECT_EQ(body.exception().sets_aside(0), "unknown-places");
  EXPECT_EQ(body.exception().person().user().uid(), 1'000u);
  EXPECT_EQ(body.reason().args(1), "as agreed");
  EXPECT_NE(ctl({"requests", "list", "--state", "approved"}).out.find("r-1"), std::string::npos);
  const Ran twice = ctl({"requests", "deny", "r-1", "--note", "no"});
  EXPECT_EQ(twice.status, 1);
  EXPECT_NE(twice.err.find("admin has approved the request already"), std::string::npos)
      << twice.err;
}

TEST_F(RequestsOfPrograms, an_administrator_may_give_more_or_less_and_says_so) {
  ask_for("r-1", "figures");
  auto approving =
      ctl_later({"requests", "approve", "r-1", "--bytes", "1MiB", "--for", "2h", "-o", "json"});
  const Body body = told(v1::CommandResult::done);
  const Ran ran = approving.get();
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(body.exception().bytes(), 1u << 20);
  EXPECT_EQ(body.lease_s(), 7'200u);
  EXPECT_NE(ran.out.find("\"state\":\"approved\""), std::string::npos) << ran.out;
  EXPECT_EQ(ctl({"requests", "approve", "r-1", "--for", "25h"}).status, 2);
  EXPECT_EQ(ctl({"requests", "approve", "r-1", "--bytes", "-1"}).status, 2);
  const Ran nothing = ctl({"requests", "approve", "r-1", "--bytes", "0"});
  EXPECT_EQ(nothing.status, 2);
  EXPECT_TRUE(nothing.err.starts_with(
      "weirctl requests: --bytes: an exception is for at least 1 byte, at most 4GiB;"))
      << nothing.err;
  const Ran none = ctl({"requests", "approve", "r-7"});
  EXPECT_EQ(none.status, 1);
  EXPECT_EQ(none.err, "weirctl: there is no request r-7\n");
}

TEST_F(RequestsOfPrograms, at_a_terminal_nothing_is_signed_before_somebody_says_yes) {
  ask_for("r-1", "figures");
  const std::string question =
      "Sign an approval: lin (uid 1000) may send 64.0 KiB to partner.example beside the rule "
      "unknown-places, until ";
  for (const char* typed : {"n\n", "\n", "yes please, and all others\n", "\x04"}) {
    const Ran ran = ctl_at_a_terminal({"requests", "approve", "r-1"}, typed);
    EXPECT_EQ(ran.status, 1) << typed;
    EXPECT_NE(ran.out.find(question), std::string::npos) << ran.out;
    EXPECT_NE(ran.out.find("on host " + host.id + "? [y/N] "), std::string::npos) << ran.out;
    EXPECT_NE(ran.out.find("weirctl: nothing was signed"), std::string::npos) << ran.out;
  }
  EXPECT_NE(ctl({"requests", "list"}).out.find("r-1  open"), std::string::npos);
  auto approving = std::async(std::launch::async, [this] {
    return ctl_at_a_terminal({"requests", "approve", "r-1"}, "y\n");
  });
  EXPECT_EQ(told(v1::CommandResult::refused, "command_not_built").verb(), Body::except);
  EXPECT_EQ(approving.get().status, 1);
  auto denying = std::async(std::launch::async, [this] {
    return ctl_at_a_terminal({"requests", "deny", "r-1", "--note", "no", "--yes"}, "");
  });
  EXPECT_EQ(told(v1::CommandResult::done).verb(), Body::deny_request);
  const Ran denied = denying.get();
  EXPECT_EQ(denied.status, 0);
  EXPECT_EQ(denied.out,
            "denied: the request r-1 of lin (uid 1000), to send to partner.example, "
            "on host " +
                host.id + "\r\n");
}

TEST_F(RequestsOfPrograms, an_approval_for_a_name_that_nothing_proved_says_so_before_and_after) {
  proven = false;
  ask_for("r-1", "figures");
  const std::string warning =
      "weirctl: nothing had proven the name partner.example on that host when it was reported.";
  const Ran thought_over = ctl_at_a_terminal({"requests", "approve", "r-1"}, "n\n");
  EXPECT_NE(thought_over.out.find(warning), std::string::npos) << thought_over.out;
  EXPECT_LT(thought_over.out.find(warning), thought_over.out.find("[y/N]"));
  auto approving = ctl_later({"requests", "approve", "r-1"});
  EXPECT_FALSE(told(v1::CommandResult::done, "command_name_unproven")
                   .exception()
                   .destination()
                   .name_proven());
  const Ran done = approving.get();
  EXPECT_EQ(done.status, 0);
  EXPECT_TRUE(done.err.starts_with(warning)) << done.err;
  EXPECT_TRUE(
      done.err.ends_with("host desk-1 says: It holds only where its name is proven, and "
                         "where this was reported nothing had proven it.\n"))
      << done.err;
  ask_for("r-2", "figures");
  approving = ctl_later({"requests", "approve", "r-2"});
  (void)told(v1::CommandResult::refused, "command_unprovable");
  EXPECT_NE(approving.get().err.find("would never hold: no resolver of the policy"),
            std::string::npos);
  proven = true;
  ask_for("r-3", "figures");
  approving = ctl_later({"requests", "approve", "r-3"});
  EXPECT_TRUE(told(v1::CommandResult::done).exception().destination().name_proven());
  EXPECT_TRUE(approving.get().err.starts_with("approved: "));
}

TEST_F(RequestsOfPrograms, a_denial_reaches_the_person_and_a_refusal_of_the_host_is_told) {
  ask_for("r-1", "figures");
  auto approving = ctl_later({"requests", "approve", "r-1"});
  (void)told(v1::CommandResult::refused, "command_not_built");
  const Ran refused = approving.get();
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("host desk-1 refused: "), std::string::npos) << refused.err;
  EXPECT_NE(ctl({"requests", "list"}).out.find("approved, refused by its host"), std::string::npos);
  auto denying = ctl_later({"requests", "deny", "r-1", "--note", "ask the owner first"});
  const Body body = told(v1::CommandResult::done);
  EXPECT_EQ(denying.get().status, 0);
  EXPECT_EQ(body.verb(), Body::deny_request);
  EXPECT_EQ(body.exception().request_id(), "r-1");
  EXPECT_EQ(body.reason().args(0), "admin");
  EXPECT_EQ(body.reason().args(1), "ask the owner first");
}

TEST_F(RequestsOfPrograms, what_was_asked_and_decided_outlives_a_killed_collector) {
  ask_for("r-1", "figures");
  ask_for("r-2", "more figures");
  client.reset();
  stop(SIGKILL);
  start();
  auto approving = ctl_later({"requests", "approve", "r-2"});
  ASSERT_TRUE(soon([&] {
    return ctl({"requests", "list", "--state", "approved", "-o", "json"}).out.find("r-2") !=
           std::string::npos;
  }));
  stop(SIGKILL);
  EXPECT_NE(approving.get().status, 0) << "it could not say what became of it";
  start();
  client = connect(host);
  ASSERT_TRUE(client->greet());
  EXPECT_EQ(told(v1::CommandResult::done).exception().request_id(), "r-2");
  EXPECT_TRUE(soon([&] {
    const std::string out = ctl({"requests", "list"}).out;
    return out.find("r-1  open") != std::string::npos &&
           out.find("r-2  approved  ") != std::string::npos;
  })) << ctl({"requests", "list"}).out;
}

}  // namespace
}  // namespace weir
