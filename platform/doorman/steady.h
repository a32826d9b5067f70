// The clock that the doors' deadlines stand on: it never jumps. Thread: any.
#pragma once

#include <chrono>
#include <cstdint>

namespace weir {

inline std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace weir
