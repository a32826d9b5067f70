// A host that an administrator isolates, with a real collector: nothing leaves it from then on,
// whoever is killed and whatever is restarted, until the lease ends or is undone; and it still
// answers to its collector.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>

#include "agent/guard/exceptions.h"
#include "platform/linux/pinned_tables.h"
#include "tests/e2e/fleet/commanded.h"

namespace weir {
namespace {

class Isolated : public Commanded {
 protected:
  // What a program of this host hears that connects: in a network namespace without any way, so
  // that no packet is ever sent. Unreachable: nothing keeps it in.
  int connecting(const char* to = "192.0.2.7", int port = 443) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const int procs = ::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY);
      if (procs < 0 || ::write(procs, "0", 1) != 1 || ::unshare(CLONE_NEWNET) != 0) ::_exit(255);
      const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in at{};
      at.sin_family = AF_INET;
      at.sin_port = htons(static_cast<std::uint16_t>(port));
      ::inet_pton(AF_INET, to, &at.sin_addr);
      ::_exit(::connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 ? 0 : errno);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
  }
  pid_t guard() const {  // the agent's child that is one
    const std::string main = std::to_string(agent.pid());
    std::ifstream children("/proc/" + main + "/task/" + main + "/children");
    for (pid_t pid = 0; children >> pid;) {
      std::string name;
      std::ifstream("/proc/" + std::to_string(pid) + "/comm") >> name;
      if (name == "weir-guard") return pid;
    }
    return 0;
  }
  // What is left of it by the kernel's own word.
  double left_s() const {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    const Result<PinnedTables> tables = read_pinned(base / "bpf");
    return tables ? static_cast<double>(tables->isolated_until_boot_ns) / 1e9 -
                        static_cast<double>(now.tv_sec)
                  : -1;
  }
  // As the file reads in the boot after: its boot is another one, which was up for longer.
  void be_of_another_boot(std::int64_t left_s) const {
    std::string text = content(state() / "exceptions");
    ExceptionTable table;
    ASSERT_EQ(text.size(), sizeof table);
    std::memcpy(&table, text.data(), sizeof table);
    ASSERT_EQ(table.isolation.holds, 1u);
    table.isolation.boot[0] = static_cast<std::uint8_t>(~table.isolation.boot[0]);
    table.isolation.until_boot_ns += 900'000'000'000'000;
    table.isolation.until_wall_s = std::time(nullptr) + left_s;
    std::fstream file(state() / "exceptions", std::ios::in | std::ios::out | std::ios::binary);
    file.write(reinterpret_cast<const char*>(&table), sizeof table);
  }
  void kill_guard() const {
    const pid_t pid = guard();
    ::kill(pid, SIGKILL);
    EXPECT_TRUE(soon([&] { return guard() != pid && guard() != 0; }, kPatience_s));
  }
  bool answers() { return ctl({"hosts", "health", host_id}).first != 1; }
  v1::Command isolation(char seed, std::uint32_t lease_s) {
    Body body;
    body.set_lease_s(lease_s);
    body.mutable_reason()->set_code("asked");
    body.mutable_reason()->add_args("admin");
    return signed_by_admin(Body::isolate, seed, body);
  }
  v1::CommandResult undone(char seed, char lease) {
    Body body;
    body.set_lease_id(std::string(32, lease));
    return send(signed_by_admin(Body::undo, seed, body));
  }
};

