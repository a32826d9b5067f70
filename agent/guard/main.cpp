// weir-guard: started by `weir run`, as root. Sets the kernel's bound by a flat policy and keeps
// it. Options are words and paths of `weir run`; no file is parsed. Descriptors: descriptors.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "agent/guard/descriptors.h"
#include "agent/guard/guard.h"
#include "agent/guard/observer.h"

namespace weir {
namespace {

constexpr int kExitFailed = 1, kExitUsage = 2;

struct Arguments {
  GuardOptions guard;
  std::vector<std::string> engine;  // path and its arguments
};

// --cgroup PATH, --pin DIR, --launcher PATH …, then --engine and everything that belongs to it.
bool read_arguments(int argc, char** argv, Arguments& arguments) {
  for (int n = 1; n + 1 < argc; n += 2) {
    std::string_view name = argv[n];
    if (name == "--engine") {
      for (int word = n + 1; word < argc; ++word) arguments.engine.emplace_back(argv[word]);
      return true;
    }
    if (name == "--cgroup")
      arguments.guard.cgroup = argv[n + 1];
    else if (name == "--pin")
      arguments.guard.pin_dir = argv[n + 1];
    else if (name == "--launcher")
      arguments.guard.launchers.emplace_back(argv[n + 1]);
    else
      return false;
  }
  return false;
}

// Nobody reads our memory, no core file is written by the one who holds the tables, no page of ours
// is fetched from a disk while packets wait.
void harden() {
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // without `weir run` the policy's on_exit holds
  if (::mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
    ::munlockall();  // best effort: a small RLIMIT_MEMLOCK without its capability
}

Result<FlatPolicy> map_policy() {
  struct stat info {};
  if (::fstat(fds::kFlatPolicy, &info) != 0) return fail("no policy was handed down");
  auto size = static_cast<std::size_t>(info.st_size);
  if (size < sizeof(FlatHeader) || size > kMaxFlatBytes) return fail("flat policy: no such size");
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fds::kFlatPolicy, 0);
  if (memory == MAP_FAILED) return fail(fmt::format("flat policy: {}", std::strerror(errno)));
  return read_flat_policy({static_cast<const std::uint8_t*>(memory), size});
}

void print_counters(const GuardCounters& counters) {
  std::uint64_t nonsense = 0;
  for (std::uint64_t count : counters.damage) nonsense += count;
  fmt::print(
      stderr,
      "weir-guard: ends: {} sockets destroyed, {} were gone, {} verdicts ({} found no room), "
      "{} blocks, {} engines ({} for nonsense, {} for silence)\n",
      counters.destroyed, counters.not_destroyed, counters.classified, counters.not_classified,
      counters.blocks, counters.engines, nonsense, counters.silent);
}

// A policy that bounds is refused on such a host, never silently weakened.
int observe_only(Spawner& spawner, const FlatPolicy& policy, int signals) {
  if (policy.header->enforce != 0) {
    fmt::print(
        stderr,
        "weir-guard: this kernel takes no BPF (tier 4): nothing can be bounded here, and the "
        "policy says enforce; `weir doctor` says more\n");
    return kExitFailed;
  }
  fmt::print(stderr,
             "weir-guard: this kernel takes no BPF (tier 4): nothing is bounded, only "
             "observed\n");
  if (Result<void> ended = observe(spawner, policy, signals, fds::kReady); !ended) {
    fmt::print(stderr, "weir-guard: {}\n", ended.error().sentence);
    return kExitFailed;
  }
  return 0;
}

int run(int argc, char** argv) {
  for (int fd = fds::kFlatPolicy; fd <= fds::kLast; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  Arguments arguments;
  if (!read_arguments(argc, argv, arguments)) {
    fmt::print(stderr, "weir-guard is started by `weir run`\n");
    return kExitUsage;
  }
  Result<Spawner> spawner = Spawner::start(arguments.engine);
  if (!spawner) {
    fmt::print(stderr, "weir-guard: {}\n", spawner.error().sentence);
    return kExitFailed;
  }
  harden();
  sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGTERM);
  ::sigaddset(&ends, SIGINT);
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);
  int signals = ::signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  Result<FlatPolicy> policy = map_policy();
  Result<Guard> guard = policy ? Guard::load(arguments.guard, *policy)
                               : Result<Guard>(tl::unexpected(policy.error()));
  if (!guard && policy && !kernel_takes_bpf()) return observe_only(*spawner, *policy, signals);
  if (!guard) {
    fmt::print(stderr, "weir-guard: {}\n", guard.error().sentence);
    return kExitFailed;
  }
  guard->run(*spawner, signals, fds::kReady);
  if (policy->header->keep == 0) guard->release(arguments.guard.pin_dir);
  print_counters(guard->counters());
  return 0;
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  return weir::run(argc, argv);
}
