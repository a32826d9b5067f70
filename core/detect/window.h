// Sums over a sliding window, in steps: what is older than the window falls out a step at a time,
// so a sum covers the window and at most one step more.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <numeric>

namespace weir {

template <std::size_t kSteps>
class Window {
 public:
  explicit Window(std::int64_t step_ns) : step_ns_(step_ns) {}

  void add(std::int64_t now_ns, std::uint64_t amount) {
    advance(now_ns);
    std::uint32_t& slot = steps_[static_cast<std::size_t>(newest_) % kSteps];
    const std::uint64_t sum = slot + amount;
    slot = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(sum, std::numeric_limits<std::uint32_t>::max()));
  }

  std::uint64_t sum(std::int64_t now_ns) {
    advance(now_ns);
    return std::accumulate(steps_.begin(), steps_.end(), std::uint64_t{0});
  }

 private:
  void advance(std::int64_t now_ns) {
    const std::int64_t now = now_ns / step_ns_;
    if (now <= newest_) return;  // time that runs backwards counts as now
    if (now - newest_ >= static_cast<std::int64_t>(kSteps)) {
      steps_.fill(0);
    } else {
      for (std::int64_t step = newest_ + 1; step <= now; ++step)
        steps_[static_cast<std::size_t>(step) % kSteps] = 0;
    }
    newest_ = now;
  }

  std::int64_t step_ns_;
  std::int64_t newest_ = 0;
  std::array<std::uint32_t, kSteps> steps_{};
};

}  // namespace weir
