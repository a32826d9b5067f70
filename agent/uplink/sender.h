// What goes up next: batches of the spool's records in the order of their lanes, alerts first, and
// what came to be acknowledged. A batch is 20 records or what 200 ms brought; behind, as much as
// the collector takes at once. What is on its way is bounded, so a slow collector costs nothing:
// records stay on the disk until there is room. No network, no clock. Thread: one.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include "agent/spool/spool.h"

namespace weir {

inline constexpr std::size_t kBatchRecords = 20;       // do not wait for more
inline constexpr std::int64_t kBatchWaitMs = 200;      // nor longer
inline constexpr std::size_t kWindowBytes = 1u << 20;  // sent and not acknowledged
inline constexpr std::size_t kWindowBatches = 16;      // likewise
// Whatever a Welcome says: a collector's limits are not what bounds our memory.
inline constexpr std::size_t kMostBatchRecords = 1'000;
inline constexpr std::size_t kMostBatchBytes = 512u << 10;

struct OutgoingBatch {
  SpoolLane lane = SpoolLane::alert;
  SpoolPiece piece;  // records or lost, never neither
};

struct SenderCounters {
  std::uint64_t records = 0, batches = 0, lost = 0, rewinds = 0;
};

class Sender {
 public:
  explicit Sender(SpoolReader& spool) : spool_(spool) {}

  struct Stored {
    SpoolLane lane = SpoolLane::alert;
    SpoolPosition position;
  };
  // A new stream: what the collector has, in any order and of any epoch. Nothing is on its way.
  Result<void> begin(const std::vector<Stored>& stored, std::size_t max_records,
                     std::size_t max_bytes);
  // Nothing yet: look again at due_ms(), or when there is news. An Error: the spool can't be read.
  Result<std::optional<OutgoingBatch>> next(std::int64_t now_ms);
  // When a batch is due that waits for more; none: only news changes anything.
  std::optional<std::int64_t> due_ms() const;
  void acknowledged(const Stored& stored, std::int64_t now_ms);
  void throttle(SpoolLane lane, std::int64_t until_ms);

  // What may be forgotten, by lane.
  const SpoolPositions& stored() const { return stored_; }
  const SenderCounters& counters() const { return counters_; }
  std::size_t on_the_way() const { return on_the_way_; }  // bytes

 private:
  struct Sent {
    SpoolLane lane;
    std::uint64_t last;
    std::size_t bytes;
  };
  struct LaneState {
    std::uint64_t sent = 0;        // last sequence handed out, of the epoch in stored_
    std::int64_t waiting_ms = -1;  // since when records wait for more; -1: none do
    std::int64_t throttled_ms = 0;
    std::int64_t rewound_ms = INT64_MIN / 2;
  };
  Result<std::optional<SpoolPiece>> look(SpoolLane lane, std::int64_t now_ms);
  void take_epoch(SpoolLane lane, std::uint64_t epoch);
  void drop_sent(SpoolLane lane, std::uint64_t until);

  SpoolReader& spool_;
  SpoolPositions stored_{};
  std::vector<Stored> welcome_;
  std::array<LaneState, kSpoolLanes> lanes_{};
  std::deque<Sent> window_;
  std::size_t on_the_way_ = 0, max_records_ = kBatchRecords, max_bytes_ = 64u << 10;
  SenderCounters counters_;
};

}  // namespace weir
