// Crashes of the engine or the guard: three within a minute are too many to go on as before
// (docs/decisions/0035). Pure but for the words of <sys/wait.h>. Thread: one owner.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace weir {

// How an agent goes on after that, each step if the one before crashed as well.
enum class AfterCrashes : std::uint32_t {
  none,     // it did not crash
  before,   // by the policy before the newest one
  observes  // it refuses nothing; a new policy or a restart ends that
};

// A guard whose engine crashed too often ends with this status: `weir run` says how to go on.
inline constexpr int kCrashedStatus = 7;
// Its policy asks for more than this host has, and was not in force before.
inline constexpr int kHostLacksStatus = 6;

inline constexpr std::size_t kMostCrashes = 3;
inline constexpr std::uint64_t kCrashesNs = 60'000'000'000;

// Not one that an administrator ended, or the kernel for want of memory: no crash sends SIGKILL.
bool is_crash(int wait_status);
bool is_crash_signal(int signal);

class Crashes {
 public:
  // True: this one is the third within the time. Then counting begins anew.
  bool add(std::uint64_t now_ns);

 private:
  std::array<std::uint64_t, kMostCrashes> at_{};  // the newest last; 0: none
};

}  // namespace weir
