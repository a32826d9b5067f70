// What the guard found removed of the kernel part, and the engine has still to hear: each removal
// is told once, a flood of them by its number. Pure. Thread: the guard's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "agent/guard/messages.h"

namespace weir {

class Tampering {
 public:
  // All programs of the kernel part, its pins and a few devices, at one blow, twice over.
  static constexpr std::uint32_t kMaxAMinute = 48;
  static constexpr std::size_t kMaxWaiting = 96;  // while there is no engine

  void found(const wire::HookRemoved& removed, std::uint64_t now_ns);
  // What is to be told next; told() once it was heard.
  std::optional<wire::HookRemoved> next(std::uint64_t now_ns) const;
  void told();
  std::uint64_t seen() const { return seen_; }

 private:
  std::deque<wire::HookRemoved> waiting_;
  std::uint64_t minute_ns_ = 0;  // when the minute began that in_minute_ counts
  std::uint32_t in_minute_ = 0;
  std::uint32_t more_ = 0;  // not told for themselves
  std::uint64_t seen_ = 0;
};

}  // namespace weir
