// What leaves is at most the limit, whatever shape the sending has: received ≤ charged ≤ limit, for
// IPv4 and IPv6, TCP and UDP.
#include <fstream>
#include <map>
#include <set>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kLimit = 1'000'003;  // no multiple of any packet
constexpr std::uint64_t kSlack = 64 << 10;   // one super-packet that no longer fits
constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;

struct Way {
  bool six;
  bool udp;
};

std::string name_of(const Way& w) {
  return std::string(w.udp ? "udp" : "tcp") + (w.six ? "_ipv6" : "_ipv4");
}
std::ostream& operator<<(std::ostream& out, const Way& way) {  // in the name of a test
  return out << name_of(way);
}

class Bound : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    WEIR_NEEDS_KERNEL();
    k.emplace();
  }

  std::vector<std::string> sender(const std::string& shape, int count, int ms = 4000) {
    std::vector<std::string> a = {"--shape", shape,
                                  "--count", std::to_string(count),
                                  "--to",    GetParam().six ? kPeer6 : kPeer4,
                                  "--ms",    std::to_string(ms * scale())};
    if (GetParam().udp) a.insert(a.end(), {"--udp", "--size", "1400"});
    return a;
  }

  // `launcher` starts `count` programs that send.
  std::vector<std::string> launch_by(const std::string& launcher, const std::string& shape,
                                     int count) {
    std::vector<std::string> a = {
        launcher, "--shape", shape, "--count", std::to_string(count), "--", traffic_program()};
    auto program = sender("flows", 1);
    a.insert(a.end(), program.begin(), program.end());
    a.insert(a.end(), {"--port", std::to_string(k->desk.port())});
    return a;
  }

  // Row 0 has one account, which holds everything and was nearly used up.
  void expect_bound(const char* what, std::uint64_t limit = kLimit) {
    k->desk.settled(milliseconds(500), milliseconds(6000));
    auto tasks = k->part->tasks();
    for (const KernelTask& t : *tasks) trees.insert(t.value.tree);
    for (const KernelTask& t : *tasks) logins.insert(login_of(t.pid));
    k->desk.end_all();
    std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
    std::uint64_t charged = k->charged(0);
    fmt::print("{} {}: limit {} charged {} received {}\n", what, name_of(GetParam()), limit,
               charged, received);
    RecordProperty("charged", std::to_string(charged));
    RecordProperty("received", std::to_string(received));
    EXPECT_EQ(k->accounts_of(0).size(), 1u);
    EXPECT_LE(received, charged);
    EXPECT_LE(charged, limit);
    EXPECT_GE(GetParam().udp ? charged : received, limit - kSlack);
    EXPECT_EQ(k->count(WEIR_COUNT_CAS_EXHAUSTED), 0u);
  }

  static std::uint32_t login_of(std::uint32_t pid) {
    std::uint32_t login = 0;
    std::ifstream(fmt::format("/proc/{}/loginuid", pid)) >> login;
    return login;
  }

  std::optional<KernelDesk> k;
  std::set<std::uint64_t> trees;  // of the tasks that were alive when the count stood still
  std::set<std::uint32_t> logins;
};

