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
#include "agent/run/keeper.h"
#include "agent/run/names.h"
#include "agent/run/places.h"
#include "agent/run/process.h"
#include "platform/linux/event_ring.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

constexpr std::uint32_t kRow = 0;  // the one limit of this run
constexpr int kPollMs = 1000;      // nothing due: a look at the rings once a second
constexpr std::uint64_t kDrainNs =
    10'000'000'000;                              // for what the kernel still sends after the exit
constexpr std::uint64_t kEndNs = 2'000'000'000;  // for what was killed to be gone
constexpr int kStepMs = 5;

// One run. The kernel part is declared first: it goes last, after every process and socket.
struct Run {
  KernelPart kernel;
  ChildCgroup cgroup;
  Fd ring_fd;
  EventRing ring;
  std::uint64_t tree = 0;
  Places places{};
  std::optional<Names> names{};  // none: addresses stay without a name
  std::unique_ptr<DueSockets> due = std::make_unique<DueSockets>();
  std::optional<ExecPolicy> policy{};
  std::vector<Reason> notes{};
};

Result<KernelPart> set_bound(const ExecOptions& options) {
  KernelOptions wanted;
  wanted.cgroup = options.cgroup;
  wanted.scope = KernelScope::known_trees;
  wanted.scan = false;
  wanted.bind_sockets = false;
  Result<KernelPart> kernel = KernelPart::load(wanted);
  if (!kernel) return kernel;
  weir_limit row = limit_row(options.limit, options.window_ns, WEIR_PER_TREE, WEIR_LIMIT_FIXED);
  if (auto set = kernel->set_limits({&row, 1}); !set) return tl::unexpected(set.error());
  weir_state state{};  // no first flight: nothing waits for a verdict, no refusal is taken back
  state.unclassified = 1u << kRow;
  state.acknowledgements = 1u << kRow;  // "at most BYTES left" has no exception
  if (auto set = kernel->set_state(state); !set) return tl::unexpected(set.error());
  return kernel;
}

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

void take_told(Run& run) {
  std::uint64_t now = boot_now_ns();
  run.kernel.poll_told([&](const weir_refused& refused) {
    if (refused.account.limit == kRow && refused.account.who == run.tree)
      run.due->refused(refused, now);
  });
  while (auto socket = run.due->take_due(now))
    (void)destroy_socket(socket->tuple, socket->record.cookie);  // gone already: as well
}

void take_events(Run& run) {
  run.ring.read([&](Bytes record) {
    weir_record head;
    if (record.size() < sizeof head) return;
    std::memcpy(&head, record.data(), sizeof head);
    if (head.tree != run.tree) return;
    run.places.record(record);
    if (run.names) run.names->record(record);
  });
}

