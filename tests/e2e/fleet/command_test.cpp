// A collector, a desk with uplink, guard and engine, and weirctl, as programs: what an
// administrator asks of the desk is done there, once, and stands in the collector and in the desk's
// audit records.
#include "tests/e2e/fleet/commanded.h"

namespace weir {
namespace {

TEST_F(Commanded, health_and_certificate_come_at_once_and_stand_in_the_audit_lane) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  EXPECT_NE(ctl({"hosts", "list"}).second.find(" 1     built in"), std::string::npos)
      << ctl({"hosts", "list"}).second << "the tier is 1";

  auto start = Clock::now();
  auto [status, health] = ctl({"hosts", "health", host_id, "--reason", "a test", "-o", "json"});
  EXPECT_EQ(status, 0) << said();
  std::printf("weirctl hosts health took %.0f ms\n", seconds_since(start) * 1'000);
  EXPECT_NE(health.find("\"control\":\"weir_egress\",\"state\":\"effective\",\"tier\":1"),
            std::string::npos)
      << health;
  EXPECT_NE(health.find("\"name\":\"engines_started\",\"value\":\"1\""), std::string::npos);
  EXPECT_NE(health.find("\"name\":\"commands_done\""), std::string::npos);

  const std::string before = content(state() / "identity/certificate.pem");
  start = Clock::now();
  EXPECT_EQ(ctl({"hosts", "renew", host_id}).first, 0) << said();
  std::printf("weirctl hosts renew took %.0f ms\n", seconds_since(start) * 1'000);
  EXPECT_NE(content(state() / "identity/certificate.pem"), before);

  v1::CommandResult refused = send(signed_by_admin(Body::forget_person, 'a'));
  EXPECT_EQ(refused.outcome(), v1::CommandResult::refused);
  ASSERT_EQ(refused.why_size(), 1);
  EXPECT_EQ(refused.why(0).text(), "This is not built in this version: forget_person.");
  auto shown = ctl({"hosts", "show", host_id, "-o", "json"}).second;
  EXPECT_NE(shown.find("\"verb\":\"forget_person\",\"askedBy\":\"admin\""), std::string::npos)
      << shown;

  ASSERT_TRUE(soon([&] { return audited().size() >= 3; }, kPatience_s)) << said();
  std::vector<v1::CommandRecord> records = audited();
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].verb(), Body::send_health);
  EXPECT_EQ(records[0].outcome(), v1::CommandResult::done);
  EXPECT_EQ(records[0].asked(), "admin: a test");
  EXPECT_EQ(records[0].key_ids(0), unhex(collector->admin().policy_key_id));
  EXPECT_EQ(records[1].verb(), Body::renew_certificate);
  EXPECT_EQ(records[2].why(0).code(), "command_not_built");
}

TEST_F(Commanded, an_exception_is_undone_by_its_id_once) {
  std::ofstream(base / "policy.yaml")
      << "apiVersion: weir/v1\nname: bounded\nmode: enforce\non_exit: release\nrules:\n"
         "  - id: all\n    when: {trust: unknown}\n    then: {limit: {bytes: 1MiB, per: person}}\n";
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(ctl({"policy", "publish", base / "policy.yaml", "--group", "desks", "--wait"}).first, 0)
      << said();
  ASSERT_EQ(send(excepted('e')).outcome(), v1::CommandResult::done) << said();
  ASSERT_EQ(send(excepted('f')).outcome(), v1::CommandResult::done) << said();
  const std::string first(32, 'e'), second(32, 'f');
  auto health = ctl({"hosts", "health", host_id, "-o", "json"}).second;
  EXPECT_EQ(health.find(first), std::string::npos) << "the newer one took its place: " << health;
  EXPECT_NE(health.find(second), std::string::npos) << health;

  EXPECT_EQ(ctl({"hosts", "undo", host_id, second, "--reason", "over"}).first, 0) << said();
  EXPECT_NE(said().find(second + " has ended on host " + host_id), std::string::npos) << said();
  health = ctl({"hosts", "health", host_id, "-o", "json"}).second;
  EXPECT_EQ(health.find(second), std::string::npos) << health;
  EXPECT_EQ(ctl({"hosts", "undo", host_id, second}).first, 1);
  EXPECT_NE(said().find("refused: Nothing of that id is in force on this host."), std::string::npos)
      << said();
  ASSERT_TRUE(soon(
      [&] {
        const auto records = audited();
        return std::ranges::any_of(records,
                                   [](const auto& one) { return one.asked() == "admin: over"; });
      },
      kPatience_s))
      << said();
}

TEST_F(Commanded, a_host_that_is_away_gets_it_at_its_return_and_does_it_once) {
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  agent.end(SIGTERM);
  const v1::Command command = signed_by_admin(Body::renew_certificate, 'b');
  const std::string before = content(state() / "identity/certificate.pem");
  auto start = Clock::now();
  EXPECT_EQ(send(command).outcome(), v1::CommandResult::OUTCOME_UNSPECIFIED) << "pending";
  EXPECT_GE(seconds_since(start), 9.0);
  collector->program.end(SIGKILL);
  collector->start();
  start_agent();
  ASSERT_TRUE(soon([&] { return send(command).outcome() == v1::CommandResult::done; }, kPatience_s))
      << said();
  const std::string renewed = content(state() / "identity/certificate.pem");
  EXPECT_NE(renewed, before);

  // A collector that has lost its memory of it asks again; so does one that plays it back.
  collector->program.end(SIGKILL);
  {
    auto db = Database::open(collector->data / "store.db", Database::Mode::write);
    ASSERT_TRUE(db);
    ASSERT_TRUE(db->run("DELETE FROM commands"));
  }
  collector->start();
  agent.end(SIGKILL);
  start_agent();
  v1::CommandResult again;
  ASSERT_TRUE(soon([&] { return (again = send(command)).outcome() == v1::CommandResult::done; },
                   kPatience_s))
      << said();
  ASSERT_EQ(again.why_size(), 1);
  EXPECT_EQ(again.why(0).code(), "command_done_before");
  EXPECT_EQ(content(state() / "identity/certificate.pem"), renewed);
}

TEST_F(Commanded, a_host_that_was_away_for_two_rotations_follows_and_the_old_key_is_void) {
  std::ofstream(base / "policy.yaml")
      << "apiVersion: weir/v1\nname: rotated\nmode: enforce\non_exit: release\nrules:\n"
         "  - id: all\n    when: {trust: unknown}\n    then: {limit: {bytes: 1MiB, per: person}}\n";
  ASSERT_TRUE(soon([&] { return is_online(); }, kPatience_s)) << said();
  ASSERT_EQ(ctl({"policy", "publish", base / "policy.yaml", "--group", "desks", "--wait"}).first, 0)
      << said();
  agent.end(SIGTERM);
  const fs::path admin = collector->data / "admin.json", copy = base / "first-admin.json";
  fs::copy_file(admin, copy);
  ASSERT_EQ(ctl({"policy", "rotate-key"}).first, 0) << said();
  collector->program.end(SIGKILL);
  collector->start();
  ASSERT_EQ(ctl({"policy", "rotate-key"}).first, 0) << said();
  EXPECT_FALSE(fs::exists(admin.string() + ".next"));
  struct stat info {};
  ASSERT_EQ(::stat(admin.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);

  start_agent();
  auto in_force = [&] {
    v1::GetHostRequest request;
    request.set_id(host_id);
    auto answer = collector->ask<v1::GetHostResponse>("HostAdminService/GetHost", request);
    return answer.host().policy();
  };
  EXPECT_TRUE(
      soon([&] { return in_force().number() == 3 && in_force().trust_number() == 3; }, kPatience_s))
      << in_force().ShortDebugString() << said();
  EXPECT_EQ(ctl({"hosts", "health", host_id}).first, 0) << said();
  EXPECT_EQ(run({WEIR_CTL, "hosts", "health", host_id, "--config", copy}).first, 4)
      << "the first key signs nothing any more";
  EXPECT_EQ(run({WEIR_CTL, "policy", "publish", base / "policy.yaml", "--group", "desks",
                 "--config", copy})
                .first,
            4);
  EXPECT_EQ(ctl({"policy", "rollback", "--to", "1", "--group", "desks"}).first, 0)
      << "the first key has signed it, and admin.json remembers that one: " << said();
  agent.end(SIGKILL);
  start_agent();
  EXPECT_TRUE(soon(
      [&] {
        return ctl({"hosts", "renew", host_id}).first == 0;
      },
      kPatience_s))
      << said();
}

}  // namespace
}  // namespace weir
