// See control_watch.h.
#include "agent/guard/control_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace weir {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kFirstNs = 5 * kSecondNs;  // after the start: the engine runs by then
constexpr std::uint64_t kAgainNs = kSecondNs / 2;
constexpr std::uint64_t kHangsNs = 20 * kSecondNs;

}  // namespace

ControlWatch::ControlWatch(std::uint64_t every_ns, std::uint64_t now_ns)
    : every_ns_(every_ns), due_ns_(now_ns + std::min(kFirstNs, every_ns)) {}

void ControlWatch::tend(Spawner& spawner, std::uint64_t now_ns) {
  if (every_ns_ == 0) return;
  if (running_ && now_ns - began_ns_ > kHangsNs) spawner.kill(Role::canary);
  if (running_ || now_ns < due_ns_) return;
  due_ns_ = now_ns + every_ns_;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
  answer_ = Fd(ends[0]);
  const Fd writer(ends[1]);
  const int passed[] = {writer.get()};
  running_ = spawner.spawn(Role::canary, passed);
  began_ns_ = now_ns;
}

std::vector<ControlChanged> ControlWatch::hear(std::uint64_t now_ns) {
  if (!answer_) return {};
  CanaryAnswer answer;
  const bool whole = ::read(answer_.get(), &answer, sizeof answer) == sizeof answer;
  answer_.close();
  const auto tried = whole ? tried_of(answer) : std::nullopt;
  if (!tried) return {};
  std::vector<ControlChanged> changed = judge_.judge(*tried);
  if (judge_.suspects()) due_ns_ = now_ns + kAgainNs;
  return changed;
}

}  // namespace weir
