// How far each lane of each host has come: what the collector has already it takes no second time.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "collector/store/fleet_store.h"

namespace weir {

enum class StoreLane : std::uint8_t { alert = 1, audit = 2, telemetry = 3 };  // as on the wire

struct Watermark {
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;     // the last one stored; 0: none
  std::optional<Digest> chain{};  // hash of that record; absent after a gap
};

// A spool has one epoch at a time and a new one only when it is made anew. What is older than these
// is not accepted any more; a host can push out no epochs but its own.
inline constexpr std::size_t kMaxEpochs = 8;

struct LaneKey {
  std::uint32_t host = 0;
  StoreLane lane = StoreLane::alert;
  friend bool operator==(const LaneKey&, const LaneKey&) = default;
};

struct LaneKeyHash {
  std::size_t operator()(const LaneKey& key) const {
    return std::hash<std::uint64_t>{}(std::uint64_t{key.host} << 2 |
                                      static_cast<std::uint64_t>(key.lane));
  }
};

// Of one lane, oldest epoch first.
class LaneMarks {
 public:
  // The epoch's mark, made if it is new; null: older than all that are kept.
  Watermark* at(std::uint64_t epoch);
  const std::vector<Watermark>& all() const { return marks_; }

 private:
  std::vector<Watermark> marks_;
};

using Watermarks = std::unordered_map<LaneKey, LaneMarks, LaneKeyHash>;

}  // namespace weir
