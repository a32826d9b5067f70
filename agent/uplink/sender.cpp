// What goes up next: see sender.h.
#include "agent/uplink/sender.h"

#include <algorithm>

namespace weir {
namespace {

constexpr std::int64_t kRewindEveryMs = 1'000;  // batches behind a hole each tell of it

std::size_t index(SpoolLane lane) {
  return static_cast<std::size_t>(lane);
}

std::size_t size_of(const SpoolPiece& piece) {
  std::size_t bytes = 0;
  for (const SpoolRecord& record : piece.records) bytes += record.bytes.size();
  return bytes;
}

std::uint64_t last_of(const SpoolPiece& piece) {
  return piece.lost ? piece.lost->last : piece.records.back().sequence;
}

}  // namespace

Result<void> Sender::begin(const std::vector<Stored>& stored, std::size_t max_records,
                           std::size_t max_bytes) {
  Result<SpoolPositions> spooled = spool_.spooled();
  if (!spooled) return tl::unexpected(spooled.error());
  welcome_ = stored;
  window_.clear();
  on_the_way_ = 0;
  max_records_ = std::clamp<std::size_t>(max_records, 1, kMostBatchRecords);
  max_bytes_ = std::clamp<std::size_t>(max_bytes, 1, kMostBatchBytes);
  for (std::size_t n = 0; n < kSpoolLanes; ++n) {
    lanes_[n] = {};
    take_epoch(static_cast<SpoolLane>(n), (*spooled)[n].epoch);
  }
  return {};
}

// Of what the collector has of this lane, the same epoch counts.
void Sender::take_epoch(SpoolLane lane, std::uint64_t epoch) {
  SpoolPosition& mine = stored_[index(lane)];
  mine = {epoch, 0};
  for (const Stored& each : welcome_)
    if (each.lane == lane && each.position.epoch == epoch)
      mine.sequence = std::max(mine.sequence, each.position.sequence);
  lanes_[index(lane)].sent = mine.sequence;
  lanes_[index(lane)].waiting_ms = -1;
  drop_sent(lane, UINT64_MAX);
}

void Sender::drop_sent(SpoolLane lane, std::uint64_t until) {
  std::erase_if(window_, [&](const Sent& sent) {
    if (sent.lane != lane || sent.last > until) return false;
    on_the_way_ -= sent.bytes;
    return true;
  });
}

Result<std::optional<OutgoingBatch>> Sender::next(std::int64_t now_ms) {
  for (std::size_t n = 0; n < kSpoolLanes; ++n) {
    if (window_.size() >= kWindowBatches || on_the_way_ >= kWindowBytes) break;
    auto lane = static_cast<SpoolLane>(n);
    Result<std::optional<SpoolPiece>> piece = look(lane, now_ms);
    if (!piece) return tl::unexpected(piece.error());
    if (!*piece) continue;
    std::size_t bytes = size_of(**piece);
    lanes_[n].sent = last_of(**piece);
    lanes_[n].waiting_ms = -1;
    window_.push_back({lane, lanes_[n].sent, bytes});
    on_the_way_ += bytes;
    ++counters_.batches;
    counters_.records += (*piece)->records.size();
    if ((*piece)->lost) counters_.lost += (*piece)->lost->last - (*piece)->lost->first + 1;
    return OutgoingBatch{lane, std::move(**piece)};
  }
  return std::optional<OutgoingBatch>();
}

Result<std::optional<SpoolPiece>> Sender::look(SpoolLane lane, std::int64_t now_ms) {
  LaneState& state = lanes_[index(lane)];
  if (now_ms < state.throttled_ms) return std::optional<SpoolPiece>();
  state.throttled_ms = 0;
  Result<SpoolPiece> piece = spool_.read(lane, state.sent, max_records_, max_bytes_);
  if (!piece) return tl::unexpected(piece.error());
  bool empty = piece->records.empty() && !piece->lost;
  if (piece->epoch != stored_[index(lane)].epoch && piece->epoch != 0) {
    take_epoch(lane, piece->epoch);  // the spool was created anew meanwhile
    return look(lane, now_ms);
  }
  if (empty) {
    state.waiting_ms = -1;
    return std::optional<SpoolPiece>();
  }
  bool full = piece->lost || piece->records.size() >= std::min(kBatchRecords, max_records_) ||
              size_of(*piece) >= max_bytes_ / 2;
  if (!full && state.waiting_ms < 0) state.waiting_ms = now_ms;
  if (!full && now_ms < state.waiting_ms + kBatchWaitMs) return std::optional<SpoolPiece>();
  return std::optional<SpoolPiece>(std::move(*piece));
}

std::optional<std::int64_t> Sender::due_ms() const {
  std::optional<std::int64_t> due;
  if (window_.size() >= kWindowBatches || on_the_way_ >= kWindowBytes) return due;
  for (const LaneState& lane : lanes_) {
    std::optional<std::int64_t> one;
    if (lane.waiting_ms >= 0) one = lane.waiting_ms + kBatchWaitMs;
    if (lane.throttled_ms > 0) one = std::max(one.value_or(0), lane.throttled_ms);
    if (one && (!due || *one < *due)) due = one;
  }
  return due;
}

// A position that does not move while batches are on their way: the collector found a hole, and
// everything after it comes again. What it has by then it cuts off.
void Sender::acknowledged(const Stored& stored, std::int64_t now_ms) {
  SpoolPosition& mine = stored_[index(stored.lane)];
  if (stored.position.epoch != mine.epoch) return;
  LaneState& lane = lanes_[index(stored.lane)];
  if (stored.position.sequence > lane.sent) return;  // never sent: not believed
  if (stored.position.sequence > mine.sequence) {
    mine.sequence = stored.position.sequence;
    drop_sent(stored.lane, mine.sequence);
    return;
  }
  bool waits = std::any_of(window_.begin(), window_.end(),
                           [&](const Sent& sent) { return sent.lane == stored.lane; });
  if (!waits || now_ms - lane.rewound_ms < kRewindEveryMs) return;
  ++counters_.rewinds;
  lane.rewound_ms = now_ms;
  lane.sent = mine.sequence;
  drop_sent(stored.lane, UINT64_MAX);
}

void Sender::throttle(SpoolLane lane, std::int64_t until_ms) {
  lanes_[index(lane)].throttled_ms = until_ms;
}

}  // namespace weir
