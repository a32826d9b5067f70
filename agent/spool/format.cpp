// The bytes of a spool: see format.h. Numbers are big-endian.
#include "agent/spool/format.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/base/sha256.h"

namespace weir::spool {
namespace {

constexpr std::uint64_t kSegmentMagic = 0x57454952'53504f4c;    // "WEIRSPOL"
constexpr std::uint64_t kPositionsMagic = 0x57454952'504f5349;  // "WEIRPOSI"
// A million records a second would take 292,000 years; above it nothing was written by us.
constexpr std::uint64_t kMaxSequence = 1ull << 63;
constexpr std::size_t kSequenceDigits = 20;  // of 2^64, so that names sort as numbers do
constexpr std::array<std::string_view, kSpoolLanes> kLanes{"alert", "audit", "telemetry"};
constexpr std::size_t kChecksummed = 12;  // of a record: what stands before is size and checksum

void put(std::vector<std::uint8_t>& out, std::uint64_t value, std::size_t width) {
  for (std::size_t n = width; n-- > 0;) out.push_back(static_cast<std::uint8_t>(value >> (8 * n)));
}

void put(std::vector<std::uint8_t>& out, Bytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

SpoolHash hash_of(Bytes bytes) {
  SpoolHash hash;
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

std::uint64_t checksum(Bytes bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

// A record holds only in its own lane and epoch.
std::uint64_t seed_of(SpoolLane lane, std::uint64_t epoch) {
  return epoch * kSpoolLanes + static_cast<std::uint64_t>(lane);
}

std::optional<std::uint64_t> number_of(std::string_view digits) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.size() != kSequenceDigits || error != std::errc{} ||
      end != digits.data() + digits.size() || value == 0 || value > kMaxSequence)
    return std::nullopt;
  return value;
}

}  // namespace

std::vector<std::uint8_t> header_bytes(const SegmentHeader& header) {
  std::vector<std::uint8_t> out;
  out.reserve(kHeaderBytes);
  put(out, kSegmentMagic, 8);
  put(out, kFormatVersion, 2);
  put(out, static_cast<std::uint64_t>(header.lane), 1);
  put(out, header.gap_first == 0 ? 0 : static_cast<std::uint64_t>(header.gap_why), 1);
  put(out, 0, 4);
  put(out, header.epoch, 8);
  put(out, header.first, 8);
  put(out, header.gap_first, 8);
  put(out, header.previous_hash);
  put(out, checksum(out, 0), 8);
  return out;
}

std::optional<SegmentHeader> parse_header(Bytes file) {
  if (file.size() < kHeaderBytes) return std::nullopt;
  Reader in(file.first(kHeaderBytes));
  bool known = in.u64() == kSegmentMagic;
  known = in.u16() == kFormatVersion && known;
  std::uint8_t lane = in.u8(), why = in.u8();
  bool plain = in.u32() == 0;
  SegmentHeader header;
  header.epoch = in.u64();
  header.first = in.u64();
  header.gap_first = in.u64();
  header.previous_hash = hash_of(in.take(header.previous_hash.size()));
  bool whole = in.u64() == checksum(file.first(kHeaderBytes - 8), 0);
  if (!known || !plain || !whole || lane >= kSpoolLanes || header.epoch == 0 || header.first == 0 ||
      header.first > kMaxSequence || header.gap_first >= header.first ||
      why > static_cast<int>(SpoolLoss::not_written))
    return std::nullopt;
  header.lane = static_cast<SpoolLane>(lane);
  if (header.gap_first != 0) header.gap_why = static_cast<SpoolLoss>(why);
  return header;
}

void append_record(SpoolLane lane, std::uint64_t epoch, const RecordView& record,
                   std::vector<std::uint8_t>& out) {
  std::size_t start = out.size();
  out.reserve(start + record.whole());
  put(out, record.bytes.size(), 4);
  put(out, 0, 8);  // the checksum, below
  put(out, record.sequence, 8);
  put(out, record.previous_hash);
  put(out, record.bytes);
  std::uint64_t sum = checksum(Bytes(out).subspan(start + kChecksummed), seed_of(lane, epoch));
  for (std::size_t n = 0; n < 8; ++n)
    out[start + 4 + n] = static_cast<std::uint8_t>(sum >> (8 * (7 - n)));
}

std::size_t record_size(Bytes start) {
  Reader in(start);
  std::uint32_t size = in.u32();
  if (start.size() < kRecordHeaderBytes || size > kMaxSpoolRecord) return 0;
  return kRecordHeaderBytes + size;
}

std::optional<RecordView> parse_record(Bytes rest, SpoolLane lane, std::uint64_t epoch,
                                       std::uint64_t sequence) {
  std::size_t whole = record_size(rest);
  if (whole == 0 || rest.size() < whole) return std::nullopt;
  Reader in(rest.first(whole));
  in.skip(4);
  std::uint64_t sum = in.u64();
  RecordView record;
  record.sequence = in.u64();
  record.previous_hash = hash_of(in.take(record.previous_hash.size()));
  record.bytes = in.rest();
  if (record.sequence != sequence ||
      sum != checksum(rest.first(whole).subspan(kChecksummed), seed_of(lane, epoch)))
    return std::nullopt;
  return record;
}

SpoolHash hash_after(const SpoolHash& previous, Bytes record) {
  std::vector<std::uint8_t> chained;
  chained.reserve(previous.size() + record.size());
  put(chained, previous);
  put(chained, record);
  return sha256(chained);
}

std::optional<SegmentScan> scan_segment(Bytes file, const SegmentHeader* assumed) {
  std::optional<SegmentHeader> header = assumed != nullptr ? *assumed : parse_header(file);
  if (!header || file.size() < kHeaderBytes) return std::nullopt;
  SegmentScan scan;
  scan.header = *header;
  scan.last = header->first - 1;
  scan.good_end = kHeaderBytes;
  scan.next_hash = header->previous_hash;
  std::optional<RecordView> newest;
  while (auto record = parse_record(file.subspan(scan.good_end), header->lane, header->epoch,
                                    scan.last + 1)) {
    ++scan.last;
    scan.good_end += record->whole();
    newest = record;
  }
  if (newest) scan.next_hash = hash_after(newest->previous_hash, newest->bytes);
  scan.clean = scan.good_end == file.size();
  return scan;
}

std::string segment_name(SpoolLane lane, std::uint64_t first) {
  return fmt::format("{}-{:020}.seg", name_of(lane), first);
}

std::string bad_name(SpoolLane lane, std::uint64_t first, std::uint64_t last) {
  return fmt::format("{}-{:020}-{:020}.bad", name_of(lane), first, last);
}

std::optional<SegmentName> parse_name(std::string_view name) {
  for (std::size_t lane = 0; lane < kLanes.size(); ++lane) {
    if (!name.starts_with(kLanes[lane])) continue;
    std::string_view rest = name.substr(kLanes[lane].size());
    bool bad = rest.ends_with(".bad");
    std::size_t numbers = bad ? 2 : 1;
    if (rest.size() != numbers * (kSequenceDigits + 1) + 4 || rest[0] != '-' ||
        (!bad && !rest.ends_with(".seg")))
      return std::nullopt;
    SegmentName parsed{static_cast<SpoolLane>(lane), 0, 0};
    auto first = number_of(rest.substr(1, kSequenceDigits));
    if (!first) return std::nullopt;
    parsed.first = *first;
    if (!bad) return parsed;
    auto last = number_of(rest.substr(kSequenceDigits + 2, kSequenceDigits));
    if (!last || rest[kSequenceDigits + 1] != '-' || *last < *first) return std::nullopt;
    parsed.last = *last;
    return parsed;
  }
  return std::nullopt;
}

std::vector<std::uint8_t> positions_bytes(const SpoolPositions& positions) {
  std::vector<std::uint8_t> out;
  put(out, kPositionsMagic, 8);
  for (const SpoolPosition& position : positions) {
    put(out, position.epoch, 8);
    put(out, position.sequence, 8);
  }
  put(out, checksum(out, 0), 8);
  return out;
}

std::optional<SpoolPositions> parse_positions(Bytes file) {
  if (file.size() != kPositionsBytes) return std::nullopt;
  Reader in(file);
  bool known = in.u64() == kPositionsMagic;
  SpoolPositions positions;
  for (SpoolPosition& position : positions) {
    position.epoch = in.u64();
    position.sequence = in.u64();
  }
  if (!known || in.u64() != checksum(file.first(kPositionsBytes - 8), 0)) return std::nullopt;
  return positions;
}

std::string_view name_of(SpoolLane lane) {
  return kLanes[static_cast<std::size_t>(lane)];
}

}  // namespace weir::spool
