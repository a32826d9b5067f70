// Crashes of the engine or the guard: see crashes.h.
#include "agent/guard/crashes.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>

namespace weir {

bool is_crash_signal(int signal) {
  constexpr std::array kSignals{SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
  return std::ranges::find(kSignals, signal) != kSignals.end();
}

bool is_crash(int wait_status) {
  if (WIFEXITED(wait_status)) return WEXITSTATUS(wait_status) != 0;
  return WIFSIGNALED(wait_status) && is_crash_signal(WTERMSIG(wait_status));
}

bool Crashes::add(std::uint64_t now_ns) {
  std::shift_left(at_.begin(), at_.end(), 1);
  at_.back() = now_ns;
  if (at_.front() == 0 || now_ns - at_.front() >= kCrashesNs) return false;
  at_ = {};
  return true;
}

}  // namespace weir
