// Somebody with root's rights takes away what holds the bound while the agent runs: within seconds
// it holds again, and a report says what was removed, for how long at most, and how much left at
// most.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <net/if.h>

#include <atomic>
#include <regex>

#include "platform/files/fd.h"
#include "tests/e2e/desk/guarded_desk.h"

namespace weir {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kLimit = 256 << 10;
constexpr milliseconds kBackWithin{5000};

class TamperedDesk : public GuardedDesk {
 protected:
  void SetUp() override {
    interface_ = "desk0";
    GuardedDesk::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    offer({.number = 1,
           .then = "{limit: {bytes: 256KiB, per: person}}",
           .when = "{any: [{trust: unknown}, {trust: undeclared_udp}]}"});
    ASSERT_EQ(next_state(), "1 1  0") << errors();
    desk_->start({"--to", test::kPeer4, "--udp", "--size", "1000", "--shape", "forks", "--count",
                  "2", "--ms", "120000"});
    EXPECT_LE(desk_->settled(milliseconds(500), milliseconds(5000)), kLimit);
    EXPECT_GT(desk_->received(), kLimit / 2);
  }
  Fd link(const std::string& name) const {
    const fs::path pin = base_ / "bpf/weir" / std::to_string(WEIR_LAYOUT) / "links" / name;
    return Fd(::bpf_obj_get(pin.c_str()));
  }
  // The newest report with this code: its reason's arguments. Waits for it.
  std::vector<std::string> told(const std::string& code, std::size_t before = 0) {
    std::vector<std::string> lines;
    await([&] { return (lines = reports(code)).size() > before; });
    if (lines.size() <= before) {
      ADD_FAILURE() << "no report says " << code << ": " << errors();
      return {};
    }
    const std::string& line = lines.back();
    EXPECT_NE(line.find("\"T1562.001\""), std::string::npos) << line;
    EXPECT_NE(line.find("\"detector\":\"tampering\""), std::string::npos) << line;
    std::vector<std::string> args;
    const std::size_t at = line.find("\"args\":[", line.find('"' + code + '"'));
    const std::string list = line.substr(at, line.find(']', at) - at);
    const std::regex word("\"([^\"]*)\"[,\\]]?");
    for (std::sregex_iterator w(list.begin(), list.end(), word), end; w != end; ++w)
      if ((*w)[1] != "args") args.push_back((*w)[1]);
    const std::size_t id = line.find("\"id\":\"") + 6;
    id_ = line.substr(id, line.find('"', id) - id);
    return args;
  }
  std::vector<std::string> reports(const std::string& code) {
    std::vector<std::string> found;
    std::ifstream file(state() / "reports.jsonl");
    for (std::string line; std::getline(file, line);)
      if (line.find("\"code\":\"" + code + '"') != std::string::npos) found.push_back(line);
    return found;
  }
  // How long until nothing more arrives; the flood goes on all the time.
  milliseconds open_for() {
    const auto since = Clock::now();
    auto last = since;
    for (std::uint64_t had = desk_->received(); Clock::now() - since < 4 * kBackWithin;) {
      std::this_thread::sleep_for(milliseconds(10));
      if (desk_->received() == had && Clock::now() - last > milliseconds(700)) break;
      if (desk_->received() != had) last = Clock::now();
      had = desk_->received();
    }
    return std::chrono::duration_cast<milliseconds>(last - since);
  }

