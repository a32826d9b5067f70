// When to try again: twice as long each time, a random part of it, so that a fleet that lost its
// collector does not come back in one moment. Pure. Thread: one.
#pragma once

#include <algorithm>
#include <cstdint>

namespace weir {

inline constexpr std::int64_t kBackoffFirstMs = 500, kBackoffMostMs = 60'000;

class Backoff {
 public:
  // `random`: any 32 bits. 0 … the bound, which doubles.
  std::int64_t next_ms(std::uint32_t random) {
    auto pause = static_cast<std::int64_t>((static_cast<std::uint64_t>(bound_ms_) * random) >> 32);
    bound_ms_ = std::min(2 * bound_ms_, kBackoffMostMs);
    return pause;
  }
  void reset() { bound_ms_ = kBackoffFirstMs; }

 private:
  std::int64_t bound_ms_ = kBackoffFirstMs;
};

}  // namespace weir
