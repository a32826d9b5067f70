// The spool's reader: see spool.h. It looks at the folder anew each time, for the writer takes
// segments away; a loss is told only if two looks in a row show the same one.
#include <fcntl.h>

#include <algorithm>

#include "agent/spool/folder.h"
#include "agent/spool/format.h"
#include "agent/spool/spool.h"

namespace weir {
namespace {

constexpr const char* kCommittedFile = "committed";
constexpr int kMaxLooks = 8;  // a writer that removes something at each look stops before that
constexpr std::size_t kWindow = 1u << 20;  // bytes of a segment read at once: a record and more
static_assert(kWindow >= spool::kRecordHeaderBytes + kMaxSpoolRecord);

struct Segment {
  std::string name;
  spool::SegmentHeader header;
};

struct LaneView {
  std::vector<Segment> segments;        // sorted by their first sequence
  std::vector<spool::SegmentName> bad;  // what was put aside, sorted
};

// Where a read ended, so that the next one need not begin at the segment's beginning.
struct Cursor {
  std::uint64_t segment_first = 0, sequence = 0, offset = 0;
};

bool same(const SpoolPiece& a, const SpoolPiece& b) {
  return a.epoch == b.epoch && a.records.empty() && b.records.empty() && a.lost && b.lost &&
         a.lost->first == b.lost->first && a.lost->last == b.lost->last &&
         a.lost->why == b.lost->why;
}

}  // namespace

struct SpoolReader::State {
  Fd folder;
  std::array<Cursor, kSpoolLanes> cursors{};