TEST_F(Isolated, by_weirctl_and_released_by_it_and_everybody_is_told) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(connecting(), ENETUNREACH);
  auto start = Clock::now();
  ASSERT_EQ(ctl({"hosts", "isolate", host_id, "--for", "1h", "--reason", "stolen"}).first, 0)
      << said();
  std::printf("weirctl hosts isolate took %.0f ms\n", seconds_since(start) * 1'000);
  EXPECT_EQ(connecting(), EPERM);
  EXPECT_EQ(connecting("127.0.0.1"), ENETUNREACH) << "not kept in: there is no loopback there";
  const std::string health = ctl({"hosts", "health", host_id}).second;
  EXPECT_NE(health.find("ISOLATED until"), std::string::npos) << health;
  EXPECT_NE(health.find("stolen"), std::string::npos) << health;
  const std::string status = run({WEIR_CLI, "status", "--state", state()}).second;
  EXPECT_NE(status.find("ISOLATED"), std::string::npos) << status << said();
  EXPECT_NE(status.find("stolen"), std::string::npos) << status;
  auto reported = [&] { return content(state() / "reports.jsonl"); };
  EXPECT_TRUE(
      soon([&] { return reported().find("host.isolated") != std::string::npos; }, kPatience_s))
      << reported();

  const auto shown = ctl({"hosts", "health", host_id, "-o", "json"}).second;
  const std::size_t at = shown.find("\"leases\":[{\"id\":\"");
  ASSERT_NE(at, std::string::npos) << shown;
  const std::string id = shown.substr(at + 17, 32);
  start = Clock::now();
  EXPECT_EQ(ctl({"hosts", "undo", host_id, id, "--reason", "found"}).first, 0) << said();
  std::printf("weirctl hosts undo took %.0f ms\n", seconds_since(start) * 1'000);
  EXPECT_EQ(connecting(), ENETUNREACH);
  EXPECT_EQ(run({WEIR_CLI, "status", "--state", state()}).second.find("ISOLATED"),
            std::string::npos);
  ASSERT_TRUE(soon(
      [&] {
        const auto records = audited();
        return std::ranges::any_of(records, [](const auto& one) {
          return one.verb() == Body::isolate && one.outcome() == v1::CommandResult::done &&
                 one.asked() == "admin: stolen";
        });
      },
      kPatience_s))
      << said();
}

TEST_F(Isolated, outlives_guard_and_agent_and_the_pins_and_answers_its_collector_meanwhile) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(send(isolation('a', 3'600)).outcome(), v1::CommandResult::done) << said();
  int tries = 0;
  for (int n = 0; n < 5; ++n) {
    const pid_t pid = guard();
    ASSERT_GT(pid, 0);
    ::kill(pid, SIGKILL);
    while (guard() == pid || guard() == 0) {
      ++tries;
      ASSERT_EQ(connecting(), EPERM) << "after " << tries;
    }
  }
  std::printf("5 kills of the guard, %d connects meanwhile\n", tries);
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  EXPECT_EQ(connecting(), EPERM);

  // Stopped in order, under a policy that holds nothing on: isolation does.
  agent.end(SIGTERM);
  EXPECT_EQ(connecting(), EPERM);
  // As after a reboot: no pin is left, and the file is of another boot.
  ASSERT_EQ(::umount2((base / "bpf").c_str(), MNT_DETACH), 0);
  ASSERT_TRUE(soon([&] { return connecting() == ENETUNREACH; }, kPatience_s));
  be_of_another_boot(1'800);
  ASSERT_EQ(::mount("weir-fleet", (base / "bpf").c_str(), "bpf", 0, "mode=700"), 0);
  start_agent();
  ASSERT_TRUE(soon([&] { return connecting() == EPERM; }, kPatience_s)) << said();
  ASSERT_TRUE(soon([&] { return answers(); }, kPatience_s)) << said();
  EXPECT_GT(left_s(), 1'500);
  EXPECT_LE(left_s(), 1'801) << "the rest of it, not a lease anew";
  kill_guard();
  ASSERT_TRUE(soon([&] { return answers(); }, kPatience_s)) << said();
  EXPECT_GT(left_s(), 1'500);
  EXPECT_LE(left_s(), 1'801);
  ASSERT_TRUE(
      soon([&] { return undone('b', 'a').outcome() == v1::CommandResult::done; }, kPatience_s))
      << said();
  EXPECT_EQ(connecting(), ENETUNREACH);
}

TEST_F(Isolated, ends_by_itself_and_is_not_brought_back_by_its_command) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  const v1::Command command = isolation('c', 6);
  ASSERT_EQ(send(command).outcome(), v1::CommandResult::done) << said();
  auto start = Clock::now();
  ASSERT_EQ(connecting(), EPERM);
  ASSERT_TRUE(soon([&] { return connecting() == ENETUNREACH; }, 30));
  std::printf("a lease of 6 s ended %.1f s after its answer\n", seconds_since(start));
  EXPECT_LE(seconds_since(start), 8.0);
  collector->program.end(SIGKILL);
  {
    auto db = Database::open(collector->data / "store.db", Database::Mode::write);
    ASSERT_TRUE(db);
    ASSERT_TRUE(db->run("DELETE FROM commands"));
  }
  collector->start();
  v1::CommandResult again;
  ASSERT_TRUE(soon([&] { return (again = send(command)).outcome() == v1::CommandResult::done; },
                   kPatience_s))
      << said();
  ASSERT_EQ(again.why_size(), 1);
  EXPECT_EQ(again.why(0).code(), "command_done_before");
  EXPECT_EQ(connecting(), ENETUNREACH);
}

TEST_F(Isolated, not_by_what_is_too_long_or_endless) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  v1::CommandResult refused = send(isolation('d', 4 * 3'600 + 1));
  EXPECT_EQ(refused.outcome(), v1::CommandResult::refused) << said();
  ASSERT_EQ(refused.why_size(), 1);
  EXPECT_EQ(refused.why(0).code(), "command_over_ceiling");
  EXPECT_EQ(ctl({"hosts", "isolate", host_id, "--for", "5h"}).first, 1);
  EXPECT_EQ(connecting(), ENETUNREACH);
}

}  // namespace
}  // namespace weir
