// `weir run`: see supervisor.h.
#include "agent/run/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "agent/engine/seal.h"
#include "agent/guard/flat_policy.h"
#include "agent/run/accounts_file.h"
#include "agent/run/asked.h"
#include "agent/run/cgroup.h"
#include "agent/run/collector.h"
#include "agent/run/exec_served.h"
#include "agent/run/guard_process.h"
#include "agent/run/notify.h"
#include "agent/run/policy_child.h"
#include "agent/run/process.h"
#include "agent/run/state_dir.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2, kNotAllowed = 4;
constexpr std::uint64_t kFirstBackoffNs = 100'000'000;
constexpr std::uint64_t kLongestBackoffNs = 30'000'000'000;
constexpr std::uint64_t kSteadyNs = 60'000'000'000;  // a guard that ran that long starts afresh
constexpr int kSignalled = 128;  // and the signal: status of one that a signal ended
constexpr std::uint64_t kStopNs = 8'000'000'000;  // for the last revisions, then SIGKILL

class Supervisor {
 public:
  Supervisor(GuardInputs& all, CollectorSide* collector, bool restart)
      : all_(all), collector_(collector), restart_(restart), signals_({SIGTERM, SIGINT, SIGHUP}) {}

  // Until a signal, or until the guard is gone and is not to be started again.
  int run() {
    while (!stopping_) {
      Result<Pipe> ready = Pipe::make();
      if (!ready) return say(ready.error().sentence);
      Result<Process> guard = start_guard(all_, ready->writer(), signals_.before());
      if (!guard) return say(guard.error().sentence);
      ready->close_writer();
      std::uint64_t began = boot_now_ns();
      watch(*guard, *ready);
      int status = guard->wait();
      if (stopping_) return status == 0 ? kDone : kFailed;
      if (status == kHostLacksStatus) return kUsage;  // it said what is missing
      const bool crashed = is_crash_signal(status - kSignalled);
      if (status == kCrashedStatus || (crashed && crashes_.add(boot_now_ns()))) {
        fall_back();
        if (restart_) continue;
      }
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

  void take_kept() {
    const std::optional<bool> keeps = collector_->take_kept();
    if (!keeps) return;
    all_.keep = *keeps;
    go_on_as_ever();
  }

  void watch(Process& guard, Pipe& ready) {
    std::uint64_t stop_by = 0;
    for (;;) {
      std::array<pollfd, 6> wanted{
          {{guard.pidfd(), POLLIN, 0},
           {signals_.fd(), POLLIN, 0},
           {ready.reader(), POLLIN, 0},
           {collector_ != nullptr ? collector_->kept_fd() : -1, POLLIN, 0},
           {collector_ != nullptr ? collector_->addresses_fd() : -1, POLLIN, 0},
           {all_.accounts->line(), POLLIN, 0}}};
      ::poll(wanted.data(), wanted.size(), stopping_ ? 100 : watchdog_ms_);
      if (watchdog_ms_ > 0) notify_manager("WATCHDOG=1");
      if (wanted[3].revents != 0) take_kept();
      if (wanted[4].revents != 0) collector_->take_addresses();
      if (wanted[5].revents != 0) all_.accounts->take();
      char byte = 0;
      if (wanted[2].revents != 0) {
        if (::read(ready.reader(), &byte, 1) == 1) {
          ever_ready_ = all_.again = true;
          fmt::print(stderr, "ready\n");
          notify_manager("READY=1");
        }
        ready.close_reader();
      }
      while (signals_.take()) {
        if (!stopping_) notify_manager("STOPPING=1");
        stopping_ = true;
        stop_by = boot_now_ns() + kStopNs;
        guard.send(SIGTERM);
      }
      if (wanted[0].revents != 0) return;
      if (stopping_ && boot_now_ns() > stop_by) guard.send(SIGKILL);
    }
  }

  // By the policy before the newest, if that was pushed; then by none that refuses.
  void fall_back() {
    const bool first = all_.after_crashes == AfterCrashes::none && collector_ != nullptr &&
                       collector_->kept_head() && collector_->open_before();
    all_.after_crashes = first ? AfterCrashes::before : AfterCrashes::observes;
    if (first) {
      all_.by_before = true;
      all_.crashed = collector_->kept_head();
      collector_->note_crashed(true);
    }
    fmt::print(stderr, "weir run: three crashes within a minute: {}\n",
               first
                   ? "the policy before the newest is in force again, and the newest is refused"
                   : "nothing is refused until a new policy comes or `weir run` is started again");
  }

  // The guard took a policy that was pushed since.
  void go_on_as_ever() {
    all_.after_crashes = AfterCrashes::none;
    all_.by_before = false;
    all_.crashed.reset();
    if (collector_ != nullptr) collector_->note_crashed(false);
  }

  void pause() {
    pollfd signal{signals_.fd(), POLLIN, 0};
    const std::uint64_t until = boot_now_ns() + backoff_ns_;
    for (std::uint64_t now = boot_now_ns(); !stopping_ && now < until; now = boot_now_ns()) {
      auto wait_ms = static_cast<int>((until - now) / 1'000'000 + 1);
      if (watchdog_ms_ > 0) wait_ms = std::min(wait_ms, watchdog_ms_);
      if (::poll(&signal, 1, wait_ms) > 0) stopping_ = true;
      if (watchdog_ms_ > 0) notify_manager("WATCHDOG=1");
    }
    backoff_ns_ = std::min(backoff_ns_ * 2, kLongestBackoffNs);
  }

  GuardInputs& all_;
  CollectorSide* collector_;  // none: standalone
  bool restart_;
  bool stopping_ = false, ever_ready_ = false;
  std::uint64_t backoff_ns_ = kFirstBackoffNs;
  int watchdog_ms_ = watchdog_period_ms();
  Crashes crashes_;  // of the guard itself
  SignalFd signals_;
};

// Without it the agent still bounds everybody; only `weir exec` is root's then.
std::optional<Process> serve_others(const RunOptions& options, const std::string& pin_dir,
                                    const CollectorSide* collector, int answers) {
  if (options.exec_socket.empty()) return std::nullopt;
  Fd state(::open(options.state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Result<Process> server =
      serve_exec(options.exec_socket, options.cgroup,
                 {state.get(), collector != nullptr ? collector->requests_out.get() : -1, pin_dir,
                  collector != nullptr ? collector->releases_out.get() : -1, answers});
  if (server) return std::move(*server);
  fmt::print(stderr, "weir run: `weir exec` is not served to other users: {}\n",
             server.error().sentence);
  return std::nullopt;
}

// A policy of a file is refused where it can't hold whole, so that nobody believes it does.
Result<CompiledPolicy> policy_for_this_host(const std::string& file) {
  Result<CompiledPolicy> policy = compile_policy(file);
  if (!policy) return policy;
  Result<FlatPolicy> flat = read_flat_policy(policy->flat);
  if (!flat) return tl::unexpected(flat.error());
  if (flat->header->state.charged_only == 0) return policy;
  if (auto lsm = KernelPart::try_lsm(); !lsm)
    return fail(
        fmt::format("this host can't enforce the policy: {}: {}", kNeedsLsm, lsm.error().sentence));
  return policy;
}

// Where pins go; "": nowhere.
std::string pins_of(const RunOptions& options) {
  if (!options.pin_dir.empty()) return options.pin_dir;
  if (is_bpffs(kHostBpffs)) return kHostBpffs;
  fmt::print(stderr, "weir run: {} is no bpffs: nothing is pinned, the bound ends with the guard\n",
             kHostBpffs);
  return "";
}

// The folder, made and locked: one agent to each.
Result<Fd> hold_pins(const std::string& pin_dir) {
  std::error_code error;
  std::filesystem::create_directories(pin_dir, error);
  if (error) return fail(fmt::format("--pin {}: {}", pin_dir, error.message()));
  return lock_folder(pin_dir);
}

// Nothing: the controls are not tried, or can't be.
std::optional<ChildCgroup> make_canary_cgroup(const RunOptions& options,
                                              const std::string& pin_dir) {
  if (pin_dir.empty() || options.try_every_s == 0) return std::nullopt;
  Result<std::string> root = options.cgroup.empty() ? cgroup2_root() : options.cgroup;
  Result<ChildCgroup> made =
      root ? agent_cgroup(*root, "weir-canary-") : tl::unexpected(root.error());
  if (made) return std::move(*made);
  fmt::print(stderr, "weir run: the controls are not tried: {}\n", made.error().sentence);
  return std::nullopt;
}

// With a collector, or an Error. Nothing: standalone, also where the kernel can't cage the uplink.
std::optional<CollectorSide> join_collector(const RunOptions& options) {
  if (!is_enrolled(options.state_dir)) return std::nullopt;
  CollectorStart start{options.state_dir, options.cgroup, options.collector,
                       options.user != 0 ? options.user : kEngineUser};
  Result<CollectorSide> side = CollectorSide::start(start);
  if (side) return std::move(*side);
  fmt::print(stderr, "weir run: nothing is reported to a collector: {}\n", side.error().sentence);
  return std::nullopt;
}

}  // namespace

int run_agent(const RunOptions& options) {
  if (!options.collector.empty() && !is_enrolled(options.state_dir)) {
    fmt::print(stderr,
               "weir run: --collector: this host is not enrolled ({} has no trust or no identity); "
               "`weir enroll --token-file FILE` does that\n",
               options.state_dir);
    return kNotAllowed;
  }
  Result<CompiledPolicy> policy = policy_for_this_host(options.policy);
  if (!policy) {
    fmt::print(stderr, "weir run: {}\n", policy.error().sentence);
    return kUsage;
  }
  const std::string pin_dir = pins_of(options);
  Result<Fd> pins = pin_dir.empty() ? Result<Fd>(Fd()) : hold_pins(pin_dir);
  if (!pins) {
    fmt::print(stderr, "weir run: {}\n", pins.error().sentence);
    return kFailed;
  }
  std::error_code made;
  std::filesystem::create_directories(options.state_dir, made);
  ::chmod(options.state_dir.c_str(), 0700);  // what people did is for root
  Result<AccountsFile> accounts = AccountsFile::open(options.state_dir);
  if (!accounts) {
    fmt::print(stderr, "weir run: {}\n", accounts.error().sentence);
    return kFailed;
  }
  std::optional<CollectorSide> collector = join_collector(options);
  const std::optional<ChildCgroup> canary = make_canary_cgroup(options, pin_dir);
  // Persons' answers to what waits: from the server of others to the guard.
  std::array<Fd, 2> answers;
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0)
    answers = {Fd(pair[0]), Fd(pair[1])};
  GuardStart start{options.cgroup,
                   pin_dir,
                   options.state_dir,
                   options.record,
                   options.launchers,
                   options.interfaces,
                   options.user,
                   options.json,
                   options.chinese,
                   collector ? &*collector : nullptr,
                   &*accounts,
                   answers[1].get(),
                   canary ? canary->path() : "",
                   options.try_every_s};
  Result<GuardInputs> all = prepare_guard(start, *policy);
  if (!all) {
    fmt::print(stderr, "weir run: {}\n", all.error().sentence);
    return kFailed;
  }
  all->after_crashes = AfterCrashes::none;
  RunningAgent running{static_cast<std::uint32_t>(::getpid()),
                       static_cast<std::uint64_t>(wall_now_ns()), pin_dir, options.cgroup,
                       options.policy};
  if (auto written = write_running(options.state_dir, running); !written)
    fmt::print(stderr, "weir run: {}\n", written.error().sentence);
  std::optional<Process> served =
      serve_others(options, pin_dir, collector ? &*collector : nullptr, answers[0].get());
  int status = Supervisor(*all, collector ? &*collector : nullptr, options.restart).run();
  if (collector) collector->end();
  if (served) {
    served->send(SIGTERM);
    (void)served->wait();
  }
  // A guard that was killed could not do it itself. One that took no policy has changed nothing.
  if (status != kUsage && !all->keep && !pin_dir.empty() &&
      !(collector && collector->is_isolated()))
    (void)KernelPart::release(pin_dir);
  return status;
}

}  // namespace weir
