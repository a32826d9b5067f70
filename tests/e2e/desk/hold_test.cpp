// A rule that holds, with the real programs: an upload waits, whoever owns it says why, and it goes
// on; or nobody does, and it is gone with its queue. Also where the engine or the guard is killed.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include "tests/e2e/desk/guarded_desk.h"

namespace weir {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kFlight = 16 << 10;
constexpr std::uint64_t kUpload = 500'000;
constexpr std::uint64_t kEndless = 200'000'000;  // more than a socket's queue takes

class HoldOnADesk : public GuardedDesk {
 protected:
  void hold(const std::string& what) {
    offer({.number = ++number_, .then = "{hold: {" + what + "}}"});
    ASSERT_EQ(next_state(), "1 " + std::to_string(number_) + "  0") << errors();
  }
  // One that stays when it has written all of it; or several, or an endless one, that says when it
  // is refused.
  pid_t upload(std::uint64_t bytes = kUpload, int count = 1) {
    const bool stays = count == 1 && bytes <= kUpload;
    return desk_->start({"--to", test::kPeer4, "--shape", stays ? "stay" : "flows", "--bytes",
                         std::to_string(bytes), "--count", std::to_string(count), "--ms",
                         "120000"});
  }
  std::uint64_t settled() { return desk_->settled(milliseconds(900), milliseconds(8000)); }
  std::vector<KernelHold> holds() { return read_holds((base_ / "bpf").string()); }
  bool await_holds(std::size_t count) {
    return await([&] { return holds().size() >= count; });
  }
  // By entries that are no flow's and of no rule: nothing finds room in the table any more.
  void fill_holds() {
    const std::string pin = base_ / "bpf" / "weir" / std::to_string(WEIR_LAYOUT) / "maps" / "holds";
    const int map = bpf_obj_get(pin.c_str());
    ASSERT_GE(map, 0);
    weir_hold none{};
    none.limit = WEIR_LIMITS;
    std::uint64_t cookie = std::uint64_t{1} << 60;
    while (bpf_map_update_elem(map, &cookie, &none, BPF_ANY) == 0) ++cookie;
    ::close(map);
    EXPECT_EQ(cookie & 0xffff, WEIR_HOLDS);
  }
  // The id that `weir status` shows of the first that waits.
  std::string id() {
    std::string found;
    await([&] {
      const std::string text = status();
      const std::size_t at = text.find("waits ");
      if (at != std::string::npos) found = text.substr(at + 6, 8);
      return !found.empty();
    });
    return found;
  }
  std::string last_report(const std::string& words) {
    std::string found;
    await([&] {
      std::ifstream file(state() / "reports.jsonl");
      for (std::string line; std::getline(file, line);)
        if (line.find(words) != std::string::npos) found = line;
      return !found.empty();
    });
    return found;
  }
  // To whatever account: a row that holds charges nothing.
  std::uint64_t charged() {
    const Result<PinnedTables> tables = read_pinned((base_ / "bpf").string());
    EXPECT_TRUE(tables) << (tables ? "" : tables.error().sentence);
    std::uint64_t sum = 0;
    for (const KernelAccount& account : tables ? tables->accounts : std::vector<KernelAccount>{})
      if (account.key.per == WEIR_PER_PERSON) sum += account.value.charged;
    return sum;
  }
  std::uint32_t number_ = 0;
};

TEST_F(HoldOnADesk, waits_until_the_person_says_why_and_then_all_of_it_leaves_once) {
  hold("for: 45s, ask: justification");
  upload();
  ASSERT_TRUE(await_holds(1)) << errors();
  const std::uint64_t flight = settled();
  EXPECT_GT(flight, 0u);
  EXPECT_LE(flight, kFlight);
  const std::string waits = id();
  ASSERT_EQ(waits.size(), 8u) << status();
  EXPECT_NE(status().find("rule pushed: ends in "), std::string::npos) << status();
  EXPECT_NE(last_report("\"hold\"").find("\"action\":\"hold\""), std::string::npos);

  EXPECT_EQ(ask("answer 00000000 --because x").first, 1) << "nobody's";
  EXPECT_EQ(ask("answer " + waits + "0 --because x").first, 1);
  EXPECT_EQ(ask("answer " + waits + " --because ''").first, 2);
  EXPECT_EQ(ask("answer " + waits + " --because " + std::string(4001, 'x')).first, 2);
  EXPECT_LE(desk_->received(), kFlight) << "none of these is an answer";

  const auto [status, text] = ask("answer " + waits + " --because 'for the auditor'");
  EXPECT_EQ(status, 0) << text << errors();
  EXPECT_TRUE(await([&] { return desk_->received() == kUpload; })) << desk_->received();
  const std::string report = last_report("hold_answered");
  EXPECT_NE(report.find("for the auditor"), std::string::npos) << report;
  EXPECT_EQ(settled(), kUpload) << "each byte once";
  EXPECT_EQ(ask("answer " + waits + " --because again").first, 1) << "it has ended";
}

TEST_F(HoldOnADesk, that_nobody_answers_is_closed_with_its_queue) {
  hold("for: 3s, ask: justification, otherwise: block");
  const pid_t pid = upload(kEndless);
  ASSERT_TRUE(await_holds(1)) << errors();
  const std::string waits = id();
  const test::Outcome outcome = desk_->finish(pid);
  EXPECT_NE(outcome.output.find("send: "), std::string::npos) << outcome.output;
  EXPECT_LE(settled(), kFlight);
  EXPECT_TRUE(holds().empty());
  EXPECT_NE(last_report("hold_closed").find("\"action\":\"hold\""), std::string::npos) << errors();
  EXPECT_EQ(ask("answer " + waits + " --because late").first, 1);
  EXPECT_LE(settled(), kFlight) << "what was refused does not come back";
}

TEST_F(HoldOnADesk, that_nobody_answers_goes_on_where_the_rule_says_so) {
  hold("for: 2s, otherwise: allow");
  upload();
  ASSERT_TRUE(await_holds(1)) << errors();
  EXPECT_TRUE(await([&] { return desk_->received() == kUpload; })) << desk_->received();
  EXPECT_FALSE(last_report("hold_let_go").empty());
}

TEST_F(HoldOnADesk, that_asks_for_approval_goes_on_with_an_exception_for_the_place) {
  hold("for: 45s, ask: approval");
  upload();
  ASSERT_TRUE(await_holds(1)) << errors();
  EXPECT_LE(settled(), kFlight);
  EXPECT_EQ(grant({}), "command 1  ") << errors();
  EXPECT_TRUE(await([&] { return desk_->received() == kUpload; })) << desk_->received();
  EXPECT_TRUE(holds().empty());
}

TEST_F(HoldOnADesk, the_257th_of_a_person_is_closed_at_once_and_said) {
  hold("for: 45s, ask: justification");
  const pid_t pid = upload(40'000, 260);
  ASSERT_TRUE(await_holds(256)) << holds().size() << errors();
  EXPECT_FALSE(last_report("hold_too_many").empty()) << errors();
  EXPECT_LE(settled(), 260 * kFlight);
  EXPECT_EQ(holds().size(), 256u);
  const std::uint64_t before = desk_->received();
  EXPECT_EQ(ask("answer " + id() + " --because 'all of them'").first, 0);
  EXPECT_TRUE(await([&] { return desk_->received() >= 256 * 40'000u; })) << desk_->received();
  EXPECT_GT(desk_->received(), before);
  EXPECT_LE(settled(), 256 * 40'000u + 4 * kFlight);
  desk_->end(pid);
}

// The person's account has room for their first flights and for little more than that.
TEST_F(HoldOnADesk, of_two_hundred_flows_goes_on_and_passes_no_byte_beyond_the_account) {
  constexpr std::uint64_t kAccount = 1'000'000;
  constexpr std::size_t kEach = 100;
  offer({.number = ++number_,
         .then = "{hold: {for: 45s, ask: justification}}",
         .more = "  - id: account\n    then: {limit: {bytes: 1000kB, per: person}}\n",
         .defaults = "{first_flight: 4KiB}"});
  ASSERT_EQ(next_state(), "1 " + std::to_string(number_) + "  0") << errors();
  for (const char* to : {test::kPeer4, test::kPeer6})
    desk_->start({"--to", to, "--size", "1000", "--count", std::to_string(kEach), "--bytes",
                  "40000", "--ms", "120000"});
  ASSERT_TRUE(await_holds(2 * kEach)) << holds().size() << errors();
  const std::uint64_t flights = settled();
  EXPECT_LE(flights, 2 * kEach * 4096);
  for (int place = 0; place < 2; place++)
    EXPECT_TRUE(await([&] { return ask("answer " + id() + " --because 'all'").first == 0; }))
        << status();
  EXPECT_TRUE(await([&] { return holds().empty() && charged() > kAccount - 2000; })) << charged();
  const std::uint64_t received = settled();
  fmt::print("200 flows held with {} of {}, answered: charged {}, received {}\n", flights, kAccount,
             charged(), received);
  EXPECT_GT(received, flights) << "they went on";
  EXPECT_LE(desk_->received(), charged());
  EXPECT_LE(charged(), kAccount);
}

TEST_F(HoldOnADesk, without_room_in_the_table_ends_in_its_otherwise) {
  hold("for: 3s, ask: justification, otherwise: block");
  fill_holds();
  const test::Outcome outcome = desk_->finish(upload(kEndless));
  EXPECT_NE(outcome.output.find("send: "), std::string::npos) << outcome.output;
  EXPECT_LE(settled(), kFlight);
  EXPECT_FALSE(last_report("hold_closed").empty()) << errors();
}

TEST_F(HoldOnADesk, without_room_in_the_table_goes_on_where_the_rule_says_so) {
  hold("for: 2s, otherwise: allow");
  fill_holds();
  upload();
  EXPECT_TRUE(await([&] { return desk_->received() == kUpload; })) << desk_->received();
  EXPECT_FALSE(last_report("hold_let_go").empty());
}

TEST_F(HoldOnADesk, ends_in_its_otherwise_also_where_the_engine_is_dead) {
  hold("for: 6s, ask: justification, otherwise: block");
  const pid_t pid = upload(kEndless);
  ASSERT_TRUE(await_holds(1)) << errors();
  const pid_t stopped = engine();
  ASSERT_GT(stopped, 0);
  ::kill(stopped, SIGSTOP);  // it hangs: the guard notices after five seconds, the hold ends before
  const test::Outcome outcome = desk_->finish(pid);
  EXPECT_NE(outcome.output.find("send: "), std::string::npos) << outcome.output;
  EXPECT_LE(settled(), kFlight);
  ::kill(stopped, SIGKILL);
}

TEST_F(HoldOnADesk, answered_while_no_engine_runs_goes_on_and_is_told_to_the_next_one) {
  hold("for: 45s, ask: justification");
  upload();
  ASSERT_TRUE(await_holds(1)) << errors();
  settled();
  const std::string waits = id();
  ::kill(engine(), SIGKILL);
  EXPECT_EQ(ask("answer " + waits + " --because 'for the auditor'").first, 0) << errors();
  EXPECT_TRUE(await([&] { return desk_->received() == kUpload; })) << desk_->received();
  EXPECT_NE(last_report("hold_answered").find("for the auditor"), std::string::npos);
}

TEST_F(HoldOnADesk, stays_held_while_the_guard_is_dead_and_ends_with_the_next_one) {
  hold("for: 4s, ask: justification, otherwise: block");
  const pid_t pid = upload(kEndless);
  ASSERT_TRUE(await_holds(1)) << errors();
  const std::uint64_t flight = settled();
  const pid_t first = guard();
  ASSERT_GT(first, 0);
  ::kill(first, SIGKILL);
  const test::Outcome outcome = desk_->finish(pid);  // `weir run` starts another
  EXPECT_NE(outcome.output.find("send: "), std::string::npos) << outcome.output;
  EXPECT_LE(settled(), kFlight) << "at its death it had sent " << flight;
}

TEST_F(HoldOnADesk, that_a_change_of_policy_takes_away_goes_on_under_what_is_left) {
  hold("for: 45s, ask: justification");
  upload();
  ASSERT_TRUE(await_holds(1)) << errors();
  EXPECT_LE(settled(), kFlight);
  offer({.number = ++number_, .limit = "1MiB"});
  ASSERT_EQ(next_state(), "1 2  0") << errors();
  EXPECT_TRUE(await([&] { return desk_->received() == kUpload; })) << desk_->received();
}

TEST_F(HoldOnADesk, does_not_leave_when_the_agent_is_stopped_and_releases_its_bound) {
  hold("for: 45s, ask: justification");
  upload(kEndless);
  ASSERT_TRUE(await_holds(1)) << errors();
  EXPECT_LE(settled(), kFlight);
  stop();
  EXPECT_LE(settled(), kFlight);
}

}  // namespace
}  // namespace weir
