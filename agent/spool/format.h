// The bytes of a spool: names, segment headers, records, positions. Pure; every field of a foreign
// file is checked before it is used. One page: docs/spool-format.md. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/spool/spool.h"

namespace weir::spool {

inline constexpr std::uint16_t kFormatVersion = 1;
inline constexpr std::size_t kHeaderBytes = 80;
inline constexpr std::size_t kRecordHeaderBytes = 52;
inline constexpr std::size_t kPositionsBytes = 64;
// A file that claims to be a segment and is larger was not written by us. One record alone may
// make a segment this large, whatever the limit of a segment is.
inline constexpr std::size_t kMaxSegmentBytes = 16u << 20;

struct SegmentHeader {
  SpoolLane lane = SpoolLane::alert;
  std::uint64_t epoch = 0;
  std::uint64_t first = 0;  // sequence of the first record, or of the one that comes next
  // Sequences gap_first … first - 1 exist nowhere, and why; 0: nothing is said about them.
  std::uint64_t gap_first = 0;
  SpoolLoss gap_why = SpoolLoss::not_written;
  SpoolHash previous_hash{};  // of the first record: an empty segment keeps the chain
  friend bool operator==(const SegmentHeader&, const SegmentHeader&) = default;
};

std::vector<std::uint8_t> header_bytes(const SegmentHeader& header);
std::optional<SegmentHeader> parse_header(Bytes file);

struct RecordView {  // into the bytes that were parsed
  std::uint64_t sequence = 0;
  SpoolHash previous_hash{};
  Bytes bytes;
  std::size_t whole() const { return kRecordHeaderBytes + bytes.size(); }
};

void append_record(SpoolLane lane, std::uint64_t epoch, const RecordView& record,
                   std::vector<std::uint8_t>& out);
// Bytes that a record of which `start` has at least the header takes; 0: no header of a record.
std::size_t record_size(Bytes start);
// The record at the start of `rest`, only if all of it is there, its checksum holds and it is
// `sequence` of this lane and epoch: one that was moved from elsewhere is none.
std::optional<RecordView> parse_record(Bytes rest, SpoolLane lane, std::uint64_t epoch,
                                       std::uint64_t sequence);
// previous_hash of the record after this one: weir.v1.SealedRecord, without key and nonce.
SpoolHash hash_after(const SpoolHash& previous, Bytes record);

// All of a segment that holds up, from its beginning.
struct SegmentScan {
  SegmentHeader header;
  std::uint64_t last = 0;    // first - 1: no record
  std::size_t good_end = 0;  // bytes of header and records
  bool clean = true;         // nothing stands behind them
  SpoolHash next_hash{};     // previous_hash of the record after the last
};
// Without a header of its own: as `assumed` says it was.
std::optional<SegmentScan> scan_segment(Bytes file, const SegmentHeader* assumed = nullptr);

// "alert-00000000000000000001.seg", and "alert-<first>-<last>.bad" for what was put aside.
std::string segment_name(SpoolLane lane, std::uint64_t first);
std::string bad_name(SpoolLane lane, std::uint64_t first, std::uint64_t last);
struct SegmentName {
  SpoolLane lane = SpoolLane::alert;
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // of what was put aside; 0: a segment
};
std::optional<SegmentName> parse_name(std::string_view name);

// The files `committed` and acknowledged.
std::vector<std::uint8_t> positions_bytes(const SpoolPositions& positions);
std::optional<SpoolPositions> parse_positions(Bytes file);

std::string_view name_of(SpoolLane lane);

}  // namespace weir::spool
