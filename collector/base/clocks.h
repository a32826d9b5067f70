// The two clocks of the collector's doors: the wall's, and one that never jumps. Thread: any.
#pragma once

#include <chrono>
#include <cstdint>

#include "platform/doorman/steady.h"  // steady_ms()

namespace weir {

inline std::int64_t wall_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}
inline std::int64_t wall_s() {
  return wall_ns() / 1'000'000'000;
}

}  // namespace weir
