// What a host was once told is stored, and the store does not have: this collector was put back
// from an older copy of its folder. The host may have forgotten it by then. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collector/store/record_store.h"

namespace weir {

namespace v1 {
class Hello;
}

inline constexpr std::size_t kMaxForgotten = 3 * kMaxEpochs;  // positions that a Hello may name

class Forgotten {
 public:
  Forgotten() = default;
  // `stored`: what the store has of this host.
  Forgotten(const v1::Hello& hello, const std::vector<Appended>& stored);

  bool empty() const { return lanes_.empty(); }
  // Up to where a gap of this batch's lane is the collector's own doing; 0: it is not.
  std::uint64_t until(const Append& batch) const;
  std::string sentence() const;  // for the log

 private:
  struct Lane {
    StoreLane lane;
    std::uint64_t epoch, stored, acknowledged;
  };
  std::vector<Lane> lanes_;
};

}  // namespace weir
