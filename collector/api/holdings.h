// What the connections of a door hold for clients that send or read slowly: bodies that are on
// their way in, answers on their way out. Together that is bounded: when it is more, whoever holds
// the most has to go, so that a client that takes its answer at once never pays for one that does
// not. Pure. Thread: one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

namespace weir {

class Holdings {
 public:
  static constexpr std::size_t kMost = std::size_t{48} << 20;  // a dozen of the largest answers

  void set(std::uint64_t who, std::size_t bytes) {
    std::size_t& held = rows_[who];
    sum_ += bytes - held;
    held = bytes;
    if (bytes == 0) rows_.erase(who);
  }
  // Of those that hold the same, the one that came first. Nobody: it is not too much.
  std::optional<std::uint64_t> too_much() const {
    if (sum_ <= kMost) return std::nullopt;
    return std::max_element(
               rows_.begin(), rows_.end(),
               [](const auto& one, const auto& other) { return one.second < other.second; })
        ->first;
  }
  std::size_t sum() const { return sum_; }

 private:
  std::map<std::uint64_t, std::size_t> rows_;  // one a connection that holds something
  std::size_t sum_ = 0;
};

}  // namespace weir
