// A policy's rules over one command: see exec_policy.h.
#include "agent/run/exec_policy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

#include "agent/guard/flat_policy.h"
#include "platform/linux/boot_clock.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

constexpr std::uint64_t kReadyNs = 60'000'000'000;  // as `weir run`: a slow verifier takes seconds
constexpr int kStopMs = 8000;                       // for the last revisions, as `weir run` gives
constexpr std::size_t kMaxReports = 4096;           // of one command; the rest is left out
constexpr std::size_t kMaxLine = 64 * 1024;         // a report has some 2 KB

// What holds for one run never outlives it, whatever the policy says about a desk.
void release_at_exit(CompiledPolicy& policy) {
  FlatHeader header;
  if (policy.flat.size() < sizeof header) return;
  std::memcpy(static_cast<void*>(&header), policy.flat.data(), sizeof header);
  header.keep = 0;
  std::memcpy(policy.flat.data(), &header, sizeof header);
}

std::string start_of(const std::string& path) {
  std::ifstream file(path);
  std::string text(1024, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

ExecPolicy::ExecPolicy(ExecPolicy&& other) noexcept
    : folder_(std::exchange(other.folder_, {})),
      pins_(std::exchange(other.pins_, {})),
      inputs_(std::move(other.inputs_)),
      guard_(std::exchange(other.guard_, std::nullopt)) {}

Result<ExecPolicy> ExecPolicy::start(CompiledPolicy policy, const std::string& cgroup,
                                     int interrupt, const sigset_t& mask) {
  release_at_exit(policy);
  char folder[] = "/tmp/weir-exec-XXXXXX";  // mkdtemp gives it to us alone
  if (::mkdtemp(folder) == nullptr)
    return fail(fmt::format("{}: {}", folder, std::strerror(errno)));
  std::string pins;
  if (is_bpffs(kHostBpffs)) pins = fmt::format("{}/weir-exec-{}", kHostBpffs, ::getpid());
  if (!pins.empty() && ::mkdir(pins.c_str(), 0700) != 0 && errno != EEXIST) pins.clear();
  ExecPolicy run(folder, pins);
  GuardStart start;
  start.cgroup = cgroup;
  start.pin_dir = pins;
  start.state_dir = run.folder_;
  Result<GuardInputs> inputs = prepare_guard(start, policy);
  if (!inputs) return tl::unexpected(inputs.error());
  run.inputs_.emplace(std::move(*inputs));
  Result<Pipe> ready = Pipe::make();
  if (!ready) return tl::unexpected(ready.error());
  Fd log(::open((run.folder_ + "/log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0600));
  if (!log) return fail(fmt::format("{}/log: {}", run.folder_, std::strerror(errno)));
  Result<Process> guard = start_guard(*run.inputs_, ready->writer(), mask, log.get());
  if (!guard) return tl::unexpected(guard.error());
  run.guard_.emplace(std::move(*guard));
  ready->close_writer();
  if (auto up = run.wait_ready(*ready, interrupt); !up) return tl::unexpected(up.error());
  return run;
}

Result<void> ExecPolicy::wait_ready(Pipe& ready, int interrupt) {
  const std::uint64_t until = boot_now_ns() + kReadyNs;
  std::array<pollfd, 2> wanted{{{ready.reader(), POLLIN, 0}, {interrupt, POLLIN, 0}}};
  while (boot_now_ns() < until) {
    (void)::poll(wanted.data(), wanted.size(), 1000);
    if (wanted[1].revents != 0) return fail("interrupted before the policy was in force");
    char byte = 0;
    if (wanted[0].revents == 0) continue;
    if (::read(ready.reader(), &byte, 1) == 1) return {};
    return fail("the policy could not be put in force: " + start_of(folder_ + "/log"));
  }
  return fail("the policy was not in force after a minute: " + start_of(folder_ + "/log"));
}

void ExecPolicy::end_guard() {
  if (!guard_) return;
  guard_->send(SIGTERM);
  pollfd gone{guard_->pidfd(), POLLIN, 0};
  if (::poll(&gone, 1, kStopMs) <= 0) guard_->send(SIGKILL);
  (void)guard_->wait();
  guard_.reset();
}

std::vector<ExecReport> ExecPolicy::finish() {
  end_guard();
  std::map<std::string, ExecReport> last;
  std::ifstream file(folder_ + "/reports.jsonl");
  for (std::string line; std::getline(file, line) && last.size() < kMaxReports;)
    if (line.size() <= kMaxLine)
      if (std::optional<ExecReport> report = exec_report(line))
        if (auto [at, added] = last.try_emplace(report->id, *report);
            !added && at->second.revision <= report->revision)
          at->second = std::move(*report);
  std::vector<ExecReport> reports;
  for (auto& [id, report] : last) reports.push_back(std::move(report));
  return reports;
}

ExecPolicy::~ExecPolicy() {
  end_guard();
  std::error_code error;
  if (!pins_.empty()) {
    (void)KernelPart::release(pins_);
    std::filesystem::remove(pins_, error);
  }
  if (!folder_.empty()) std::filesystem::remove_all(folder_, error);
}

}  // namespace weir