  std::string id_;
};

TEST_F(TamperedDesk, a_detached_program_is_back_within_five_seconds_and_reported) {
  const std::uint64_t before = desk_->received();
  ASSERT_EQ(::bpf_link_detach(link("weir_egress").get()), 0);
  const milliseconds open = open_for();
  const std::uint64_t passed = desk_->received() - before;
  EXPECT_GT(passed, 0u) << "it was gone";
  EXPECT_LE(open, kBackWithin);
  const auto args = told("hook_removed");
  ASSERT_EQ(args.size(), 3u);
  EXPECT_EQ(args[0], "weir_egress");
  EXPECT_LE(std::stoul(args[1]), 5u) << "seconds";
  EXPECT_GE(std::stoul(args[2]), passed) << "at most so much left";
  fmt::print("away for {} ms, {} bytes arrived; the report says at most {} s and {} bytes\n",
             open.count(), passed, args[1], args[2]);
  const auto [status, english] = weir("why " + id_ + " --state " + state().string());
  EXPECT_EQ(status, 0);
  EXPECT_NE(english.find("The kernel program weir_egress was taken from its place"),
            std::string::npos)
      << english;
  EXPECT_NE(english.find("It is back at its place."), std::string::npos) << english;
  EXPECT_EQ(reports("hook_removed").size(), 1u) << "once";
}

TEST_F(TamperedDesk, removed_pins_are_back_and_the_bound_outlives_the_agent) {
  const std::uint64_t before = desk_->received();
  fs::remove_all(base_ / "bpf" / "weir");
  const auto args = told("pins_removed");
  ASSERT_EQ(args.size(), 3u);
  EXPECT_GT(std::stoul(args[0]), 20u) << "programs and tables";
  EXPECT_TRUE(link("weir_egress"));
  for (const pid_t pid : {guard(), agent_}) ::kill(pid, SIGKILL);
  ::waitpid(std::exchange(agent_, -1), nullptr, 0);
  EXPECT_EQ(open_for().count(), 0);
  EXPECT_EQ(desk_->received(), before);
}

TEST_F(TamperedDesk, a_program_taken_from_a_device_is_back_and_reported) {
  const Fd floor = link("floor_" + std::to_string(::if_nametoindex("desk0")));
  if (!floor) GTEST_SKIP() << "this kernel has no tcx";
  ASSERT_EQ(::bpf_link_detach(floor.get()), 0);
  const auto args = told("hook_removed");
  ASSERT_EQ(args.size(), 3u);
  EXPECT_EQ(args[0], "weir_floor at desk0");
  EXPECT_LE(std::stoul(args[1]), 5u);
}

TEST_F(TamperedDesk, what_was_detached_under_a_dead_agent_is_back_with_the_next_and_reported) {
  for (const pid_t pid : {guard(), agent_}) ::kill(pid, SIGKILL);
  ::waitpid(std::exchange(agent_, -1), nullptr, 0);
  ASSERT_EQ(::bpf_link_detach(link("weir_egress").get()), 0);
  start();
  const auto args = told("hook_missing");
  ASSERT_EQ(args.size(), 1u);
  EXPECT_EQ(args[0], "weir_egress");
  EXPECT_EQ(open_for().count(), 0) << "the account that was spent is spent still";
}

class WatchedDesk : public TamperedDesk {
 protected:
  WatchedDesk() { try_every_ = "2"; }
  // The row by which a canary is charged; with it goes nothing that anybody else is charged by.
  void write_row(const weir_limit& row) {
    const fs::path pin = base_ / "bpf/weir" / std::to_string(WEIR_LAYOUT) / "maps/limits";
    const Fd limits(::bpf_obj_get(pin.c_str()));
    const std::uint32_t key = WEIR_EXCEPTIONS;
    ASSERT_EQ(::bpf_map_update_elem(limits.get(), &key, &row, BPF_ANY), 0);
  }
  std::pair<int, std::string> doctor() { return weir("doctor --state " + state().string()); }
};

TEST_F(WatchedDesk, a_control_that_is_in_its_place_and_does_nothing_is_found_by_its_canary) {
  EXPECT_EQ(doctor().first, 0) << doctor().second;
  const auto since = Clock::now();
  write_row({});
  const auto args = told("control_silent");
  const auto after = std::chrono::duration_cast<milliseconds>(Clock::now() - since);
  ASSERT_EQ(args.size(), 2u);
  EXPECT_EQ(args[0], "weir_egress");
  EXPECT_NE(args[1].find("of 3 by IPv4 3 arrived"), std::string::npos) << args[1];
  const auto [red, text] = doctor();
  EXPECT_EQ(red, 6) << text;
  EXPECT_NE(text.find("no   weir_egress"), std::string::npos) << text;
  EXPECT_NE(text.find("yes  weir_ingress"), std::string::npos) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("yes  weir_connect4 +a socket"))) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("yes  weir_floor +untried"))) << text;
  write_row(exceptions_row());
  const auto again = told("control_works_again");
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0], "weir_egress");
  EXPECT_EQ(reports("control_silent").size(), 1u) << "once, and of no other";
  const auto [green, healthy] = doctor();
  EXPECT_EQ(green, 0) << healthy;
  fmt::print("tried every 2 s: told after {} ms\n", after.count());
}

// One of another's that does nothing, put in the place of ours again and again: the guard puts ours
// back once a second.
class DoingNothing {
 public:
  struct Kind {
    const char* name;
    bpf_prog_type type;
    bpf_attach_type at;
  };
  DoingNothing(Fd link, const Kind& kind) : link_(std::move(link)) {
    const bpf_insn pass[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = kind.at);
    program_ =
        Fd(::bpf_prog_load(kind.type, "does_nothing", "GPL", pass, std::size(pass), &options));
    EXPECT_TRUE(program_) << kind.name;
    again_ = std::thread([this] {
      while (!ends_) {
        if (::bpf_link_update(link_.get(), program_.get(), nullptr) != 0) failed_ = true;
        std::this_thread::sleep_for(milliseconds(1));
      }
    });
  }
  DoingNothing(const DoingNothing&) = delete;
  DoingNothing& operator=(const DoingNothing&) = delete;
  ~DoingNothing() {
    ends_ = true;
    again_.join();
    EXPECT_FALSE(failed_);
  }

 private:
  Fd link_, program_;
  std::atomic<bool> ends_ = false, failed_ = false;
  std::thread again_;
};

TEST_F(WatchedDesk, each_control_that_stops_working_turns_red_within_two_intervals_and_no_other) {
  constexpr DoingNothing::Kind kControls[] = {
      {"weir_connect4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT},
      {"weir_sendmsg6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG},
      {"weir_ingress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS},
      {"weir_sock_release", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_RELEASE},
      {"weir_setsockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_SETSOCKOPT}};
  constexpr milliseconds kTwoIntervals{4000}, kForOthers{20000};  // who else is busy here
  std::size_t broken = 0;
  for (const DoingNothing::Kind& kind : kControls) {
    SCOPED_TRACE(kind.name);
    Fd at = link(kind.name);
    ASSERT_TRUE(at);
    const auto since = Clock::now();
    {
      const DoingNothing instead(std::move(at), kind);
      const auto args = told("control_silent", broken);
      const auto after = std::chrono::duration_cast<milliseconds>(Clock::now() - since);
      ASSERT_EQ(args.size(), 2u);
      EXPECT_EQ(args[0], kind.name);
      EXPECT_LE(after, kTwoIntervals + kForOthers);
      fmt::print("{} tried every 2 s: told after {} ms: {}\n", kind.name, after.count(), args[1]);
    }
    const auto again = told("control_works_again", broken++);
    ASSERT_EQ(again.size(), 1u);
    EXPECT_EQ(again[0], kind.name);
    EXPECT_EQ(reports("control_silent").size(), broken) << "of no other";
  }
  EXPECT_EQ(doctor().first, 0) << doctor().second;
}

}  // namespace
}  // namespace weir
