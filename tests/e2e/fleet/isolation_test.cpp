// A host that an administrator isolates, with a real collector: nothing leaves it from then on,
// whoever is killed and whatever is restarted, until the lease ends or is undone; and it still
// answers to its collector.
#include "tests/e2e/fleet/commanded.h"

namespace weir {
namespace {

class Isolated : public Commanded {
 protected:
  // What is left of it by the kernel's own word.
  double left_s() const {
    const auto tables = pinned();
    return tables ? Commanded::left_s(tables->isolated_until_boot_ns) : -1;
  }
  // As after a reboot, with that much left of it.
  void as_after_a_reboot(std::int64_t left_s) const {
    auto table = leases();
    ASSERT_EQ(table->isolation.holds, 1u);
    be_of_another_boot(table->isolation);
    table->isolation.until_wall_s = std::time(nullptr) + left_s;
    write_leases(*table);
  }
  void kill_guard() const {
    const pid_t pid = guard();
    ::kill(pid, SIGKILL);
    EXPECT_TRUE(soon([&] { return guard() != pid && guard() != 0; }, kPatience_s));
  }
  v1::Command isolation(char seed, std::uint32_t lease_s) {
    Body body;
    body.set_lease_s(lease_s);
    body.mutable_reason()->set_code("asked");
    body.mutable_reason()->add_args("admin");
    return signed_by_admin(Body::isolate, seed, body);
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
  const std::string status = weir_status();
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
  EXPECT_EQ(weir_status().find("ISOLATED"), std::string::npos);
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
  as_after_a_reboot(1'800);
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
