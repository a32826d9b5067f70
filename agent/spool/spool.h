// The spool: what a host has to report, kept until the collector has committed it. Three lanes,
// each a sequence of segments with a quota of its own; docs/spool-format.md has the bytes. The
// engine writes, the uplink reads and says what may be forgotten; neither waits for the other. Pure
// file work below one folder whose descriptor is handed in: no path is ever built from foreign
// bytes. Time is an argument. Thread: one a reader, one a writer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace weir {

// When room is short telemetry goes first, then audit. Alerts are never dropped silently: what
// found no room is counted and told as a range.
enum class SpoolLane : std::uint8_t { alert, audit, telemetry };
inline constexpr std::size_t kSpoolLanes = 3;

struct SpoolLimits {
  // A desk that reports 50 records of 500 bytes a second for 24 h without its collector writes 2
  // GB; a real one about 20 MB of telemetry and well below 1 MB of alerts a day.
  std::array<std::uint64_t, kSpoolLanes> quota{32u << 20, 32u << 20, 192u << 20};
  std::uint64_t segment_bytes = 4u << 20;  // one damaged segment loses at most this
};

inline constexpr std::uint64_t kMaxSpoolSegments = 256;     // full ones, by the limits; default 64
inline constexpr std::size_t kMaxSpoolRecord = 256u << 10;  // bytes of one record
// What the disk refuses waits in memory: two minutes of a desk at its worst (50 records of 1 KiB a
// second). When it is full the oldest telemetry goes, then audit, then alerts.
inline constexpr std::size_t kMaxSpoolMemory = 8u << 20;

struct SpoolPosition {
  std::uint64_t epoch = 0;     // a higher one each time a spool is created anew
  std::uint64_t sequence = 0;  // the last one; 0: none. Sequences start at 1
  friend bool operator==(const SpoolPosition&, const SpoolPosition&) = default;
};
using SpoolPositions = std::array<SpoolPosition, kSpoolLanes>;

using SpoolHash = std::array<std::uint8_t, 32>;

struct SpoolRecord {
  std::uint64_t sequence = 0;
  SpoolHash previous_hash{};        // as weir.v1.SealedRecord says; zero for the first of an epoch
  std::vector<std::uint8_t> bytes;  // of a serialized weir.v1.Record; opaque here
};

enum class SpoolLoss : std::uint8_t { evicted, damaged, not_written };

// Sequences first … last of a lane are gone.
struct SpoolLost {
  std::uint64_t first = 0, last = 0;
  SpoolLoss why = SpoolLoss::evicted;
};

struct SpoolCounters {  // since the writer was opened; for the health report
  std::array<std::uint64_t, kSpoolLanes> written{};
  std::array<std::uint64_t, kSpoolLanes> lost{};  // evicted, damaged, not written
  std::uint64_t syncs = 0, failed_writes = 0;
};

class SpoolWriter {
 public:
  // `folder`: an open directory. Takes it for itself (flock) until closed; a second writer is
  // refused. What a crash left half written at the end of a lane is cut off; damaged segments are
  // put aside (.bad) and told as lost. `wall_ns` names the epoch of a folder that has no spool yet.
  static Result<SpoolWriter> open(int folder, const SpoolLimits& limits, std::int64_t wall_ns);
  SpoolWriter(SpoolWriter&&) noexcept;
  ~SpoolWriter();

  // Takes a record of at most kMaxSpoolRecord in; its sequence. It is durable after the next
  // commit(). Never fails: what the disk refuses is kept in memory up to a limit, then counted and
  // told as lost.
  std::uint64_t append(SpoolLane lane, Bytes record);
  // Writes and syncs what was appended to the lanes up to `until`. An Error: something is not on
  // disk (yet); the next call tries again.
  Result<void> commit(SpoolLane until = SpoolLane::telemetry);
  // Removes segments that lie wholly at or below `acknowledged` (same epoch only).
  void forget(const SpoolPositions& acknowledged);

  SpoolPositions last() const;       // appended
  SpoolPositions committed() const;  // on disk
  const SpoolCounters& counters() const;

 private:
  struct State;
  explicit SpoolWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// What comes next in a lane: records that follow each other, or a range that is gone, or nothing
// yet.
struct SpoolPiece {
  std::uint64_t epoch = 0;
  std::vector<SpoolRecord> records;
  std::optional<SpoolLost> lost;
};

class SpoolReader {
 public:
  static Result<SpoolReader> open(int folder);  // needs no write right to it
  SpoolReader(SpoolReader&&) noexcept;
  ~SpoolReader();

  // At most so many records and bytes after `after` (sequence of the current epoch). Reads only
  // what the writer has committed. An Error: the folder can't be read at all.
  Result<SpoolPiece> read(SpoolLane lane, std::uint64_t after, std::size_t max_records,
                          std::size_t max_bytes);
  Result<SpoolPositions> spooled();  // what the folder holds now, by lane

 private:
  struct State;
  explicit SpoolReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The reader's one word to the writer: a file of fixed size with a checksum, replaced as a whole.
Result<void> write_acknowledged(int file, const SpoolPositions& positions);
Result<SpoolPositions> read_acknowledged(int file);  // nothing was ever acknowledged: zeros

}  // namespace weir
