// `weir run`: see supervisor.h.
#include "agent/run/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <optional>

#include "agent/guard/descriptors.h"
#include "agent/guard/flat_policy.h"
#include "agent/run/policy_child.h"
#include "agent/run/process.h"
#include "agent/run/state_dir.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2;
constexpr std::uint64_t kFirstBackoffNs = 100'000'000;
constexpr std::uint64_t kLongestBackoffNs = 30'000'000'000;
constexpr std::uint64_t kSteadyNs = 60'000'000'000;  // a guard that ran that long starts afresh
constexpr std::uint64_t kStopNs = 8'000'000'000;     // for the last revisions, then SIGKILL
constexpr long kBpffsMagic = 0xcafe4a11;
constexpr const char* kHostBpffs = "/sys/fs/bpf";
constexpr const char* kUtmpPath = "/run/utmp";

// Everything that a guard is started with. Kept for the next one.
struct Inherited {
  Fd flat, policy, record, utmp, null;
  StateFiles state;
  std::vector<std::string> command;
  bool keep = false;
};

bool is_bpffs(const std::string& path) {
  struct statfs fs {};
  return ::statfs(path.c_str(), &fs) == 0 && static_cast<long>(fs.f_type) == kBpffsMagic;
}

std::string beside_us(const char* program) {
  char path[PATH_MAX] = {};
  if (::readlink("/proc/self/exe", path, sizeof path - 1) <= 0) return program;
  std::string own = path;
  return own.substr(0, own.rfind('/') + 1) + program;
}

// Memory that nobody can change any more, ourselves included.
Result<Fd> sealed_memory(const char* name, const std::vector<std::uint8_t>& bytes) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  bool written =
      fd && ::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  if (!written ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    return fail(fmt::format("no memory for the policy: {}", std::strerror(errno)));
  return fd;
}

std::vector<std::string> guard_command(const RunOptions& options, const std::string& pin_dir) {
  std::vector<std::string> command{beside_us("weir-guard")};
  auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) command.insert(command.end(), {name, value});
  };
  add("--cgroup", options.cgroup);
  add("--pin", pin_dir);
  for (const std::string& path : options.launchers) add("--launcher", path);
  command.insert(command.end(), {"--engine", beside_us("weir-engine")});
  if (options.json) command.emplace_back("--json");
  if (options.chinese) command.emplace_back("--chinese");
  if (!options.record.empty()) command.emplace_back("--record");
  if (options.user != 0) command.insert(command.end(), {"--user", fmt::to_string(options.user)});
  return command;
}

Result<Inherited> prepare(const RunOptions& options, const CompiledPolicy& policy,
                          const std::string& pin_dir) {
  Inherited all;
  Result<Fd> flat = sealed_memory("weir-flat-policy", policy.flat);
  Result<Fd> bytes = sealed_memory("weir-policy", policy.bytes);
  if (!flat) return tl::unexpected(flat.error());
  if (!bytes) return tl::unexpected(bytes.error());
  Result<StateFiles> state = open_state(options.state_dir);
  if (!state) return tl::unexpected(state.error());
  all.null = Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!options.record.empty()) {
    all.record = Fd(
        ::open(options.record.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!all.record) return fail(fmt::format("{}: {}", options.record, std::strerror(errno)));
  }
  all.utmp = Fd(::open(kUtmpPath, O_RDONLY | O_CLOEXEC));  // not every host has one
  all.flat = std::move(*flat);
  all.policy = std::move(*bytes);
  all.state = std::move(*state);
  all.command = guard_command(options, pin_dir);
  Result<FlatPolicy> checked = read_flat_policy(policy.flat);
  if (!checked) return tl::unexpected(checked.error());
  all.keep = checked->header->keep != 0;
  return all;
}

// In the child: descriptors to their numbers, then the guard.
[[noreturn]] void become_guard(const Inherited& all, int ready) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  auto or_null = [&](const Fd& fd) { return fd ? fd.get() : all.null.get(); };
  const std::array<int, fds::kLast - fds::kFlatPolicy + 1> wanted{
      all.flat.get(),           all.policy.get(),        ready,
      or_null(all.record),      all.state.reports.get(), all.state.usage.get(),
      all.state.sessions.get(), or_null(all.utmp)};
  std::array<int, wanted.size()> moved{};
  for (std::size_t n = 0; n < wanted.size(); ++n)  // out of each other's way first
    moved[n] = ::fcntl(wanted[n], F_DUPFD, fds::kLast + 1);
  for (std::size_t n = 0; n < wanted.size(); ++n)
    ::dup2(moved[n], fds::kFlatPolicy + static_cast<int>(n));
  ::syscall(SYS_close_range, fds::kLast + 1, ~0u, 0);
  ::dup2(::open("/dev/null", O_RDONLY), 0);
  std::vector<char*> arguments;
  for (const std::string& word : all.command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(arguments[0], arguments.data());
  int cause = errno;
  fmt::print(stderr, "weir run: {}: {}\n", all.command[0], std::strerror(cause));
  ::_exit(127);
}