INSTANTIATE_TEST_SUITE_P(kernel, Bound,
                         testing::Values(Way{false, false}, Way{true, false}, Way{false, true},
                                         Way{true, true}),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(Bound, one_flow) {
  k->load({limit_row(kLimit, 0, WEIR_PER_TREE)});
  k->desk.start(sender("flows", 1));
  expect_bound("one flow");
}

TEST_P(Bound, hundred_flows_share_one_account) {
  k->load({limit_row(kLimit, 0, WEIR_PER_TREE)});
  k->desk.start(sender("flows", 100));
  expect_bound("100 flows");
}

TEST_P(Bound, sixty_forks_are_one_tree) {
  k->load({limit_row(kLimit, 0, WEIR_PER_TREE)});
  k->desk.start(sender("forks", 60));
  expect_bound("60 forks");
}

TEST_P(Bound, double_fork_and_setsid_stay_in_the_tree) {
  k->load({limit_row(kLimit, 0, WEIR_PER_TREE)});
  k->desk.start(sender("daemons", 60));
  expect_bound("60 double forks + setsid");
}

TEST_P(Bound, a_leader_that_exits_before_its_thread_keeps_the_tree) {
  k->load({limit_row(kLimit, 0, WEIR_PER_TREE)});
  k->desk.start(sender("leader", 4));
  expect_bound("leader exits, thread sends");
}

TEST_P(Bound, a_storm_of_forks_and_execs_stays_in_the_tree) {
  // Each process sends one packet: an emulator starts a tenth as many.
  const std::uint64_t limit = scale() > 1 ? kLimit / 10 : kLimit;
  k->load({limit_row(limit, 0, WEIR_PER_TREE)});
  auto a = sender("storm", 1, 5000);
  a.insert(a.end(), {"--size", "1400"});
  k->desk.start(a);
  expect_bound("fork-and-exec storm", limit);
}

TEST_P(Bound, ten_programs_of_a_launcher_share_their_persons_account) {
  std::string launcher = copy_of_traffic("weir-launcher");
  KernelOptions options;
  options.launchers = {launcher};
  k->load({limit_row(kLimit, 0, WEIR_PER_PERSON), limit_row(kRoomy, 0, WEIR_PER_TREE)}, options);
  k->desk.start(launch_by(launcher, "launch", 10));
  expect_bound("10 programs of a launcher");
  EXPECT_EQ(trees.size(), 11u) << "each program is a tree, and the launcher";
  EXPECT_EQ(k->charged(1), k->charged(0)) << "charged to every row or to none";
  unlink(launcher.c_str());
}

TEST_P(Bound, fifty_programs_that_a_daemon_starts_for_one_person_share_an_account) {
  std::string daemon = copy_of_traffic("weir-daemon");
  KernelOptions options;
  options.launchers = {daemon};
  k->load({limit_row(kLimit, 0, WEIR_PER_PERSON)}, options);
  k->desk.start(launch_by(daemon, "log_in", 50));
  expect_bound("50 programs of one person");
  EXPECT_EQ(k->accounts_of(0).at(0).key.who, 20000u);
  unlink(daemon.c_str());
}

TEST_P(Bound, ten_persons_whose_programs_a_daemon_starts_have_ten_accounts) {
  constexpr std::uint64_t kEach = kLimit / 10;
  std::string daemon = copy_of_traffic("weir-daemon");
  KernelOptions options;
  options.launchers = {daemon};
  k->load({limit_row(kEach, 0, WEIR_PER_PERSON)}, options);
  k->desk.start(launch_by(daemon, "log_in_each", 10));
  std::uint64_t received = k->desk.settled(milliseconds(500), milliseconds(6000) * scale());
  std::map<std::uint64_t, std::uint64_t> charged;
  for (const KernelAccount& a : k->accounts_of(0)) charged[a.key.who] = a.value.charged;
  k->desk.end_all();
  fmt::print("10 persons {}: limit {} each, received {}\n", name_of(GetParam()), kEach, received);
  EXPECT_EQ(charged.size(), 10u);
  for (const auto& [person, bytes] : charged) {
    EXPECT_GE(person, 20000u);
    EXPECT_LE(bytes, kEach);
    EXPECT_GE(bytes, kEach - kSlack) << person;
  }
  EXPECT_LE(received, 10 * kEach);
  unlink(daemon.c_str());
}

TEST_P(Bound, children_that_set_their_own_login_uid_stay_the_services_person) {
  k->load({limit_row(kLimit, 0, WEIR_PER_PERSON)});
  k->desk.start(sender("logins", 60));
  expect_bound("60 own login uids");
  EXPECT_GE(logins.size(), 10u) << "those that were there by then really did";
}

// Not a test of Weir but of the soak (tests/soak/run --self-test): twice the limit passes, and must
// be told.
TEST_P(Bound, DISABLED_broken_bound_is_seen) {
  k->load({limit_row(2 * kLimit, 0, WEIR_PER_TREE)});
  k->desk.start(sender("flows", 1));
  expect_bound("broken bound");
}

}  // namespace
}  // namespace weir::test
