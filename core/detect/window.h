// Sums over a sliding window, in steps: what is older than the window falls out a step at a time,
// so a sum covers the window and at most one step more.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace weir {

template <std::size_t kSteps>
class Window {
 public:
  explicit Window(std::int64_t step_ns) : step_ns_(step_ns) {}

  void add(std::int64_t now_ns, std::uint64_t amount) {
    advance(now_ns);
    steps_[at_] += amount;
    sum_ += amount;
  }

  std::uint64_t sum(std::int64_t now_ns) {
    advance(now_ns);
    return sum_;
  }

 private:
  void advance(std::int64_t now_ns) {
    if (now_ns < next_ns_) return;  // in the newest step; time that runs backwards counts as now
    const std::int64_t newest = next_ns_ / step_ns_ - 1, now = now_ns / step_ns_;
    for (std::int64_t step = std::max(newest + 1, now - static_cast<std::int64_t>(kSteps) + 1);
         step <= now; ++step) {
      at_ = static_cast<std::size_t>(step) % kSteps;
      sum_ -= steps_[at_];
      steps_[at_] = 0;
    }
    next_ns_ = (now + 1) * step_ns_;
  }

  std::int64_t step_ns_;
  std::int64_t next_ns_ = 0;  // when the newest step ends
  std::size_t at_ = 0;        // the newest step
  std::uint64_t sum_ = 0;
  std::array<std::uint64_t, kSteps> steps_{};
};

}  // namespace weir
