// The segments of one lane on the disk, as their writer sees them: what a crash left is repaired,
// records go to the newest segment, whole segments go when room is needed. Every failing call
// leaves errno. Thread: one.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "agent/spool/folder.h"
#include "agent/spool/format.h"

namespace weir::spool {

// Each failed sync begins a segment. A small one counts as this part of a full one, so that the
// quotas also bound how many there are.
inline constexpr std::uint64_t kSmallestPart = 16;

class LaneFiles {
 public:
  LaneFiles(int folder, SpoolLane lane, std::uint64_t epoch)
      : folder_(folder), lane_(lane), epoch_(epoch) {}

  // What the disk holds after the repair.
  struct Found {
    std::uint64_t last = 0;       // highest sequence that was ever handed out
    SpoolHash next_hash{};        // previous_hash of the next record
    std::uint64_t gap_first = 0;  // gap_first … last were committed and are gone; 0: none
    std::uint64_t damaged = 0;    // records, these included
  };
  // `committed`: what the writer before said was on the disk; 0 if it isn't known.
  Found load(const std::vector<Listed>& files, std::uint64_t committed);

  bool empty() const { return segments_.empty(); }
  // The newest segment takes records: nothing went wrong with it.
  bool ready() const { return static_cast<bool>(active_) && trusted_; }
  bool unused() const { return segments_.back().bytes == kHeaderBytes; }
  bool fits(std::size_t bytes, std::uint64_t segment_bytes) const;
  std::uint64_t used(std::uint64_t segment_bytes) const;  // bytes, what is reserved included

  bool start(const SegmentHeader& header, std::uint64_t reserve);
  void finish();  // the newest segment is full: gives back what it reserved
  bool append(Bytes records);
  bool sync(std::uint64_t last);  // `last`: sequence that the newest segment now ends with
  void distrust() { trusted_ = false; }

  // Takes the oldest segment away; how many of its records were above `acknowledged`. The newest
  // is emptied, never removed: it holds the lane's place. Nothing: no room was to be had here.
  std::optional<std::uint64_t> evict(bool newest_too, const SpoolHash& next_hash,
                                     std::uint64_t acknowledged);
  void forget(std::uint64_t acknowledged);

 private:
  struct Segment {
    std::uint64_t first = 0, last = 0, bytes = 0;
  };
  struct Candidate;

  std::vector<Candidate> candidates(const std::vector<Listed>& files) const;
  void settle_names(std::vector<Candidate>& valid);
  void move_aside(const Candidate& candidate, std::uint64_t first, std::uint64_t last) const;
  void cut(const Candidate& candidate, std::uint64_t first, std::uint64_t last) const;
  void adopt(const Candidate& newest);
  bool empty_newest(const SpoolHash& next_hash);
  bool remove(const std::string& name) const;

  int folder_;
  SpoolLane lane_;
  std::uint64_t epoch_;
  std::deque<Segment> segments_;  // the last one is the newest
  Fd active_;
  bool trusted_ = true;
  bool reserved_ = false;
  bool folder_dirty_ = false;  // an entry was made that isn't synced yet
};

// What was put aside is kept to be looked at, but not much of it: the newest of each lane, and
// nothing once `acknowledged` is told (whoever asked has been told of the loss).
void bound_bad(int folder, const SpoolPositions* acknowledged);
// All of it; true: that made room.
bool drop_bad(int folder);

}  // namespace weir::spool
