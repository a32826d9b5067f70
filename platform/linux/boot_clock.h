// The clock that leases, windows and kernel records go by: time since boot, sleep included.
#pragma once

#include <cstdint>
#include <ctime>

namespace weir {

inline std::uint64_t boot_now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace weir
