// A collector's policy, offered to a running agent by a stand-in for the uplink: what is good comes
// into force in the kernel, what is not is refused by its reason, and the last good one comes back.
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

namespace weir {
namespace {

namespace fs = std::filesystem;
constexpr auto kPatience = std::chrono::seconds(40);  // sanitized programs on a busy machine

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
};

std::string envelope_of(const Terms& terms) {
  std::string then =
      terms.then.empty() ? "{limit: {bytes: " + terms.limit + ", per: person}}" : terms.then;
  Result<Policy> policy = parse_policy(
      "apiVersion: weir/v1\nname: pushed\nmode: enforce\non_exit: release\nrules:\n"
      "  - id: pushed\n    when: {trust: unknown}\n    then: " +
          then + "\n",
      "pushed");
  EXPECT_TRUE(policy) << policy.error().sentence;
  policy->number = terms.number;
  const std::int64_t now = std::time(nullptr);
  std::string bytes = envelope_bytes(
      {policy_bytes(*policy), terms.number, now + terms.from, now + terms.to, terms.group, 0});
  bytes.resize(bytes.size() - terms.cut);
  return bytes;
}

class Push : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    Result<std::string> root = cgroup2_root();
    if (!root) GTEST_SKIP() << "needs a cgroup2 mount";
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    std::string pattern = (fs::temp_directory_path() / "weir-e2e-push-XXXXXX").string();
    base_ = ::mkdtemp(pattern.data());  // root's alone: the uplink is started from it all the same
    fs::create_directories(base_ / "bpf");
    if (::mount("weir-push", (base_ / "bpf").c_str(), "bpf", 0, "mode=700") != 0)
      GTEST_SKIP() << "needs a bpffs";
    cgroup_ = *root + "/weir-e2e-push-" + std::to_string(::getpid());
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
        write_trust({"support", 1, {{policy_key_id(known.key), known.key, 0}}});
    ASSERT_TRUE(trust);
    std::ofstream(state() / "trust") << *trust;
  }
  void TearDown() override {
    if (agent_ > 0) stop();
    if (base_.empty()) return;
    ::umount2((base_ / "bpf").c_str(), MNT_DETACH);
    std::error_code ignored;
    fs::remove(cgroup_, ignored);
    fs::remove_all(base_, ignored);
  }

  fs::path state() const { return base_ / "state"; }
  fs::path identity() const { return state() / "identity"; }

  void start() {
    agent_ = ::fork();
    if (agent_ == 0) {
      int errors =
          ::open((base_ / "errors").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
      ::dup2(errors, STDERR_FILENO);
      ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
      ::execl((base_ / "weir").c_str(), "weir", "run", "--collector", "127.0.0.1:9", "--state",
              state().c_str(), "--pin", (base_ / "bpf").c_str(), "--cgroup", cgroup_.c_str(),
              nullptr);
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
    {
      std::ofstream file(base_ / "offer", std::ios::binary);
      file.write(reinterpret_cast<const char*>(&message), sizeof message);
      file.write(envelope.data(), static_cast<std::streamsize>(envelope.size()));
    }
    ASSERT_EQ(::chown((base_ / "offer").c_str(), kUplinkUser, kUplinkUser), 0);
    fs::rename(base_ / "offer", identity() / "offer");
  }

  std::vector<std::string> states() {
    std::ifstream file(identity() / "states");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  // The next state that the guard tells.
  std::string next_state() {
    auto until = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < until) {
      std::vector<std::string> all = states();
      if (all.size() > seen_) return all[seen_++];
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return "nothing was told: " + errors();
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
  std::string status() {
    std::string text;
    std::string command = (base_ / "weir").string() + " status --state " + state().string();
    if (std::FILE* out = ::popen(command.c_str(), "r"); out != nullptr) {
      char piece[4096];
      while (std::fgets(piece, sizeof piece, out) != nullptr) text += piece;
      ::pclose(out);
    }
    return text;
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
  pid_t agent_ = -1;
  std::size_t seen_ = 0;
};

TEST_F(Push, a_good_policy_comes_into_force_and_each_bad_one_is_refused_by_its_reason) {
  start();
  EXPECT_EQ(next_state(), "4 0  0");
  offer({.number = 3});
  ASSERT_EQ(next_state(), "1 3  0") << errors();
  EXPECT_EQ(kernel_bytes(), 1u << 20);
  await_kept();
  struct stat kept {};
  ASSERT_EQ(::stat((state() / "policy").c_str(), &kept), 0);
  EXPECT_EQ(kept.st_mode & 0777, 0600u);
  EXPECT_EQ(kept.st_uid, 0u);

  offer({.number = 4, .signer = 2});
  EXPECT_EQ(next_state(), "2 3 policy_unknown_key 0");
  offer({.number = 4, .tampered = true});
  EXPECT_EQ(next_state(), "2 3 policy_bad_signature 0");
  offer({.number = 3});
  EXPECT_EQ(next_state(), "2 3 policy_not_newer 3");
  offer({.number = 2});
  EXPECT_EQ(next_state(), "2 3 policy_not_newer 2");
  offer({.number = 4, .from = -60, .to = -1});
  EXPECT_EQ(next_state(), "2 3 policy_expired 4");
  offer({.number = 4, .from = 600});
  EXPECT_EQ(next_state(), "2 3 policy_not_yet 4");
  offer({.number = 4, .group = "sales"});
  EXPECT_EQ(next_state(), "2 3 policy_other_group 4");
  offer({.number = 4, .cut = 40});
  EXPECT_TRUE(next_state().starts_with("2 3 policy_damaged "));
  offer({.number = 4, .padding = kMaxEnvelopeBytes});
  EXPECT_EQ(next_state(), "2 3 policy_too_large 0");
  offer({.number = 4, .then = "{hold: {for: 45s, ask: justification, otherwise: block}}"});
  EXPECT_EQ(next_state(), "2 3 policy_unenforceable 4");
  EXPECT_EQ(kernel_bytes(), 1u << 20) << "the last good one stays";

  EXPECT_NE(status().find("policy pushed"), std::string::npos) << status();

  offer({.number = 5, .limit = "2MiB"});
  EXPECT_EQ(next_state(), "1 5  0");
  EXPECT_EQ(kernel_bytes(), 2u << 20);
  EXPECT_EQ(stop(), 0) << errors();
  EXPECT_NE(errors().find("policy 5 is in force"), std::string::npos);
  EXPECT_EQ(errors().find("the engine ended"), std::string::npos) << "it took both policies";
  for (std::stringstream lines(errors()); !lines.eof();) {
    std::string line;
    std::getline(lines, line);
    if (line.find("is in force") != std::string::npos) std::printf("%s\n", line.c_str());
  }
}

TEST_F(Push, the_last_good_policy_comes_back_with_the_guard_and_with_the_agent) {
  start();
  EXPECT_EQ(next_state(), "4 0  0");
  offer({.number = 7, .limit = "3MiB"});
  ASSERT_EQ(next_state(), "1 7  0") << errors();
  await_kept();
  pid_t killed = guard();
  ASSERT_GT(killed, 0);
  ::kill(killed, SIGKILL);
  EXPECT_EQ(next_state(), "1 7  0") << "told to the next uplink";
  EXPECT_EQ(kernel_bytes(), 3u << 20);
  offer({.number = 7});
  EXPECT_EQ(next_state(), "2 7 policy_not_newer 7");
  EXPECT_EQ(stop(), 0) << errors();
  start();
  EXPECT_EQ(next_state(), "1 7  0") << errors();
  EXPECT_EQ(kernel_bytes(), 3u << 20);
}

TEST_F(Push, nonsense_of_the_uplink_ends_it_and_the_policy_stays) {
  start();
  EXPECT_EQ(next_state(), "4 0  0");
  offer({.number = 1});
  ASSERT_EQ(next_state(), "1 1  0") << errors();
  std::ofstream(base_ / "nonsense") << "nonsense";
  ASSERT_EQ(::chown((base_ / "nonsense").c_str(), kUplinkUser, kUplinkUser), 0);
  fs::rename(base_ / "nonsense", identity() / "nonsense");
  EXPECT_EQ(next_state(), "1 1  0") << "told to the next uplink";
  EXPECT_NE(errors().find("the uplink sent nonsense"), std::string::npos);
  EXPECT_EQ(kernel_bytes(), 1u << 20);
}

TEST_F(Push, without_enrolment_a_collector_is_refused_with_status_4) {
  fs::remove(state() / "trust");
  start();
  int status = 0;
  ::waitpid(agent_, &status, 0);
  agent_ = -1;
  EXPECT_EQ(WEXITSTATUS(status), 4);
  EXPECT_NE(errors().find("weir enroll"), std::string::npos);
}

}  // namespace
}  // namespace weir
