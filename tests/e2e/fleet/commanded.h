// A collector, a desk with uplink, guard and engine, and weirctl, as programs.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <memory>
#include <sstream>

#include "agent/guard/exceptions.h"
#include "collector/fleet/crypto.h"
#include "core/policy/signature.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/kernel_part.h"
#include "platform/linux/pinned_tables.h"
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
  v1::CommandResult undone(char seed, char lease) {
    Body body;
    body.set_lease_id(std::string(32, lease));
    return send(signed_by_admin(Body::undo, seed, body));
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

  bool answers() { return ctl({"hosts", "health", host_id}).first != 1; }
  std::string weir_status() { return run({WEIR_CLI, "status", "--state", state()}).second; }

  // What a program of this host hears that connects: in a network namespace without any way, so
  // that no packet is ever sent. Unreachable: nothing keeps it from there.
  int connecting(const char* to = "192.0.2.7") {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const int procs = ::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY);
      if (procs < 0 || ::write(procs, "0", 1) != 1 || ::unshare(CLONE_NEWNET) != 0) ::_exit(255);
      sockaddr_in a4{};
      sockaddr_in6 a6{};
      a4.sin_family = AF_INET;
      a6.sin6_family = AF_INET6;
      a4.sin_port = a6.sin6_port = htons(443);
      const bool six = ::inet_pton(AF_INET6, to, &a6.sin6_addr) == 1;
      ::inet_pton(AF_INET, to, &a4.sin_addr);
      const int fd = ::socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
      const auto* at = six ? reinterpret_cast<sockaddr*>(&a6) : reinterpret_cast<sockaddr*>(&a4);
      ::_exit(::connect(fd, at, six ? sizeof a6 : sizeof a4) == 0 ? 0 : errno);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
  }
  static std::vector<pid_t> children(pid_t of) {
    const std::string main = std::to_string(of);
    std::ifstream all("/proc/" + main + "/task/" + main + "/children");
    std::vector<pid_t> found;
    for (pid_t pid = 0; all >> pid;) found.push_back(pid);
    return found;
  }
  static std::string name(pid_t pid) {
    std::string text;
    std::ifstream("/proc/" + std::to_string(pid) + "/comm") >> text;
    return text;
  }
  pid_t guard() const {  // the agent's child that is one; 0: none
    for (pid_t pid : children(agent.pid()))
      if (name(pid) == "weir-guard") return pid;
    return 0;
  }
  std::optional<PinnedTables> pinned() const {
    Result<PinnedTables> tables = read_pinned(base / "bpf");
    return tables ? std::optional(std::move(*tables)) : std::nullopt;
  }
  static double left_s(std::uint64_t until_boot_ns) {
    return (static_cast<double>(until_boot_ns) - static_cast<double>(boot_now_ns())) / 1e9;
  }
  // What the guard keeps of leases.
  std::unique_ptr<ExceptionTable> leases() const {
    const std::string file = content(state() / "exceptions");
    auto table = std::make_unique<ExceptionTable>();
    EXPECT_EQ(file.size(), sizeof *table);
    std::memcpy(table.get(), file.data(), std::min(file.size(), sizeof *table));
    return table;
  }
  // As that file reads in the boot after: `lease` is of another one, which was up for longer.
  template <class Lease>
  static void be_of_another_boot(Lease& lease) {
    lease.boot[0] = static_cast<std::uint8_t>(~lease.boot[0]);
    lease.until_boot_ns += 900'000'000'000'000;
  }
  void write_leases(const ExceptionTable& table) const {
    std::fstream file(state() / "exceptions", std::ios::in | std::ios::out | std::ios::binary);
    file.write(reinterpret_cast<const char*>(&table), sizeof table);
  }

  std::string cgroup, host_id;
  std::optional<Collector> collector;
  Program agent;
};

}  // namespace weir
