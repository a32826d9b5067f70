// The whole agent on a kernel test's desk: `weir run` with guard and engine, as an installed unit
// runs it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "platform/linux/pinned_tables.h"
#include "tests/kernel/kernel_test.h"

namespace weir::test {

// Programs in a folder of their own, run in a cgroup of their own, as a unit would.
class Installed {
 public:
  static constexpr milliseconds kStart{20'000};  // of an agent with its sanitizers

  explicit Installed(const Desk& desk) : desk_(desk), cgroup_(desk.cgroup() + "-agent") {
    std::string name = (std::filesystem::temp_directory_path() / "weir-upgrade-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    mkdir(cgroup_.c_str(), 0755);
  }
  ~Installed() {
    if (pid_ > 0) kill_all();
    EXPECT_TRUE(KernelPart::release(desk_.pin_dir()));
    rmdir(cgroup_.c_str());
    std::filesystem::remove_all(folder_);
  }

  // As dpkg does it: the new file beside the old one, then in its place.
  void put_programs() const {
    const std::filesystem::path built = std::filesystem::path(traffic_program()).parent_path();
    for (const char* name : {"weir", "weir-guard", "weir-engine"}) {
      std::filesystem::copy_file(built / name, folder_ / "new");
      std::filesystem::rename(folder_ / "new", folder_ / name);
    }
  }

  void write_policy(std::string_view on_exit, std::string_view limit, std::string_view when = "",
                    std::string_view more = "") const {
    std::ofstream(folder_ / "policy.yaml")
        << "apiVersion: weir/v1\nname: upgrade\nmode: enforce\non_exit: " << on_exit
        << "\nrules:\n  - id: all\n"
        << (when.empty() ? "" : fmt::format("    when: {}\n", when)) << "    then: {limit: {"
        << limit << ", per: host}}\n"
        << more;
  }

  // Doesn't wait until it is ready.
  void launch() {
    const std::string program = folder_ / "weir", policy = folder_ / "policy.yaml",
                      state = folder_ / "state", log = folder_ / "log", pins = desk_.pin_dir();
    std::filesystem::remove(log);
    pid_ = fork();
    if (pid_ == 0) {
      int procs = open((cgroup_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
      int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
      if (write(procs, "0", 1) != 1) _exit(126);
      if (!also_in_.empty()) {
        procs = open((also_in_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
        if (write(procs, "0", 1) != 1) _exit(126);
      }
      dup2(out, 1);
      dup2(out, 2);
      execl(program.c_str(), "weir", "run", "--policy", policy.c_str(), "--cgroup",
            desk_.cgroup().c_str(), "--pin", pins.c_str(), "--state", state.c_str(), nullptr);
      _exit(127);
    }
  }
  // False, with what it said, if it doesn't get ready.
  testing::AssertionResult start() {
    launch();
    if (await([&] { return said().find("ready\n") != std::string::npos || is_gone(); },
              kStart * scale()) &&
        pid_ > 0)
      return testing::AssertionSuccess();
    return testing::AssertionFailure() << said();
  }

  // Of those of the agent with this name; 0: none.
  pid_t process(const std::string& name) const {
    std::ifstream procs(cgroup_ + "/cgroup.procs");
    for (pid_t pid; procs >> pid;) {
      std::string comm;
      std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/comm"), comm);
      if (comm == name) return pid;
    }
    return 0;
  }

  // What the package's postinst does: nobody is left who could release anything.
  void kill_all() {
    const auto kill_cgroup = [&] { std::ofstream(cgroup_ + "/cgroup.kill") << "1"; };
    kill_cgroup();
    if (pid_ > 0) {
      kill(pid_, SIGKILL);  // it may not have been in there yet
      waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
    const auto is_over = [&] {
      kill_cgroup();
      return is_empty();
    };
    EXPECT_TRUE(await(is_over, milliseconds(5000) * scale()));
  }

  // Everything in its cgroup stands still, or goes on.
  void freeze(bool still) const {
    std::ofstream(cgroup_ + "/cgroup.freeze") << (still ? "1" : "0");
    EXPECT_TRUE(await(
        [&] {
          std::ifstream events(cgroup_ + "/cgroup.events");
          const std::string all(std::istreambuf_iterator<char>(events), {});
          return all.find(still ? "frozen 1" : "frozen 0") != std::string::npos;
        },
        milliseconds(5000)));
  }

  // Into this cgroup as well, of another hierarchy, from the start.
  void also_in(std::string cgroup) { also_in_ = std::move(cgroup); }

  void stop() {
    kill(pid_, SIGTERM);
    int status = -1;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    EXPECT_EQ(status, 0) << said();
    EXPECT_TRUE(await([&] { return is_empty(); }, milliseconds(5000) * scale()));
  }

  PinnedTables tables() const {
    auto read = read_pinned(desk_.pin_dir());
    EXPECT_TRUE(read) << read.error().sentence;
    return read ? *read : PinnedTables{};
  }
  std::uint64_t charged() const {
    std::uint64_t sum = 0;
    for (const KernelAccount& account : tables().accounts)
      if (account.key.limit == 0) sum += account.value.charged;
    return sum;
  }
  std::uint64_t refused() const { return tables().counters[WEIR_COUNT_REFUSED_PACKETS]; }

 private:
  std::string said() const {
    std::ostringstream text;
    text << std::ifstream(folder_ / "log").rdbuf();
    return text.str();
  }
  bool is_gone() {
    if (waitpid(pid_, nullptr, WNOHANG) != pid_) return false;
    pid_ = -1;
    return true;
  }
  bool is_empty() const {
    std::ifstream procs(cgroup_ + "/cgroup.procs");
    return procs.peek() == std::ifstream::traits_type::eof();
  }

  const Desk& desk_;
  std::string cgroup_, also_in_;
  std::filesystem::path folder_;
  pid_t pid_ = -1;
};

// A test of it.
class Agent : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!k) return;
    if (!std::filesystem::exists(std::filesystem::path(traffic_program()).parent_path() / "weir"))
      GTEST_SKIP() << "the whole agent is not here";
    installed.emplace(k->desk);
    installed->put_programs();
  }
  void TearDown() override { installed.reset(); }

  std::optional<Installed> installed;
};

}  // namespace weir::test
