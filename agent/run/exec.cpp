// `weir exec` as root, standing alone: see exec.h.
#include "agent/run/exec.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "agent/guard/due_sockets.h"
#include "agent/run/caller.h"
#include "agent/run/cgroup.h"
#include "agent/run/exec_policy.h"
#include "agent/run/exec_run.h"
#include "agent/run/keeper.h"
#include "agent/run/names.h"
#include "agent/run/places.h"
#include "agent/run/process.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/event_ring.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

constexpr std::uint64_t kEndNs = 2'000'000'000;  // for what was killed to be gone
constexpr useconds_t kStepUs = 5000;

// In the child: waits until it stands in its tree and cgroup, then becomes the caller and the
// command.
[[noreturn]] void become_command(const ExecOptions& options, const Caller& caller, int go,
                                 int failed, const sigset_t& mask) {
  std::vector<char*> arguments;
  for (const std::string& word : options.command)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  char byte = 0;
  if (::read(go, &byte, 1) != 1) ::_exit(kNotExecutable);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  if (become(caller)) ::execvp(arguments[0], arguments.data());
  int cause = errno;
  (void)!::write(failed, &cause, sizeof cause);
  ::_exit(cause == ENOENT ? kNotFound : kNotExecutable);
}

// Until the command has ended. True: it ended by itself.
bool watch(Run& run, Process& command, const Process& keeper, SignalFd& signals) {
  for (;;) {
    std::array<pollfd, 6> wanted{{{command.pidfd(), POLLIN, 0},
                                  {keeper.pidfd(), POLLIN, 0},
                                  {signals.fd(), POLLIN, 0},
                                  {run.kernel.told_poll_fd(), POLLIN, 0},
                                  {run.ring.poll_fd(), POLLIN, 0},
                                  {run.policy ? run.policy->pidfd() : -1, POLLIN, 0}}};
    if (::poll(wanted.data(), wanted.size(), wait_ms(run)) < 0 && errno != EINTR) return false;
    take_told(run);
    take_events(run);
    // The terminal sends its own signals to the command as well; the others are handed on.
    while (std::optional<int> signal = signals.take())
      if (*signal == SIGTERM || *signal == SIGHUP) command.send(*signal);
    if (wanted[0].revents != 0) return true;
    if (wanted[1].revents != 0 || wanted[5].revents != 0) {
      run.notes.push_back({wanted[1].revents != 0 ? "guard_died" : "policy_died", {}});
      return false;
    }
  }
}

// What the command left running has no bound once we are gone: it ends with it, wherever it moved.
void end_tree(Run& run) {
  std::vector<std::uint32_t> left = members(run);
  if (!left.empty()) run.notes.push_back({"left_behind", {fmt::format("{}", left.size())}});
  for (std::uint64_t until = boot_now_ns() + kEndNs; !left.empty() && boot_now_ns() < until;) {
    run.cgroup->kill();
    for (std::uint32_t pid : left) ::kill(static_cast<pid_t>(pid), SIGKILL);
    ::usleep(kStepUs);
    left = members(run);
  }
}

// The command, in its tree and cgroup, told to go. An Error: it was not started.
Result<Process> start(Run& run, const ExecOptions& options, const Caller& caller,
                      const SignalFd& signals) {
  Result<Pipe> go = Pipe::make(), failed = Pipe::make();
  if (!go || !failed) return fail("no descriptors left for a pipe");
  Result<Process> command = Process::fork([&] {
    go->close_writer();
    become_command(options, caller, go->reader(), failed->writer(), signals.before());
  });
  if (!command) return command;
  failed->close_writer();
  Result<std::uint64_t> tree = run.kernel.put_task(command->pid(), caller.person);
  std::string pid = fmt::format("{}", command->pid());
  bool moved =
      ::write(run.cgroup->fd(), pid.data(), pid.size()) == static_cast<ssize_t>(pid.size());
  if (!tree || !moved) {
    command->send(SIGKILL);
    (void)command->wait();
    return tree ? fail(fmt::format("{}: cannot move a process there: {}", run.cgroup->path(),
                                   std::strerror(errno)))
                : tl::unexpected(tree.error());
  }
  run.tree = *tree;
  // Sockets that the kernel makes for the command itself (MPTCP) are the command's.
  if (auto home = run.kernel.set_home(run.cgroup->path(), run.tree); !home) {
    command->send(SIGKILL);
    (void)command->wait();
    return tl::unexpected(home.error());
  }
  (void)!::write(go->writer(), "g", 1);
  int cause = 0;
  if (::read(failed->reader(), &cause, sizeof cause) == sizeof cause)
    fmt::print(stderr, "weir: {}: {}\n", options.command[0], std::strerror(cause));
  return command;
}

}  // namespace

Result<ExecSummary> run_limited(const ExecOptions& options) {
  Result<Caller> caller = find_caller();
  if (!caller) return tl::unexpected(caller.error());
  Result<std::string> root = options.cgroup.empty() ? cgroup2_root() : options.cgroup;
  if (!root) return tl::unexpected(root.error());
  Result<KernelPart> kernel = load_bound(options.cgroup);
  if (!kernel) return tl::unexpected(kernel.error());
  if (auto set = set_bound(*kernel, options.limit, options.window_ns); !set)
    return tl::unexpected(set.error());
  Result<ChildCgroup> cgroup = ChildCgroup::make(*root, fmt::format("weir-exec-{}", ::getpid()));
  if (!cgroup) return tl::unexpected(cgroup.error());
  Result<Run> made = Run::make(std::move(*kernel));
  if (!made) return tl::unexpected(made.error());
  Run run = std::move(*made);
  run.cgroup.emplace(std::move(*cgroup));

  SignalFd signals({SIGINT, SIGQUIT, SIGTERM, SIGHUP});
  if (options.policy) {
    Result<ExecPolicy> policy =
        ExecPolicy::start(*options.policy, run.cgroup->path(), signals.fd(), signals.before());
    if (!policy) return tl::unexpected(policy.error());
    run.policy.emplace(std::move(*policy));
  }
  Result<Keeper> keeper = Keeper::start(run.kernel, run.cgroup->path());
  if (!keeper) return tl::unexpected(keeper.error());
  // After the keeper, which would otherwise hold the child's input open.
  if (Result<Names> names = Names::start()) run.names.emplace(std::move(*names));
  Result<Process> command = start(run, options, *caller, signals);
  if (!command) return tl::unexpected(command.error());
  if (!watch(run, *command, keeper->process(), signals)) {
    run.cgroup->kill();
    command->send(SIGKILL);
  }
  int status = command->wait();
  end_tree(run);
  drain(run);
  ExecSummary summary = summarize(run, options.limit, options.window_ns, status);
  // Sockets that were never told of and not made in the cgroup may still hold what the command had
  // written: then the bound outlives us until they gave up.
  if (records_lost(run) == 0)
    keeper->dismiss();
  else
    keeper->stay();
  return summary;
}

}  // namespace weir
