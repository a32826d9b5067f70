// `weirctl hosts kill`: every process of a tree ends, also of one that starts others as fast as it
// can, and nobody else; the agent, PID 1 and launchers are refused.
#include <sys/wait.h>

#include <csignal>
#include <fstream>

#include "platform/linux/kernel_part.h"
#include "platform/linux/pinned_tables.h"
#include "tests/e2e/fleet/commanded.h"

namespace weir {
namespace {

class Killed : public Commanded {
 protected:
  void TearDown() override {
    std::ofstream(cgroup + "/cgroup.kill") << "1";
    for (pid_t pid : started_) ::waitpid(pid, nullptr, 0);
    Commanded::TearDown();
  }
  // A program of the desk's cgroup that is there when the agent starts: a tree of its own.
  pid_t start(const std::string& script) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setsid();
      const int procs = ::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY);
      if (procs < 0 || ::write(procs, "0", 1) != 1) ::_exit(99);
      ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
      ::_exit(98);
    }
    started_.push_back(pid);
    return pid;
  }
  // As the kernel part has them: of this program, 0 if it knows none.
  std::uint64_t tree_of(pid_t pid) { return known(pid).tree; }
  std::size_t size_of(std::uint64_t tree) {
    std::size_t size = 0;
    for (const KernelTask& task : all()) size += task.value.tree == tree ? 1 : 0;
    return size;
  }
  weir_task known(pid_t pid) {
    for (const KernelTask& task : all())
      if (task.pid == static_cast<std::uint32_t>(pid)) return task.value;
    return {};
  }
  std::vector<KernelTask> all() {
    Result<std::vector<KernelTask>> tasks = read_tasks((base / "bpf").string());
    return tasks ? *tasks : std::vector<KernelTask>{};
  }
  std::pair<int, std::string> killing(std::uint64_t tree) {
    return ctl({"hosts", "kill", host_id, "--tree", std::to_string(tree), "--reason", "a test"});
  }
  static bool ended(pid_t pid) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == pid;
  }
  std::vector<pid_t> started_;
};

TEST_F(Killed, a_tree_ends_whole_and_another_goes_on) {
  agent.end(SIGTERM);
  const pid_t one = start("sleep 600 & sleep 600 & wait"), other = start("sleep 600 & wait");
  start_agent();
  ASSERT_TRUE(soon([&] { return is_online() && tree_of(one) != 0; }, kPatience_s)) << said();
  const std::uint64_t tree = tree_of(one);
  ASSERT_NE(tree, tree_of(other));
  ASSERT_EQ(size_of(tree), 3u);
  const auto start = Clock::now();
  ASSERT_EQ(killing(tree).first, 0) << said();
  std::printf("a tree of 3 is killed, with its answer, in %.0f ms\n", seconds_since(start) * 1e3);
  EXPECT_TRUE(ended(one));
  EXPECT_EQ(size_of(tree), 0u);
  EXPECT_FALSE(ended(other));
  EXPECT_EQ(killing(tree).first, 1);
  EXPECT_NE(said().find("No process of that tree is there"), std::string::npos) << said();
  ASSERT_TRUE(soon(
      [&] {
        const auto records = audited();
        return std::ranges::any_of(records, [](const auto& one) {
          return one.verb() == Body::kill_tree && one.outcome() == v1::CommandResult::done &&
                 one.asked() == "admin: a test";
        });
      },
      kPatience_s))
      << said();
}

TEST_F(Killed, a_tree_that_starts_others_all_the_time_ends_as_well) {
  agent.end(SIGTERM);
  // Four lines of descent, each of which starts the next of its line and ends.
  std::ofstream(base / "next") << "sleep 0.05\nsh \"$0\" &\nexit 0\n";
  const std::string next = "sh '" + (base / "next").string() + "' & ";
  const std::string go = (base / "go").string();
  const pid_t one = start("while [ ! -e '" + go + "' ]; do sleep 0.1; done; " + next + next + next +
                          next + "sleep 600");
  start_agent();
  ASSERT_TRUE(soon([&] { return is_online() && tree_of(one) != 0; }, kPatience_s)) << said();
  const std::uint64_t tree = tree_of(one);
  std::ofstream(go) << "now";  // what is found without its parent is a tree of its own
  ASSERT_TRUE(soon([&] { return size_of(tree) >= 5; }, kPatience_s));
  ASSERT_EQ(killing(tree).first, 0) << said();
  EXPECT_TRUE(ended(one));
  usleep(300'000);
  EXPECT_EQ(size_of(tree), 0u) << "none is left to start another";
}

TEST_F(Killed, never_one_that_others_need) {
  agent.end(SIGTERM);
  const std::string launcher = base / "launcher";
  fs::copy_file("/bin/sleep", launcher);
  const pid_t pid = start("exec '" + launcher + "' 600");
  agent.start({WEIR_CLI, "run", "--state", state(), "--pin", base / "bpf", "--cgroup", cgroup,
               "--launcher", launcher},
              {}, base / "agent.log");
  ASSERT_TRUE(soon([&] { return is_online() && tree_of(pid) != 0; }, kPatience_s)) << said();
  ASSERT_NE(known(pid).flags & WEIR_TASK_LAUNCHER, 0u);
  EXPECT_EQ(killing(tree_of(pid)).first, 1);
  EXPECT_NE(said().find("starts others for everybody"), std::string::npos) << said();
  EXPECT_FALSE(ended(pid));
  EXPECT_EQ(ctl({"hosts", "kill", host_id}).first, 2) << "it has to be named";
}

}  // namespace
}  // namespace weir
