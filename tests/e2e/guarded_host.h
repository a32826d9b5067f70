// A running agent (weir run, guard, engine) whose uplink is the stand-in of stand_in_uplink.cpp:
// what a collector would send is offered as files, what the guard tells is read as lines.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>

#include "agent/guard/compiled.h"
#include "agent/guard/trust.h"
#include "agent/uplink/user.h"
#include "core/policy/surface/surface.h"
#include "platform/linux/kernel_part.h"
#include "platform/linux/pinned_tables.h"
#include "proto/map/envelope_proto.h"
#include "proto/map/policy_proto.h"
#include "tests/remove_cgroup.h"

namespace weir {

namespace fs = std::filesystem;
inline constexpr auto kPatience = std::chrono::seconds(40);  // sanitized programs on a busy machine

struct Signer {
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> key{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  explicit Signer(std::uint8_t seed) {
    std::array<std::uint8_t, crypto_sign_SEEDBYTES> bytes{seed};
    (void)!::sodium_init();
    ::crypto_sign_seed_keypair(key.data(), secret.data(), bytes.data());
  }
};

struct Terms {
  std::uint32_t number = 1;
  std::string group = "support";
  std::int64_t from = -60, to = 3600;  // seconds from now
  std::uint8_t signer = 1;
  std::size_t cut = 0;      // bytes of the envelope that are missing before it is signed
  bool tampered = false;    // changed after it was signed
  std::size_t padding = 0;  // bytes too many
  std::string limit = "1MiB";
  std::string then;  // instead of the limit
  std::string more;  // rules after this one
  std::string when = "{trust: unknown}";
  std::string defaults = "{first_flight: 16KiB}";
};

inline std::string envelope_of(const Terms& terms) {
  std::string then =
      terms.then.empty() ? "{limit: {bytes: " + terms.limit + ", per: person}}" : terms.then;
  Result<Policy> policy = parse_policy(
      "apiVersion: weir/v1\nname: pushed\nmode: enforce\non_exit: release\ndefaults: " +
          terms.defaults + "\nrules:\n  - id: pushed\n    when: " + terms.when +
          "\n    then: " + then + "\n" + terms.more,
      "pushed");
  EXPECT_TRUE(policy) << policy.error().sentence;
  policy->number = terms.number;
  const std::int64_t now = std::time(nullptr);
  std::string bytes = envelope_bytes(
      {policy_bytes(*policy), terms.number, now + terms.from, now + terms.to, terms.group, 0});
  bytes.resize(bytes.size() - terms.cut);
  return bytes;
}

inline constexpr char kHostId[] = "8f14e45f-ceea-467f-a3c1-4a0d2c2f6b11";

class GuardedHost : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    Result<std::string> root = cgroup2_root();
    if (!root) GTEST_SKIP() << "needs a cgroup2 mount";
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    std::string pattern = (fs::temp_directory_path() / "weir-e2e-guard-XXXXXX").string();
    base_ = ::mkdtemp(pattern.data());  // root's alone: the uplink is started from it all the same
    fs::create_directories(base_ / "bpf");
    if (::mount("weir-guarded", (base_ / "bpf").c_str(), "bpf", 0, "mode=700") != 0)
      GTEST_SKIP() << "needs a bpffs";
    cgroup_ = *root + "/weir-e2e-guard-" + std::to_string(::getpid());
    fs::create_directory(cgroup_);
    const fs::path built = fs::path(WEIR_PROGRAM).parent_path();
    for (const char* name : {"weir", "weir-guard", "weir-engine"})
      fs::copy_file(built / name, base_ / name);
    fs::copy_file(WEIR_STAND_IN_UPLINK, base_ / "weir-uplink");
    fs::create_directories(identity());
    ASSERT_EQ(::chown(identity().c_str(), kUplinkUser, kUplinkUser), 0);
    std::ofstream(identity() / "host.json") << "{}";
    Signer known(1);
    Result<std::string> trust =
        write_trust({"support", 1, {{policy_key_id(known.key), known.key, 0}}, kHostId});
    ASSERT_TRUE(trust);
    std::ofstream(state() / "trust") << *trust;
  }
  void TearDown() override {
    if (agent_ > 0) stop();
    if (base_.empty()) return;
    ::umount2((base_ / "bpf").c_str(), MNT_DETACH);
    std::error_code ignored;
    test::remove_cgroup(cgroup_);
    fs::remove_all(base_, ignored);
  }

  fs::path state() const { return base_ / "state"; }
  fs::path socket() const { return base_ / "run" / "exec"; }
  fs::path identity() const { return state() / "identity"; }