  SpoolPositions committed() const;
  Result<LaneView> look(SpoolLane lane, std::uint64_t epoch) const;
  Result<SpoolPiece> piece(SpoolLane lane, std::uint64_t after, std::size_t max_records,
                           std::size_t max_bytes);
  void read_records(const Segment& segment, std::uint64_t first, std::uint64_t last,
                    std::size_t max_records, std::size_t max_bytes, SpoolPiece& out);
};

Result<SpoolReader> SpoolReader::open(int folder) {
  auto state = std::make_unique<State>();
  state->folder = spool::open_again(folder);
  if (!state->folder) return fail("the spool's folder can't be opened");
  return SpoolReader(std::move(state));
}

SpoolReader::SpoolReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
SpoolReader::SpoolReader(SpoolReader&&) noexcept = default;
SpoolReader::~SpoolReader() = default;

// What the writer says is durable; without a word of it, nothing is.
SpoolPositions SpoolReader::State::committed() const {
  Fd file = spool::open_file(folder.get(), kCommittedFile, O_RDONLY);
  for (int n = 0; file && n < kMaxLooks; ++n)  // it may be in the middle of writing
    if (auto positions = read_acknowledged(file.get()); positions && (*positions)[0].epoch != 0)
      return *positions;
  return {};
}

Result<LaneView> SpoolReader::State::look(SpoolLane lane, std::uint64_t epoch) const {
  auto files = spool::list(folder.get());
  if (!files) return tl::unexpected(files.error());
  LaneView view;
  for (const spool::Listed& listed : *files) {
    if (listed.parsed.lane != lane) continue;
    if (listed.parsed.last != 0) {
      view.bad.push_back(listed.parsed);
      continue;
    }
    Fd file = spool::open_file(folder.get(), listed.name, O_RDONLY);
    if (!file) continue;
    auto header = spool::parse_header(spool::read_at(file.get(), 0, spool::kHeaderBytes));
    if (header && header->lane == lane && header->epoch == epoch) {
      view.segments.push_back({listed.name, *header});
    } else {  // damaged, or not from here; how far it went, the next segment says
      view.bad.push_back({lane, listed.parsed.first, 0});
    }
  }
  std::stable_sort(
      view.segments.begin(), view.segments.end(),
      [](const Segment& a, const Segment& b) { return a.header.first < b.header.first; });
  return view;
}

void SpoolReader::State::read_records(const Segment& segment, std::uint64_t first,
                                      std::uint64_t last, std::size_t max_records,
                                      std::size_t max_bytes, SpoolPiece& out) {
  const spool::SegmentHeader& header = segment.header;
  Cursor& cursor = cursors[static_cast<std::size_t>(header.lane)];
  Fd file = spool::open_file(folder.get(), segment.name, O_RDONLY);
  if (!file) return;
  bool go_on = cursor.segment_first == header.first && cursor.sequence <= first &&
               cursor.offset >= spool::kHeaderBytes;
  std::uint64_t at = go_on ? cursor.offset : spool::kHeaderBytes;
  std::uint64_t sequence = go_on ? cursor.sequence : header.first;
  std::size_t bytes = 0;
  for (bool more = true; more && at < spool::kMaxSegmentBytes;) {
    std::vector<std::uint8_t> window = spool::read_at(file.get(), at, kWindow);
    std::size_t used = 0;
    more = false;
    while (sequence <= last && out.records.size() < max_records) {
      auto record =
          spool::parse_record(Bytes(window).subspan(used), header.lane, header.epoch, sequence);
      if (!record) {
        more = used > 0 && window.size() == kWindow;  // it may go on behind the window
        break;
      }
      if (sequence >= first) {
        if (!out.records.empty() && bytes + record->bytes.size() > max_bytes) break;
        bytes += record->bytes.size();
        out.records.push_back(
            {sequence, record->previous_hash, {record->bytes.begin(), record->bytes.end()}});
      }
      used += record->whole();
      ++sequence;
    }
    at += used;
  }
  cursor = {header.first, sequence, at};
  if (out.records.empty() && go_on) {  // the file is not the one that the cursor was in
    cursor = {};
    read_records(segment, first, last, max_records, max_bytes, out);
  }
}

// One look. docs/spool-format.md says in which order what is trusted.
Result<SpoolPiece> SpoolReader::State::piece(SpoolLane lane, std::uint64_t after,
                                             std::size_t max_records, std::size_t max_bytes) {
  SpoolPosition end = committed()[static_cast<std::size_t>(lane)];
  SpoolPiece out;
  out.epoch = end.epoch;
  std::uint64_t next = after + 1;
  if (end.epoch == 0 || after >= end.sequence || max_records == 0) return out;
  auto view = look(lane, end.epoch);
  if (!view) return tl::unexpected(view.error());
  const Segment* holds = nullptr;   // would have to hold `next`
  const Segment* behind = nullptr;  // the one after it
  for (const Segment& segment : view->segments) {
    if (segment.header.first <= next) holds = &segment;
    if (segment.header.first > next && behind == nullptr) behind = &segment;
  }
  std::uint64_t last = end.sequence;
  if (behind != nullptr) {
    std::uint64_t gap = behind->header.gap_first;
    if (gap != 0 && gap <= next) {
      out.lost = SpoolLost{next, std::min(last, behind->header.first - 1), behind->header.gap_why};
      return out;
    }
    last = std::min(last, (gap != 0 ? gap : behind->header.first) - 1);
  }
  if (holds != nullptr) read_records(*holds, next, last, max_records, max_bytes, out);
  if (!out.records.empty()) return out;
  SpoolLost lost{next, last, SpoolLoss::evicted};
  // A segment is taken away whole and the oldest first: what is missing behind one that is there
  // was damaged, unless that one was emptied to make room and begins there.
  if (holds != nullptr && behind == nullptr) lost.why = SpoolLoss::damaged;
  for (const spool::SegmentName& bad : view->bad) {
    std::uint64_t bad_last = bad.last != 0 ? bad.last : last;
    if (bad.first <= next && bad_last >= next) {
      lost.why = SpoolLoss::damaged;
      lost.last = std::min(last, std::max(bad_last, next));
      break;
    }
    if (bad.first > next && bad.first <= lost.last && lost.why == SpoolLoss::evicted)
      lost.last = bad.first - 1;
  }
  if (holds != nullptr && lost.why == SpoolLoss::evicted && behind != nullptr) {
    // Unreadable bytes in it, not yet put aside by a writer.
    Fd file = spool::open_file(folder.get(), holds->name, O_RDONLY);
    auto scan = spool::scan_segment(spool::read_at(file.get(), 0, spool::kMaxSegmentBytes));
    if (!scan || !scan->clean) lost.why = SpoolLoss::damaged, lost.last = last;
  }
  out.lost = lost;
  return out;
}

Result<SpoolPiece> SpoolReader::read(SpoolLane lane, std::uint64_t after, std::size_t max_records,
                                     std::size_t max_bytes) {
  auto seen = state_->piece(lane, after, max_records, max_bytes);
  for (int n = 0; n < kMaxLooks && seen && seen->lost; ++n) {
    auto again = state_->piece(lane, after, max_records, max_bytes);
    if (again && same(*seen, *again)) return again;
    seen = std::move(again);
  }
  if (seen && seen->lost) seen->lost.reset();  // the writer is at it: later
  return seen;
}

Result<SpoolPositions> SpoolReader::spooled() {
  auto files = spool::list(state_->folder.get());
  if (!files) return tl::unexpected(files.error());
  return state_->committed();
}

}  // namespace weir
