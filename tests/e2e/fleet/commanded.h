// A collector, a desk with uplink, guard and engine, and weirctl, as programs.
#pragma once

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
#include "tests/remove_cgroup.h"

namespace weir {

using Body = v1::CommandBody;
inline constexpr double kPatience_s = 90;  // sanitized programs on a busy machine

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
    if (!cgroup.empty()) test::remove_cgroup(cgroup);
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
    return signed_by_admin(verb, std::string(32, seed), std::move(body));
  }
  v1::Command signed_by_admin(Body::Verb verb, const std::string& id, Body body = {}) {
    AdminFile admin = collector->admin();
    body.set_verb(verb);
    body.set_host_id(host_id);
    body.set_expires_wall_s(std::time(nullptr) + 3'600);
    body.set_id(id);
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
  v1::Command excepted(char seed) { return excepted(std::string(32, seed), "192.0.2.7"); }
  v1::Command excepted(const std::string& id, const std::string& place) {
    v1::CommandBody body;
    v1::Exception& exception = *body.mutable_exception();
    exception.add_sets_aside("all");
    exception.mutable_person()->mutable_user()->set_uid(4'242);
    exception.mutable_destination()->set_address(place);
    exception.set_bytes(1 << 20);
    body.set_lease_s(3'600);
    return signed_by_admin(Body::except, id, body);
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

}  // namespace weir
