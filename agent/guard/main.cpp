// weir-guard: started by `weir run`, as root. Sets the kernel's bound by a flat policy and keeps
// it. Options are words and paths of `weir run`; no file is parsed. Descriptors: descriptors.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "agent/guard/descriptors.h"
#include "agent/guard/guard.h"
#include "agent/guard/observer.h"
#include "core/policy/explain.h"

namespace weir {
namespace {

constexpr int kExitFailed = 1, kExitUsage = 2;

struct Arguments {
  GuardOptions guard;
  SpawnCommands commands;
  std::string collector;
};

void put_digest(std::string_view hex, std::array<std::uint8_t, 32>& out) {
  for (std::size_t n = 0; n < out.size() && 2 * n + 2 <= hex.size(); ++n) {
    const std::string byte(hex.substr(2 * n, 2));
    out[n] = static_cast<std::uint8_t>(std::strtoul(byte.c_str(), nullptr, 16));
  }
}

// --cgroup PATH, --pin DIR, --launcher PATH …, --interface NAME …, with a collector --uplink
// PROGRAM, --again 1, --after-crashes N [--crashed-number N --crashed-digest HEX], --uplink-user
// UID,
// --uplink-cgroup PATH and, if it is told, --collector HOST:PORT; where the controls are tried
// --canary-cgroup PATH and --try-every SECONDS; then --engine and all of its own.
bool read_arguments(int argc, char** argv, Arguments& arguments) {
  for (int n = 1; n + 1 < argc; n += 2) {
    std::string_view name = argv[n];
    if (name == "--engine") {
      for (int word = n + 1; word < argc; ++word)
        arguments.commands.engine.emplace_back(argv[word]);
      arguments.commands.canary_pins = arguments.guard.pin_dir;
      if (!arguments.collector.empty() && !arguments.commands.uplink.empty())
        arguments.commands.uplink.insert(arguments.commands.uplink.end(),
                                         {"--collector", arguments.collector});
      return true;
    }
    if (name == "--cgroup")
      arguments.guard.cgroup = argv[n + 1];
    else if (name == "--pin")
      arguments.guard.pin_dir = argv[n + 1];
    else if (name == "--launcher")
      arguments.guard.launchers.emplace_back(argv[n + 1]);
    else if (name == "--interface")
      arguments.guard.interfaces.emplace_back(argv[n + 1]);
    else if (name == "--uplink")
      arguments.commands.uplink = {argv[n + 1]};
    else if (name == "--uplink-user")
      arguments.commands.uplink_user = static_cast<uid_t>(std::strtoul(argv[n + 1], nullptr, 10));
    else if (name == "--uplink-cgroup")
      arguments.guard.uplink_cgroup = argv[n + 1];
    else if (name == "--again")
      arguments.guard.again = true;
    else if (name == "--after-crashes")
      arguments.guard.after_crashes =
          static_cast<AfterCrashes>(std::min(std::strtoul(argv[n + 1], nullptr, 10), 2ul));
    else if (name == "--crashed-number")
      arguments.guard.crashed.emplace().number =
          static_cast<std::uint32_t>(std::strtoul(argv[n + 1], nullptr, 10));
    else if (name == "--crashed-digest" && arguments.guard.crashed)
      put_digest(argv[n + 1], arguments.guard.crashed->digest);
    else if (name == "--canary-cgroup")
      arguments.commands.canary_cgroup = argv[n + 1];
    else if (name == "--try-every")
      arguments.guard.try_every_s =
          static_cast<std::uint32_t>(std::strtoul(argv[n + 1], nullptr, 10));
    else if (name == "--collector") {
      arguments.collector = argv[n + 1];
      const std::size_t port = arguments.collector.rfind(':');
      arguments.guard.collector = arguments.collector.substr(0, port);
      if (arguments.guard.collector.starts_with('['))
        arguments.guard.collector = arguments.guard.collector.substr(1, port - 2);
    } else
      return false;
  }
  return false;
}

bool may_lock_all() {
  rlimit most{};
  if (::getrlimit(RLIMIT_MEMLOCK, &most) == 0 && most.rlim_cur == RLIM_INFINITY) return true;
  __user_cap_header_struct whose{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3] = {};
  return ::syscall(SYS_capget, &whose, held) == 0 &&
         (held[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

// Nobody reads our memory, no core file is written by the one who holds the tables, no page of ours
// is fetched from a disk while packets wait.
void harden() {
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // without `weir run` the policy's on_exit holds
  // Best effort. Where a limit counts for us, what we map later (tables, rings) would be refused.
  if (!may_lock_all() || ::mlockall(MCL_CURRENT | MCL_FUTURE) != 0) ::munlockall();
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

// A small file that `weir run` handed down; nothing: none was.
std::optional<std::vector<std::uint8_t>> read_whole(int fd, std::size_t most) {
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0 ||
      static_cast<std::size_t>(info.st_size) > most)
    return std::nullopt;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(info.st_size));
  if (::pread(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return std::nullopt;
  return bytes;
}

Result<PolicyTrust> trusted() {
  auto text = read_whole(fds::kTrust, kMaxTrustBytes);
  if (!text) return fail("the trust file is not there");
  return read_trust({reinterpret_cast<const char*>(text->data()), text->size()});
}

DoneCommands done_before() {
  auto bytes = read_whole(fds::kDone, sizeof(DoneCommands));
  if (!bytes) return DoneCommands::none();
  bool damaged = false;
  DoneCommands done = DoneCommands::read(*bytes, damaged);
  if (damaged)
    fmt::print(stderr,
               "weir-guard: the commands of before can't be read: one of them may be done again\n");
  return done;
}

ExceptionTable exceptions_before() {
  auto bytes = read_whole(fds::kExceptions, sizeof(ExceptionTable));
  if (!bytes) return ExceptionTable::lost();
  Result<ExceptionTable> table = ExceptionTable::read(*bytes);
  if (table) return *table;
  fmt::print(stderr, "weir-guard: exceptions of before do not hold: {}\n", table.error().sentence);
  return ExceptionTable::lost();
}

// What accounts have spent. Nothing: it is not kept here (`weir exec`).
struct Spent {
  KernelPast past;
  std::vector<KeptAccount> accounts;
};
std::unique_ptr<Spent> spent_before() {
  struct stat line {};
  if (::fstat(fds::kKeepAccounts, &line) != 0 || !S_ISSOCK(line.st_mode)) return nullptr;
  auto spent = std::make_unique<Spent>();
  struct stat file {};
  if (::fstat(fds::kAccounts, &file) != 0 || !S_ISREG(file.st_mode))
    return spent;  // the first start
  auto bytes = read_whole(fds::kAccounts, kMaxAccountsFile);
  Result<std::vector<KeptAccount>> read =
      bytes ? read_kept_accounts(*bytes) : fail("it can't be read");
  spent->past.known = true;
  spent->past.lost = !read;
  if (read) spent->accounts = std::move(*read);
  if (!read)
    fmt::print(stderr,
               "weir-guard: what was spent before is not known ({}): every account that may have "
               "been in use counts as spent\n",
               read.error().sentence);
  spent->past.accounts = spent->accounts;
  return spent;
}

// The last good policy of the collector comes before the file's and the built-in one.
void prefer_kept(PolicyInForce& policy, const PolicyTrust& trust, Spawner& spawner) {
  auto bytes = read_whole(fds::kKept, kMaxKeptBytes);
  if (!bytes) return;
  Offers offers(trust);
  Result<KeptView> kept = read_kept(*bytes);
  OfferOutcome outcome = kept ? take_kept(offers, *kept, spawner)
                              : tl::unexpected(OfferRefused{wire::Refusal::damaged, 0, ""});
  if (!outcome) {
    Reason reason;
    reason.code = wire::code_of(outcome.error().why);
    if (!outcome.error().words.empty()) reason.args.push_back(outcome.error().words);
    fmt::print(stderr, "weir-guard: the kept policy is not taken again: {}\n",
               explain(reason, Language::english));
    return;
  }
  policy.flat = outcome->view.flat;
  policy.policy_fd = outcome->policy.fd();
  policy.accepted = std::move(*outcome);
  fmt::print(stderr, "weir-guard: policy {} of the collector is in force again\n",
             policy.flat.header->policy_number);
}

void print_counters(const GuardCounters& counters) {
  std::uint64_t nonsense = 0;
  for (std::uint64_t count : counters.damage) nonsense += count;
  fmt::print(
      stderr,
      "weir-guard: ends: {} sockets destroyed, {} were gone, {} verdicts ({} found no room), "
      "{} blocks, {} engines ({} for nonsense, {} for silence), {} policies, {} refused\n",
      counters.destroyed, counters.not_destroyed, counters.classified, counters.not_classified,
      counters.blocks, counters.engines, nonsense, counters.silent, counters.policies,
      counters.refusals);
}

// A policy that bounds is refused on such a host, never silently weakened.
int observe_only(Spawner& spawner, const FlatPolicy& policy, int signals, const Error& why) {
  fmt::print(stderr, "weir-guard: {}\n", why.sentence);
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
  for (int fd = fds::kFlatPolicy; fd <= fds::kGuardLast; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  Arguments arguments;
  if (!read_arguments(argc, argv, arguments)) {
    fmt::print(stderr, "weir-guard is started by `weir run`\n");
    return kExitUsage;
  }
  Result<Spawner> spawner = Spawner::start(arguments.commands);
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
  if (!policy) {
    fmt::print(stderr, "weir-guard: {}\n", policy.error().sentence);
    return kExitFailed;
  }
  PolicyInForce in_force{*policy, fds::kPolicy, std::nullopt};
  std::optional<PolicyTrust> trust;
  if (!arguments.commands.uplink.empty()) {
    Result<PolicyTrust> read = trusted();
    if (!read) {
      fmt::print(stderr, "weir-guard: {}\n", read.error().sentence);
      return kExitFailed;
    }
    trust = std::move(*read);
    prefer_kept(in_force, *trust, *spawner);
  }
  const bool enforces = in_force.flat.header->enforce != 0;
  const std::unique_ptr<Spent> spent = spent_before();
  auto guard = Guard::load(arguments.guard, std::move(in_force), std::move(trust), done_before(),
                           exceptions_before(), spent ? &spent->past : nullptr);
  if (!guard && !kernel_takes_bpf()) {
    if (enforces && policy->header->enforce == 0)
      fmt::print(stderr, "weir-guard: the collector's policy enforces, which this kernel can't\n");
    return observe_only(*spawner, *policy, signals, guard.error());
  }
  if (!guard) {
    fmt::print(stderr, "weir-guard: {}{}\n",
               guard.error().host_lacks ? "this host can't enforce the policy: " : "",
               guard.error().sentence);
    return guard.error().host_lacks ? kHostLacksStatus : kExitFailed;
  }
  const bool was_told = guard->run(*spawner, signals, fds::kReady);
  if (was_told && !guard->keeps_on_exit()) guard->release(arguments.guard.pin_dir);
  print_counters(guard->counters());
  return was_told ? 0 : kCrashedStatus;
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  return weir::run(argc, argv);
}
