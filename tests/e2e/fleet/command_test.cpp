// A collector, a desk with uplink, guard and engine, and weirctl, as programs: what an
// administrator asks of the desk is done there, once, and stands in the collector and in the desk's
// audit records.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <sstream>

#include "collector/fleet/crypto.h"
#include "core/policy/signature.h"
#include "platform/linux/kernel_part.h"
#include "proto/map/command_proto.h"
#include "tests/agent/uplink/programs/desk.h"
#include "tests/collector/store/stored_records.h"

namespace weir {
namespace {

using Body = v1::CommandBody;
constexpr double kPatience_s = 90;  // sanitized programs on a busy machine

class Commanded : public FleetOfPrograms {
 protected:
  void SetUp() override {
    FleetOfPrograms::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    Result<std::string> root = cgroup2_root();
    if (!root) GTEST_SKIP() << "needs a cgroup2 mount";
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    fs::create_directories(base / "bpf");
    if (::mount("weir-fleet", (base / "bpf").c_str(), "bpf", 0, "mode=700") != 0)
      GTEST_SKIP() << "needs a bpffs";
    cgroup = *root + "/weir-e2e-fleet-" + std::to_string(::getpid());
    fs::create_directory(cgroup);
    collector.emplace(base / "collector");
    collector->start();
    std::ofstream(base / "token") << collector->token();
    ASSERT_EQ(run({WEIR_CLI, "enroll", "--token-file", base / "token", "--state", state()}).first,
              0);
    v1::ListHostsResponse hosts =
        collector->ask<v1::ListHostsResponse>("HostAdminService/ListHosts", v1::ListHostsRequest());
    ASSERT_EQ(hosts.hosts_size(), 1);
    host_id = hosts.hosts(0).host().id();
    start_agent();
  }
  void TearDown() override {
    agent.end(SIGTERM);
    collector.reset();
    if (!base.empty()) ::umount2((base / "bpf").c_str(), MNT_DETACH);
    std::error_code ignored;
    if (!cgroup.empty()) fs::remove(cgroup, ignored);
    FleetOfPrograms::TearDown();
  }

  fs::path state() const { return base / "state"; }
  void start_agent() {
    agent.start({WEIR_CLI, "run", "--state", state(), "--pin", base / "bpf", "--cgroup", cgroup},
                {}, base / "agent.log");
  }
  bool is_online() {
    v1::GetHostRequest request;
    request.set_id(host_id);
    auto answer = collector->ask<v1::GetHostResponse>("HostAdminService/GetHost", request);
    return answer.host().tier() != 0 && answer.host().state() == v1::HostInfo::online;
  }
  // Status and standard output.
  std::pair<int, std::string> run(const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) line += "'" + word + "' ";
    line += "2>>'" + (base / "weirctl.log").string() + "'";
    std::FILE* out = ::popen(line.c_str(), "r");
    std::string text;
    char piece[4'096];
    while (std::fgets(piece, sizeof piece, out) != nullptr) text += piece;
    return {WEXITSTATUS(::pclose(out)), text};
  }
  std::pair<int, std::string> ctl(std::vector<std::string> words) {
    words.insert(words.begin(), WEIR_CTL);
    words.insert(words.end(), {"--config", collector->data / "admin.json"});
    return run(words);
  }
  std::string said() { return content(base / "weirctl.log") + content(base / "agent.log"); }

  v1::Command signed_by_admin(Body::Verb verb, char seed, Body body = {}) {
    AdminFile admin = collector->admin();
    body.set_verb(verb);
    body.set_host_id(host_id);
    body.set_expires_wall_s(std::time(nullptr) + 3'600);
    body.set_id(std::string(32, seed));
    v1::Command command;
    command.set_id(body.id());
    command.set_body(body.SerializeAsString());
    v1::PolicySignature& signature = *command.add_signatures();
    signature.set_key_id(unhex(admin.policy_key_id));
    signature.set_signature(
        sign_ed25519(unhex(admin.policy_secret_key), "weir command v1", bytes_of(command.body())));
    return command;
  }
  // That user 4242 may send to 192.0.2.7, beside the rule `all`. Its lease is the command's id.
  v1::Command excepted(char seed) {
    v1::CommandBody body;
    v1::Exception& exception = *body.mutable_exception();
    exception.add_sets_aside("all");
    exception.mutable_person()->mutable_user()->set_uid(4'242);
    exception.mutable_destination()->set_address("192.0.2.7");
    exception.set_bytes(1 << 20);
    body.set_lease_s(3'600);
    return signed_by_admin(Body::except, seed, body);
  }
  v1::CommandResult send(const v1::Command& command) {
    v1::SendCommandRequest request;
    request.set_host_id(host_id);
    *request.mutable_command() = command;
    return collector->ask<v1::SendCommandResponse>("HostAdminService/SendCommand", request)
        .result();
  }
  // Of the audit lane, as the collector has stored them.
  std::vector<v1::CommandRecord> audited() {
    std::vector<v1::CommandRecord> found;
    for (const auto& entry : fs::directory_iterator(collector->data / "days")) {
      if (entry.path().extension() != ".db") continue;
      auto db = Database::open(entry.path(), Database::Mode::write);
      if (!db) continue;
      EXPECT_TRUE(each_stored_record(*db, [&](const StoredRecord& stored) {
        v1::Record record;
        const Bytes bytes = stored.record.ciphertext;
        if (stored.key.lane == StoreLane::audit &&
            record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) &&
            record.has_command())
          found.push_back(record.command());
      }));
    }
    return found;
  }

  std::string cgroup, host_id;
  std::optional<Collector> collector;
  Program agent;
};

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

  v1::CommandResult refused = send(signed_by_admin(Body::isolate, 'a'));
  EXPECT_EQ(refused.outcome(), v1::CommandResult::refused);
  ASSERT_EQ(refused.why_size(), 1);
  EXPECT_EQ(refused.why(0).text(), "This is not built in this version: isolate.");
  auto shown = ctl({"hosts", "show", host_id, "-o", "json"}).second;
  EXPECT_NE(shown.find("\"verb\":\"isolate\",\"askedBy\":\"admin\""), std::string::npos) << shown;

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
  EXPECT_NE(said().find("exception " + second + " has ended on host " + host_id), std::string::npos)
      << said();
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
