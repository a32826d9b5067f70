// The guard as a child of ours: see guard_process.h.
#include "agent/run/guard_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "agent/guard/descriptors.h"
#include "agent/guard/flat_policy.h"
#include "agent/uplink/user.h"
#include "core/base/hex.h"
#include "platform/files/passing.h"

namespace weir {
namespace {

constexpr long kBpffsMagic = 0xcafe4a11;
constexpr const char* kUtmpPath = "/run/utmp";

std::string beside_us(const char* program) {
  char path[PATH_MAX] = {};
  if (::readlink("/proc/self/exe", path, sizeof path - 1) <= 0) return program;
  std::string own = path;
  return own.substr(0, own.rfind('/') + 1) + program;
}

std::vector<std::string> guard_command(const GuardStart& options) {
  std::vector<std::string> command{beside_us("weir-guard")};
  auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) command.insert(command.end(), {name, value});
  };
  add("--cgroup", options.cgroup);
  add("--pin", options.pin_dir);
  for (const std::string& path : options.launchers) add("--launcher", path);
  for (const std::string& name : options.interfaces) add("--interface", name);
  if (const CollectorSide* side = options.collector; side != nullptr) {
    add("--uplink", beside_us("weir-uplink"));
    add("--uplink-user", fmt::to_string(kUplinkUser));
    add("--uplink-cgroup", side->cgroup());
    add("--collector", side->collector());
  }
  add("--canary-cgroup", options.canary_cgroup);
  if (!options.canary_cgroup.empty()) add("--try-every", fmt::to_string(options.try_every_s));
  command.insert(command.end(), {"--engine", beside_us("weir-engine")});
  if (options.json) command.emplace_back("--json");
  if (options.chinese) command.emplace_back("--chinese");
  if (!options.record.empty()) command.emplace_back("--record");
  if (options.user != 0) command.insert(command.end(), {"--user", fmt::to_string(options.user)});
  return command;
}

std::vector<std::string> command_of(const GuardInputs& all) {
  std::vector<std::string> command = all.command, more;
  if (all.again) more = {"--again", "1"};
  if (all.after_crashes)
    more.insert(more.end(), {"--after-crashes",
                             fmt::to_string(static_cast<std::uint32_t>(*all.after_crashes))});
  if (all.crashed)
    more.insert(more.end(), {"--crashed-number", fmt::to_string(all.crashed->number),
                             "--crashed-digest", hex_of(all.crashed->digest)});
  command.insert(command.begin() + 1, more.begin(), more.end());
  return command;
}

// In the child: descriptors to their numbers, then the guard.
[[noreturn]] void become_guard(const GuardInputs& all, int ready, const Fd& accounts) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  auto or_null = [&](const Fd& fd) { return fd ? fd.get() : all.null.get(); };
  const CollectorSide* side = all.collector;
  const int null = all.null.get();
  Fd kept = side == nullptr ? Fd() : all.by_before ? side->open_before() : side->open_kept();
  Fd trust = side != nullptr ? side->open_trust() : Fd();
  Fd done = side != nullptr ? side->open_done() : Fd();
  Fd exceptions = side != nullptr ? side->open_exceptions() : Fd();
  auto of_side = [&](const Fd CollectorSide::*one) {
    return side != nullptr ? (side->*one).get() : null;
  };
  const std::array<int, fds::kGuardLast - fds::kFlatPolicy + 1> wanted{
      all.flat.get(),
      all.policy.get(),
      ready,
      or_null(all.record),
      all.state.reports.get(),
      all.state.usage.get(),
      all.state.sessions.get(),
      or_null(all.utmp),
      of_side(&CollectorSide::spool),
      of_side(&CollectorSide::acknowledged_read),
      of_side(&CollectorSide::news),
      or_null(trust),
      or_null(kept),
      of_side(&CollectorSide::keep),
      of_side(&CollectorSide::spool_read),
      of_side(&CollectorSide::acknowledged),
      of_side(&CollectorSide::identity),
      side != nullptr ? side->cgroup_procs() : null,
      or_null(done),
      or_null(exceptions),
      of_side(&CollectorSide::requests),
      or_null(accounts),
      all.accounts != nullptr ? all.accounts->guard_line() : null,
      of_side(&CollectorSide::releases),
      all.answers >= 0 ? all.answers : null};
  std::array<int, wanted.size()> moved{};
  for (std::size_t n = 0; n < wanted.size(); ++n)  // out of each other's way first
    moved[n] = ::fcntl(wanted[n], F_DUPFD, fds::kGuardLast + 1);
  for (std::size_t n = 0; n < wanted.size(); ++n)
    ::dup2(moved[n], fds::kFlatPolicy + static_cast<int>(n));
  ::syscall(SYS_close_range, fds::kGuardLast + 1, ~0u, 0);
  ::dup2(::open("/dev/null", O_RDONLY), 0);
  std::vector<char*> arguments;
  const std::vector<std::string> command = command_of(all);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(arguments[0], arguments.data());
  int cause = errno;
  fmt::print(stderr, "weir run: {}: {}\n", all.command[0], std::strerror(cause));
  ::_exit(127);
}

}  // namespace

bool is_bpffs(const std::string& path) {
  struct statfs fs {};
  return ::statfs(path.c_str(), &fs) == 0 && static_cast<long>(fs.f_type) == kBpffsMagic;
}

Result<GuardInputs> prepare_guard(const GuardStart& options, const CompiledPolicy& policy) {
  GuardInputs all;
  Fd flat = sealed_memory("weir-flat-policy", policy.flat);
  Fd bytes = flat ? sealed_memory("weir-policy", policy.bytes) : Fd();
  if (!bytes) return fail(fmt::format("no memory for the policy: {}", std::strerror(errno)));
  Result<StateFiles> state = open_state(options.state_dir);
  if (!state) return tl::unexpected(state.error());
  all.null = Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!options.record.empty()) {
    all.record = Fd(
        ::open(options.record.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!all.record) return fail(fmt::format("{}: {}", options.record, std::strerror(errno)));
  }
  all.utmp = Fd(::open(kUtmpPath, O_RDONLY | O_CLOEXEC));  // not every host has one
  all.flat = std::move(flat);
  all.policy = std::move(bytes);
  all.state = std::move(*state);
  all.command = guard_command(options);
  Result<FlatPolicy> checked = read_flat_policy(policy.flat);
  if (!checked) return tl::unexpected(checked.error());
  all.keep = checked->header->keep != 0;
  all.collector = options.collector;
  all.accounts = options.accounts;
  all.answers = options.answers;
  if (all.collector != nullptr) all.keep = all.collector->keeps_on_exit().value_or(all.keep);
  return all;
}

Result<Process> start_guard(const GuardInputs& all, int ready, const sigset_t& mask, int output) {
  const Fd accounts = all.accounts != nullptr ? all.accounts->open_for_guard() : Fd();
  return Process::fork([&] {
    ::sigprocmask(SIG_SETMASK, &mask, nullptr);
    if (output >= 0)
      for (int standard : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(output, standard);
    become_guard(all, ready, accounts);
  });
}

}  // namespace weir
