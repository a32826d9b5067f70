// What tries of the controls (platform/linux/canary.h) come to: one that fails is tried again
// before it is told, and told once; once more when it works again. Pure. Thread: the guard's.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "platform/linux/canary.h"

namespace weir {

// What the canary's process writes to its pipe, at once.
struct CanaryAnswer {
  static constexpr std::size_t kMost = 16;
  struct One {
    std::uint32_t state = 0;  // TriedControl::State
    std::array<char, 24> program{};
    std::array<char, 116> detail{};
  };
  std::uint32_t count = 0;
  std::array<One, kMost> all{};
};
CanaryAnswer answer_of(const std::vector<TriedControl>& tried);
// Nothing: nonsense.
std::optional<std::vector<TriedControl>> tried_of(const CanaryAnswer& answer);

struct ControlChanged {
  std::string program, detail;
  bool works = false;
};

class ControlJudge {
 public:
  std::vector<ControlChanged> judge(const std::vector<TriedControl>& tried);
  bool suspects() const { return !suspected_.empty(); }  // is to be tried again soon

 private:
  std::vector<std::string> suspected_, failed_;  // programs: failed once, and told
};

}  // namespace weir