class Supervisor {
 public:
  Supervisor(const Inherited& all, bool restart)
      : all_(all), restart_(restart), signals_({SIGTERM, SIGINT, SIGHUP}) {}

  // Until a signal, or until the guard is gone and is not to be started again.
  int run() {
    while (!stopping_) {
      Result<Pipe> ready = Pipe::make();
      if (!ready) return say(ready.error().sentence);
      Result<Process> guard = Process::fork([&] {
        ::sigprocmask(SIG_SETMASK, &signals_.before(), nullptr);
        become_guard(all_, ready->writer());
      });
      if (!guard) return say(guard.error().sentence);
      ready->close_writer();
      std::uint64_t began = boot_now_ns();
      watch(*guard, *ready);
      int status = guard->wait();
      if (stopping_) return status == 0 ? kDone : kFailed;
      fmt::print(stderr, "weir run: the guard ended (status {}); {}\n", status,
                 all_.keep ? "what is pinned holds" : "nothing holds until it is back");
      if (!restart_ || !ever_ready_) return kFailed;
      if (boot_now_ns() - began > kSteadyNs) backoff_ns_ = kFirstBackoffNs;
      pause();
    }
    return kDone;
  }

 private:
  static int say(const std::string& sentence) {
    fmt::print(stderr, "weir run: {}\n", sentence);
    return kFailed;
  }

  void watch(Process& guard, Pipe& ready) {
    std::uint64_t stop_by = 0;
    for (;;) {
      std::array<pollfd, 3> wanted{
          {{guard.pidfd(), POLLIN, 0}, {signals_.fd(), POLLIN, 0}, {ready.reader(), POLLIN, 0}}};
      ::poll(wanted.data(), wanted.size(), stopping_ ? 100 : -1);
      char byte = 0;
      if (wanted[2].revents != 0) {
        if (::read(ready.reader(), &byte, 1) == 1) {
          ever_ready_ = true;
          fmt::print(stderr, "ready\n");
        }
        ready.close_reader();
      }
      while (signals_.take()) {
        stopping_ = true;
        stop_by = boot_now_ns() + kStopNs;
        guard.send(SIGTERM);
      }
      if (wanted[0].revents != 0) return;
      if (stopping_ && boot_now_ns() > stop_by) guard.send(SIGKILL);
    }
  }

  void pause() {
    pollfd signal{signals_.fd(), POLLIN, 0};
    if (::poll(&signal, 1, static_cast<int>(backoff_ns_ / 1'000'000)) > 0) stopping_ = true;
    backoff_ns_ = std::min(backoff_ns_ * 2, kLongestBackoffNs);
  }

  const Inherited& all_;
  bool restart_;
  bool stopping_ = false, ever_ready_ = false;
  std::uint64_t backoff_ns_ = kFirstBackoffNs;
  SignalFd signals_;
};

}  // namespace

int run_agent(const RunOptions& options) {
  Result<CompiledPolicy> policy = compile_policy(options.policy);
  if (!policy) {
    fmt::print(stderr, "weir run: {}\n", policy.error().sentence);
    return kUsage;
  }
  std::string pin_dir = options.pin_dir;
  if (pin_dir.empty() && is_bpffs(kHostBpffs)) pin_dir = kHostBpffs;
  if (pin_dir.empty())
    fmt::print(stderr,
               "weir run: {} is no bpffs: nothing is pinned, the bound ends with the guard\n",
               kHostBpffs);
  std::error_code error;
  if (!pin_dir.empty()) std::filesystem::create_directories(pin_dir, error);
  if (error) {
    fmt::print(stderr, "weir run: --pin {}: {}\n", pin_dir, error.message());
    return kFailed;
  }
  Result<Fd> pins = pin_dir.empty() ? Result<Fd>(Fd()) : lock_folder(pin_dir);
  if (!pins) {
    fmt::print(stderr, "weir run: {}\n", pins.error().sentence);
    return kFailed;
  }
  Result<Inherited> all = prepare(options, *policy, pin_dir);
  if (!all) {
    fmt::print(stderr, "weir run: {}\n", all.error().sentence);
    return kFailed;
  }
  RunningAgent running{static_cast<std::uint32_t>(::getpid()),
                       static_cast<std::uint64_t>(wall_now_ns()), pin_dir, options.cgroup,
                       options.policy};
  if (auto written = write_running(options.state_dir, running); !written)
    fmt::print(stderr, "weir run: {}\n", written.error().sentence);
  int status = Supervisor(*all, options.restart).run();
  // A guard that was killed could not do it itself.
  if (!all->keep && !pin_dir.empty()) (void)KernelPart::release(pin_dir);
  return status;
}

}  // namespace weir
