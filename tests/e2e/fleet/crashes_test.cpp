// An agent that crashes again and again under a policy takes back the one before, then refuses
// nothing, and says so; a kill by root is no crash, and a new policy or a restart ends it.
#include <algorithm>
#include <csignal>
#include <ctime>
#include <fstream>

#include "tests/e2e/fleet/commanded.h"

namespace weir {
namespace {

class Crashing : public Commanded {
 protected:
  void publish(const std::string& limit) {
    std::ofstream(base / "policy.yaml")
        << "apiVersion: weir/v1\nname: bound\nmode: enforce\non_exit: keep\nrules:\n"
           "  - id: all\n    when: {trust: unknown}\n    then: {limit: {bytes: "
        << limit << ", per: person}}\n";
    ASSERT_EQ(ctl({"policy", "publish", base / "policy.yaml", "--group", "desks"}).first, 0)
        << said();
  }
  // The first row of the desk's kernel.
  std::uint64_t kernel_bytes() const {
    const auto tables = pinned();
    return tables && tables->limits[0].per == WEIR_PER_PERSON ? tables->limits[0].bytes : 0;
  }
  bool observes() const {
    const auto tables = pinned();
    return tables && left_s(tables->observed_until_boot_ns) > 0;
  }
  pid_t engine() const {  // of the guard's spawner
    for (pid_t spawner : children(guard()))
      for (pid_t pid : children(spawner))
        if (name(pid) == "weir-engine") return pid;
    return 0;
  }
  // Three times, each one that is there by then.
  void crash_engine(int signal = SIGSEGV) {
    pid_t last = 0;
    for (int n = 0; n < 3; ++n) {
      pid_t now = 0;
      ASSERT_TRUE(soon([&] { return (now = engine()) != 0 && now != last; }, kPatience_s))
          << said();
      ::kill(now, signal);
      last = now;
    }
  }
  bool reads(const std::string& text) {
    return soon(
        [&] {
          return ctl({"policy", "status", "--group", "desks"}).second.find(text) !=
                 std::string::npos;
        },
        kPatience_s);
  }
};

TEST_F(Crashing, under_a_policy_takes_back_the_one_before_and_then_refuses_nothing) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  publish("1MiB");
  ASSERT_TRUE(soon([&] { return kernel_bytes() == 1u << 20; }, kPatience_s)) << said();
  publish("2MiB");
  ASSERT_TRUE(soon([&] { return kernel_bytes() == 2u << 20; }, kPatience_s)) << said();
  ASSERT_TRUE(soon([&] { return fs::exists(state() / "policy.before"); }, kPatience_s));

  crash_engine(SIGKILL);
  usleep(2'000'000);
  EXPECT_EQ(kernel_bytes(), 2u << 20) << "root's kill is no crash";
  EXPECT_FALSE(observes());

  const auto start = Clock::now();
  crash_engine();
  ASSERT_TRUE(soon([&] { return kernel_bytes() == 1u << 20; }, kPatience_s)) << said();
  std::printf("three crashes, and the policy before is in force after %.1f s\n",
              seconds_since(start));
  EXPECT_FALSE(observes());
  EXPECT_TRUE(reads("refused")) << ctl({"policy", "status", "--group", "desks"}).second << said();
  usleep(3'000'000);
  EXPECT_EQ(kernel_bytes(), 1u << 20) << "the collector offers it in vain";

  crash_engine();
  ASSERT_TRUE(soon([&] { return observes(); }, kPatience_s)) << said();
  EXPECT_EQ(kernel_bytes(), 1u << 20) << "it counts by it still";
  EXPECT_NE(weir_status().find("CRASHED"), std::string::npos) << weir_status();
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  EXPECT_TRUE(soon(
      [&] {
        return ctl({"hosts", "health", host_id}).second.find("CRASHED") != std::string::npos;
      },
      kPatience_s));
  EXPECT_TRUE(soon(
      [&] {
        return content(state() / "reports.jsonl").find("crashed_observes") != std::string::npos;
      },
      kPatience_s));

  publish("3MiB");
  ASSERT_TRUE(soon([&] { return kernel_bytes() == 3u << 20; }, kPatience_s)) << said();
  EXPECT_TRUE(soon([&] { return !observes(); }, kPatience_s));
  EXPECT_EQ(weir_status().find("CRASHED"), std::string::npos);
}

TEST_F(Crashing, guards_count_as_well_and_a_restart_ends_it) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  publish("1MiB");
  ASSERT_TRUE(soon([&] { return kernel_bytes() == 1u << 20; }, kPatience_s)) << said();
  pid_t last = 0;
  for (int n = 0; n < 3; ++n) {
    pid_t now = 0;
    ASSERT_TRUE(soon([&] { return (now = guard()) != 0 && now != last; }, kPatience_s)) << said();
    ::kill(now, SIGABRT);
    last = now;
  }
  ASSERT_TRUE(soon([&] { return observes(); }, kPatience_s)) << said();
  agent.end(SIGTERM);
  EXPECT_FALSE(observes());
  start_agent();
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  EXPECT_EQ(kernel_bytes(), 1u << 20);
  EXPECT_FALSE(observes());
}

}  // namespace
}  // namespace weir
