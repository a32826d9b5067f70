// The agent without what it needs: the machine's memory, or its time. What was to hold without it
// holds, and what it gets back is enough to go on. An emulator is too slow for it.
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cstdio>

#include "tests/kernel/installed.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kAccount = 400'000;

// A child cgroup of one controller's own hierarchy (cgroup v1). In that of version 2 a controller
// would have to be given to the machine's own groups.
class Controlled {
 public:
  explicit Controlled(const std::string& controller) {
    std::ifstream mounts("/proc/self/mounts");
    for (std::string device, at, type, options, rest; mounts >> device >> at >> type >> options;) {
      std::getline(mounts, rest);
      if (type == "cgroup" &&
          ("," + options + ",").find("," + controller + ",") != std::string::npos)
        path_ = at + "/weir-test-" + std::to_string(getpid());
    }
    if (!path_.empty() && mkdir(path_.c_str(), 0755) != 0) path_.clear();
  }
  ~Controlled() {
    if (!path_.empty()) await([&] { return rmdir(path_.c_str()) == 0; }, milliseconds(5000));
  }
  bool is_there() const { return !path_.empty(); }
  const std::string& path() const { return path_; }
  bool set(const std::string& file, std::uint64_t value) const {
    std::ofstream out(path_ + "/" + file);
    out << value;
    return static_cast<bool>(out.flush());
  }
  std::uint64_t get(const std::string& file, const std::string& field = "") const {
    std::ifstream in(path_ + "/" + file);
    for (std::string word; in >> word;)
      if (field.empty() || (word == field && in >> word)) return std::stoull(word);
    return 0;
  }

 private:
  std::string path_;
};

class StarvedAgent : public Agent {
 protected:
  // Everything that is tried as long as it lasts; more than the account.
  void send() {
    for (const char* to : {kPeer4, kPeer6})
      k->desk.start({"--shape", "storm", "--to", to, "--size", "50", "--ms", "60000"});
  }
  void expect_the_account() const {
    const std::uint64_t received = k->desk.settled(milliseconds(700), milliseconds(6000));
    EXPECT_LE(received, kAccount);
    EXPECT_GE(installed->charged(), received);
    EXPECT_LE(installed->charged(), kAccount);
    fmt::print("limit {} charged {} received {}\n", kAccount, installed->charged(), received);
  }
  void start_in(const Controlled& controlled) {
    installed->also_in(controlled.path());
    installed->write_policy("keep", fmt::format("bytes: {}", kAccount));
    ASSERT_TRUE(installed->start());
    send();
    ASSERT_TRUE(await([&] { return k->desk.received() > 0; }, within(5000)));
  }
  // It comes back, and what was left of the account can be had.
  void expect_it_goes_on() const {
    EXPECT_TRUE(await([&] { return k->desk.received() > kAccount * 9 / 10; }, within(30'000)));
    expect_the_account();
  }
};

// Those of the group, and what they start, are killed before anybody else in it.
void go_first(const Controlled& group) {
  std::ifstream procs(group.path() + "/cgroup.procs");
  for (pid_t pid; procs >> pid;)
    std::ofstream("/proc/" + std::to_string(pid) + "/oom_score_adj") << "1000";
}

// A program that takes `bytes` in the group.
pid_t start_hog(const Controlled& group, std::uint64_t bytes) {
  const pid_t hog = fork();
  if (hog != 0) return hog;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::ofstream(group.path() + "/cgroup.procs") << "0";
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) _exit(1);
  for (std::uint64_t n = 0; n < bytes; n += 4096) static_cast<volatile char*>(memory)[n] = 1;
  _exit(pause());
}

TEST_F(StarvedAgent, killed_for_its_memory_lets_no_byte_beyond_the_account) {
  const Controlled memory("memory");
  if (!memory.is_there()) GTEST_SKIP() << "no memory controller of cgroup v1";
  start_in(memory);
  const std::uint64_t used = memory.get("memory.usage_in_bytes");
  fmt::print("the agent uses {} KiB\n", used >> 10);
  ASSERT_TRUE(memory.set("memory.limit_in_bytes", used + (1u << 20)));
  go_first(memory);
  const pid_t hog = start_hog(memory, used);
  EXPECT_TRUE(await([&] { return installed->process("weir") == 0; }, within(20'000)));
  EXPECT_GT(memory.get("memory.oom_control", "oom_kill"), 1u) << "guard and engine before";
  const std::uint64_t then = k->desk.received();
  usleep(1'000'000);  // sent into nobody's presence
  EXPECT_LE(k->desk.received(), kAccount);
  EXPECT_GT(then, 0u);
  kill(hog, SIGKILL);
  waitpid(hog, nullptr, 0);
  installed->kill_all();
  ASSERT_TRUE(memory.set("memory.limit_in_bytes", 8ull << 30));
  ASSERT_TRUE(installed->start());
  expect_it_goes_on();
  installed->kill_all();
}

TEST_F(StarvedAgent, with_a_thousandth_of_a_processor_lets_no_byte_beyond_the_account) {
  const Controlled time("cpu");
  if (!time.is_there()) GTEST_SKIP() << "no controller of time of cgroup v1";
  start_in(time);
  ASSERT_TRUE(time.set("cpu.cfs_period_us", 1'000'000) && time.set("cpu.cfs_quota_us", 1'000));
  usleep(5'000'000);
  EXPECT_LE(k->desk.received(), kAccount);
  EXPECT_GT(time.get("cpu.stat", "nr_throttled"), 1u);
  std::ofstream(time.path() + "/cpu.cfs_quota_us") << "-1";
  expect_it_goes_on();
  installed->kill_all();
}

}  // namespace
}  // namespace weir::test
