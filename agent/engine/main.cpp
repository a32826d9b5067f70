// weir-engine: started by the guard's spawner. Maps what it is to read, seals itself, then runs the
// line. Descriptors: agent/guard/descriptors.h.
#include <fmt/format.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>

#include "agent/engine/compile.h"
#include "agent/engine/engine.h"
#include "agent/engine/seal.h"
#include "agent/guard/descriptors.h"
#include "platform/linux/lsm.h"
#include "proto/map/policy_proto.h"

namespace weir {
namespace {

constexpr int kExitFailed = 1, kExitUsage = 2;
constexpr std::size_t kMaxAccounts =
    4096;  // people of one host; more are shown without their number

struct Arguments {
  PrinterOptions printer;
  bool record = false;
  std::optional<Reading> reading;
  uid_t user = kEngineUser;
};

std::optional<Arguments> read_arguments(int argc, char** argv) {
  Arguments arguments;
  for (int n = 1; n < argc; ++n) {
    std::string_view word = argv[n];
    if (word == "--json")
      arguments.printer.format = Format::json;
    else if (word == "--chinese")
      arguments.printer.language = Language::chinese;
    else if (word == "--record")
      arguments.record = true;
    else if (word == "--compile")
      arguments.reading = Reading::policy;
    else if (word == "--read-command")
      arguments.reading = Reading::command;
    else if (word == "--read-trust")
      arguments.reading = Reading::trust;
    else if (word == "--user" && n + 1 < argc)
      arguments.user = static_cast<uid_t>(std::strtoul(argv[++n], nullptr, 10));
    else
      return std::nullopt;
  }
  return arguments;
}

EngineFacts gather_facts(std::uint8_t tier) {
  EngineFacts facts;
  facts.tier = tier;
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) == 0) facts.host = name;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> facts.boot_id;
  // The file itself: other sources of names would load libraries of the host into the engine.
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/etc/passwd", "re"),
                                                       std::fclose);
  while (file && facts.accounts.size() < kMaxAccounts) {
    const passwd* entry = ::fgetpwent(file.get());
    if (entry == nullptr) break;
    facts.accounts.emplace_back(entry->pw_name, entry->pw_uid);
  }
  return facts;
}

Bytes map_policy() {
  struct stat info {};
  if (::fstat(fds::kPolicy, &info) != 0 || info.st_size <= 0 ||
      static_cast<std::size_t>(info.st_size) > kMaxCompiledBytes)
    return {};
  auto size = static_cast<std::size_t>(info.st_size);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fds::kPolicy, 0);
  if (memory == MAP_FAILED) return {};
  return {static_cast<const std::uint8_t*>(memory), size};
}

// The log of one recording goes on only where it begins: an engine that is started again leaves it.
bool may_record() {
  struct stat info {};
  return ::fstat(fds::kRecord, &info) == 0 && info.st_size == 0;
}

bool is_socket(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

bool is_regular(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

bool is_folder(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
}

std::int64_t wall_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

// After the seal. Nothing without a collector.
std::unique_ptr<Spooler> start_spooler(SpoolAccess access) {
  if (access == SpoolAccess::none) return nullptr;
  Spooler::Ends ends{fds::kSpool, is_regular(fds::kAcknowledged) ? fds::kAcknowledged : -1,
                     fds::kNews};
  return std::make_unique<Spooler>(ends, SpoolLimits{}, wall_ns());
}

int failed(const std::string& sentence) {
  fmt::print(stderr, "weir-engine: {}\n", sentence);
  return kExitFailed;
}

int run(int argc, char** argv) {
  std::optional<Arguments> arguments = read_arguments(argc, argv);
  if (arguments && arguments->reading && is_regular(fds::kCompileEnvelope))
    ::_exit(run_reading(*arguments->reading, arguments->user));  // as below
  if (!arguments || !is_socket(fds::kGuard)) {
    fmt::print(stderr, "weir-engine is started by weir-guard\n");
    return kExitUsage;
  }
  // Without BPF the guard hands down a packet socket instead of the ring.
  bool has_ring = !is_socket(fds::kSource);
  EngineFacts facts = gather_facts(has_ring ? (lsm_answers() ? 2 : 1) : 4);
  std::optional<EventRing> ring;
  if (has_ring) {
    Result<EventRing> opened = EventRing::open(fds::kSource);
    if (!opened) return failed(opened.error().sentence);
    ring.emplace(std::move(*opened));
  }
  Bytes policy_bytes = map_policy();
  bool record = arguments->record && may_record();
  GuardLine guard(fds::kGuard);
  EngineOutlet outlet(guard, {STDOUT_FILENO, fds::kReports, fds::kUsage, fds::kSessions},
                      arguments->printer);
  Line line(outlet);  // its tables are made while files may still be opened
  SpoolAccess access = is_folder(fds::kSpool) ? SpoolAccess::folder : SpoolAccess::none;
  ::umask(027);  // the uplink's group reads the spool
  if (Result<void> taken = take_low_descriptors(); !taken) return failed(taken.error().sentence);
  Result<SealReport> seal = seal_engine(arguments->user, access);
  if (!seal) return failed(seal.error().sentence);
  for (const std::string& part : seal->missing)
    fmt::print(stderr, "weir-engine: no {} here: sealed without it\n", part);

  Result<Policy> policy = policy_from_bytes(policy_bytes);
  if (!policy) return failed(policy.error().sentence);
  std::optional<LogWriter> log;
  if (record) log.emplace(fds::kRecord);
  EngineSources sources{.ring = ring ? &*ring : nullptr,
                        .packets = ring ? -1 : fds::kSource,
                        .guard = fds::kGuard,
                        .utmp = is_regular(fds::kUtmp) ? fds::kUtmp : -1};
  std::unique_ptr<Spooler> spooler = start_spooler(access);
  outlet.use(spooler.get());
  Engine engine(line, outlet, guard, log ? &*log : nullptr, sources, std::move(facts));
  engine.begin(std::make_shared<const Policy>(std::move(*policy)));
  int status = engine.run();
  spooler.reset();  // commits what it holds
  // Nothing is left to be tidied up, and what a sanitizer does at the end the seal denies.
  ::_exit(status);
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  return weir::run(argc, argv);
}