int wait_ms(const Run& run) {
  std::optional<std::uint64_t> due = run.due->next_due_ns();
  if (!due) return kPollMs;
  std::uint64_t now = boot_now_ns();
  return *due <= now
             ? 0
             : static_cast<int>(std::min<std::uint64_t>((*due - now) / 1'000'000 + 1, kPollMs));
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

std::vector<std::uint32_t> members(const Run& run) {
  std::vector<std::uint32_t> pids;
  Result<std::vector<KernelTask>> tasks = run.kernel.tasks();
  if (!tasks) return pids;
  for (const KernelTask& task : *tasks)
    if (task.value.tree == run.tree) pids.push_back(task.pid);
  return pids;
}

// What the command left running has no bound once we are gone: it ends with it, wherever it moved.
void end_tree(Run& run) {
  std::vector<std::uint32_t> left = members(run);
  if (!left.empty()) run.notes.push_back({"left_behind", {fmt::format("{}", left.size())}});
  for (std::uint64_t until = boot_now_ns() + kEndNs; !left.empty() && boot_now_ns() < until;) {
    run.cgroup.kill();
    for (std::uint32_t pid : left) ::kill(static_cast<pid_t>(pid), SIGKILL);
    ::usleep(kStepMs * 1000);
    left = members(run);
  }
}

weir_account account_of(const Run& run) {
  weir_account_key key{};
  key.limit = kRow;
  key.per = WEIR_PER_TREE;
  key.who = run.tree;
  return run.kernel.account(key).value_or(weir_account{});
}

// The kernel goes on sending what the command had written before it ended. It is given time, within
// the limit; what is left then is thrown away, because nothing bounds it after us. The ring loses
// records of a command that opens thousands of connections; the kernel's own list has them all.
void drain(Run& run) {
  struct stat cgroup {};
  bool listed = ::stat(run.cgroup.path().c_str(), &cgroup) == 0;
  for (std::uint64_t until = boot_now_ns() + kDrainNs; boot_now_ns() < until;) {
    take_told(run);
    take_events(run);
    bool unsent = listed ? unsent_of_cgroup(cgroup.st_ino) > 0 : run.places.any_open();
    if (!unsent || account_of(run).refused > 0) break;
    ::usleep(kStepMs * 1000);
  }
  for (const weir_usage& open : run.places.open_sockets())
    (void)destroy_socket(open.tuple, open.record.cookie);
  if (listed) (void)destroy_sockets_of_cgroup(cgroup.st_ino);
  ::usleep(kStepMs * 1000);
  take_told(run);
  take_events(run);
}

std::uint64_t records_lost(const Run& run) {
  return run.kernel.counters()[WEIR_COUNT_RING_LOST] + run.places.sockets_dropped();
}

ExecSummary summarize(Run& run, const ExecOptions& options, int status) {
  ExecSummary summary;
  weir_account account = account_of(run);
  summary.limit = options.limit;
  summary.window_ns = options.window_ns;
  summary.bytes_out = account.charged;
  summary.bytes_refused = account.refused;
  summary.stopped = account.refused > 0;
  summary.places = run.places.summed(summary.places_dropped);
  std::map<Endpoint, std::string> names;
  if (run.names) names = run.names->finish();
  for (ExecPlace& place : summary.places) {
    summary.bytes_in += place.bytes_in;
    if (auto known = names.find(place.endpoint); known != names.end()) place.name = known->second;
  }
  summary.exit_status = status;
  if (run.policy) summary.reports = run.policy->finish();
  for (const ExecReport& report : summary.reports) summary.stopped |= report.stopped;
  if (summary.stopped && account.refused == 0) run.notes.push_back({"refused_is_counted", {}});
  std::uint64_t lost = records_lost(run);
  if (lost > 0) run.notes.push_back({"records_lost", {fmt::format("{}", lost)}});
  run.notes.push_back({"resolver_outside", {}});
  summary.notes = std::move(run.notes);
  return summary;
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
  bool moved = ::write(run.cgroup.fd(), pid.data(), pid.size()) == static_cast<ssize_t>(pid.size());
  if (!tree || !moved) {
    command->send(SIGKILL);
    (void)command->wait();
    return tree ? fail(fmt::format("{}: cannot move a process there: {}", run.cgroup.path(),
                                   std::strerror(errno)))
                : tl::unexpected(tree.error());
  }
  run.tree = *tree;
  // Sockets that the kernel makes for the command itself (MPTCP) are the command's.
  if (auto home = run.kernel.set_home(run.cgroup.path(), run.tree); !home) {
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
  Result<KernelPart> kernel = set_bound(options);
  if (!kernel) return tl::unexpected(kernel.error());
  Result<ChildCgroup> cgroup = ChildCgroup::make(*root, fmt::format("weir-exec-{}", ::getpid()));
  if (!cgroup) return tl::unexpected(cgroup.error());
  Result<int> ring_map = kernel->events_fd();
  if (!ring_map) return tl::unexpected(ring_map.error());
  Fd ring_fd(*ring_map);
  Result<EventRing> ring = EventRing::open(ring_fd.get());
  if (!ring) return tl::unexpected(ring.error());
  Run run{.kernel = std::move(*kernel),
          .cgroup = std::move(*cgroup),
          .ring_fd = std::move(ring_fd),
          .ring = std::move(*ring)};

  SignalFd signals({SIGINT, SIGQUIT, SIGTERM, SIGHUP});
  if (options.policy) {
    Result<ExecPolicy> policy =
        ExecPolicy::start(*options.policy, run.cgroup.path(), signals.fd(), signals.before());
    if (!policy) return tl::unexpected(policy.error());
    run.policy.emplace(std::move(*policy));
  }
  Result<Keeper> keeper = Keeper::start(run.kernel, run.cgroup.path());
  if (!keeper) return tl::unexpected(keeper.error());
  // After the keeper, which would otherwise hold the child's input open.
  if (Result<Names> names = Names::start()) run.names.emplace(std::move(*names));
  Result<Process> command = start(run, options, *caller, signals);
  if (!command) return tl::unexpected(command.error());
  if (!watch(run, *command, keeper->process(), signals)) {
    run.cgroup.kill();
    command->send(SIGKILL);
  }
  int status = command->wait();
  end_tree(run);
  drain(run);
  ExecSummary summary = summarize(run, options, status);
  // Sockets that were never told of and not made in the cgroup may still hold what the command had
  // written: then the bound outlives us until they gave up.
  if (records_lost(run) == 0)
    keeper->dismiss();
  else
    keeper->stay();
  return summary;
}

}  // namespace weir