  void start() {
    agent_ = ::fork();
    if (agent_ == 0) {
      int errors =
          ::open((base_ / "errors").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
      ::dup2(errors, STDERR_FILENO);
      ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
      std::vector<std::string> words = {"weir",        "run",     "--collector",   "127.0.0.1:9",
                                        "--state",     state(),   "--pin",         base_ / "bpf",
                                        "--cgroup",    cgroup_,   "--exec-socket", socket(),
                                        "--try-every", try_every_};
      for (const std::string& name : {interface_, other_interface_})
        if (!name.empty()) words.insert(words.end(), {"--interface", name});
      std::vector<char*> arguments;
      for (std::string& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      ::execv((base_ / "weir").c_str(), arguments.data());
      ::_exit(127);
    }
  }
  int stop() {
    int status = 0;
    ::kill(agent_, SIGTERM);
    ::waitpid(agent_, &status, 0);
    agent_ = -1;
    return status;
  }

  void offer(const Terms& terms) {
    std::string envelope = envelope_of(terms);
    Signer signer(terms.signer);
    wire::OfferPolicy message;
    message.signatures = 1;
    message.signature[0].key = policy_key_id(signer.key);
    std::vector<std::uint8_t> covered = signed_bytes_of_policy(bytes_of(envelope));
    ::crypto_sign_detached(message.signature[0].signature.data(), nullptr, covered.data(),
                           covered.size(), signer.secret.data());
    if (terms.tampered) envelope[envelope.size() / 2] ^= 1;
    envelope.resize(envelope.size() + terms.padding);
    message.envelope_size = envelope.size();
    hand_over("offer", message, envelope);
  }

  // To the stand-in: the message and what its descriptor is to hold.
  template <class M>
  void hand_over(const char* name, const M& message, const std::string& bytes) {
    {
      std::ofstream file(base_ / name, std::ios::binary);
      file.write(reinterpret_cast<const char*>(&message), sizeof message);
      file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
    ASSERT_EQ(::chown((base_ / name).c_str(), kUplinkUser, kUplinkUser), 0);
    // The guard ends an uplink that says more in a second; its beats count too.
    std::this_thread::sleep_for(std::chrono::milliseconds(1100 / wire::kUplinkMessagesPerSecond));
    fs::rename(base_ / name, identity() / name);
  }

  std::vector<std::string> states() {
    std::ifstream file(identity() / "states");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  // The next state, or outcome of a command, that the guard tells.
  std::string next_state() {
    auto until = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < until) {
      std::vector<std::string> all = states();
      if (all.size() > seen_) return all[seen_++];
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return "nothing was told: " + errors();
  }
  static bool await(const std::function<bool()>& holds) {
    auto until = std::chrono::steady_clock::now() + kPatience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() >= until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
  }
  void await_kept() {  // `weir run` writes it beside the guard
    auto until = std::chrono::steady_clock::now() + kPatience;
    while (!fs::exists(state() / "policy") && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::string errors() {
    std::stringstream text;
    text << std::ifstream(base_ / "errors").rdbuf();
    return text.str();
  }
  std::string status() { return weir("status --state " + state().string()).second; }
  // Exit status, and both outputs, of a command of `weir`.
  std::pair<int, std::string> weir(const std::string& words) {
    std::string text;
    const std::string command = "LC_ALL=C " + (base_ / "weir").string() + " " + words + " 2>&1";
    std::FILE* out = ::popen(command.c_str(), "r");
    if (out == nullptr) return {-1, text};
    char piece[4096];
    while (std::fgets(piece, sizeof piece, out) != nullptr) text += piece;
    const int status = ::pclose(out);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text};
  }
  // Of the first row that the kernel holds; 0: none.
  std::uint64_t kernel_bytes() {
    Result<PinnedTables> tables = read_pinned((base_ / "bpf").string());
    EXPECT_TRUE(tables) << (tables ? "" : tables.error().sentence);
    return tables && tables->limits[0].per == WEIR_PER_PERSON ? tables->limits[0].bytes : 0;
  }
  pid_t guard() {  // the child that is one
    std::ifstream file("/proc/" + std::to_string(agent_) + "/task/" + std::to_string(agent_) +
                       "/children");
    for (pid_t pid; file >> pid;) {
      std::string name;
      std::ifstream("/proc/" + std::to_string(pid) + "/comm") >> name;
      if (name == "weir-guard") return pid;
    }
    return 0;
  }

  fs::path base_;
  std::string cgroup_;
  std::string interface_, other_interface_;  // where the floor is; "": nowhere
  std::string try_every_ = "0";
  pid_t agent_ = -1;
  std::size_t seen_ = 0;
};

}  // namespace weir
