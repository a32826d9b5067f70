// The spool's writer: see spool.h. What is appended waits in memory until a sync has succeeded, so
// that a file that failed can be left alone and its records written anew elsewhere.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include "agent/spool/folder.h"
#include "agent/spool/format.h"
#include "agent/spool/lane_files.h"
#include "agent/spool/spool.h"

namespace weir {
namespace {

using spool::LaneFiles;

constexpr SpoolLane kByWorth[] = {SpoolLane::telemetry, SpoolLane::audit, SpoolLane::alert};
constexpr std::size_t kWriteAtOnce = 1u << 20;  // bytes of one pwrite
// A commit makes room and tries again; no folder has more segments than this.
constexpr int kMaxTries = spool::kMaxFiles;
constexpr const char* kCommittedFile = "committed";

struct Pending {
  std::uint64_t sequence = 0;
  SpoolHash previous_hash{};
  std::vector<std::uint8_t> encoded;
};

struct Lane {
  explicit Lane(LaneFiles on_disk) : files(std::move(on_disk)) {}
  LaneFiles files;
  std::deque<Pending> pending;  // appended, not yet synced; they follow each other
  std::size_t written = 0;      // of these, in the newest segment
  std::uint64_t last = 0, committed = 0, acknowledged = 0;
  SpoolHash next_hash{};
  // gap_first up to the first pending (or `last`) is lost and not yet told on the disk; 0: none.
  std::uint64_t gap_first = 0;
  SpoolLoss gap_why = SpoolLoss::not_written;
  bool gap_in_header = false;  // of the newest segment, which isn't synced yet
};

std::size_t index(SpoolLane lane) {
  return static_cast<std::size_t>(lane);
}

}  // namespace

struct SpoolWriter::State {
  int folder = -1;
  Fd lock;
  Fd committed_file;
  SpoolLimits limits;
  std::uint64_t epoch = 0;
  std::vector<Lane> lanes;
  std::size_t in_memory = 0;  // bytes of all that is pending
  SpoolPositions published{};
  SpoolCounters counters;

  Lane& at(SpoolLane lane) { return lanes[index(lane)]; }
  void load(const std::vector<spool::Listed>& files, const SpoolPositions& before);
  void drop_one();
  bool evict(SpoolLane lane, bool newest_too);
  bool make_room(SpoolLane lane);
  bool free_some(SpoolLane lane);
  bool within_quota(SpoolLane lane);
  bool start(SpoolLane lane);
  bool write_pending(SpoolLane lane);
  bool sync(SpoolLane lane);
  bool commit(SpoolLane lane);
  bool publish();
  bool failed();
};

Result<SpoolWriter> SpoolWriter::open(int folder, const SpoolLimits& limits, std::int64_t wall_ns) {
  auto state = std::make_unique<State>();
  state->folder = folder;
  state->limits = limits;
  std::uint64_t segments = 0;
  for (std::uint64_t quota : limits.quota) {
    if (limits.segment_bytes == 0 || quota < 2 * limits.segment_bytes)
      return fail("a lane of the spool must have room for two segments at least");
    segments += quota / limits.segment_bytes;
  }
  static_assert(kMaxSpoolSegments * spool::kSmallestPart * 2 <= spool::kMaxFiles);
  if (segments > kMaxSpoolSegments)
    return fail(fmt::format("a spool has at most {} segments: make them larger, or its quotas less",
                            kMaxSpoolSegments));
  state->lock = spool::open_again(folder);
  if (!state->lock)
    return fail(fmt::format("the spool's folder can't be opened: {}", std::strerror(errno)));
  if (::flock(state->lock.get(), LOCK_EX | LOCK_NB) != 0)
    return fail("another engine writes this spool: end it, or give this one a folder of its own");
  auto files = spool::list(folder);
  if (!files) return tl::unexpected(files.error());
  SpoolPositions before{};
  state->committed_file = spool::open_file(folder, kCommittedFile, O_RDWR);
  if (state->committed_file)
    if (auto read = read_acknowledged(state->committed_file.get())) before = *read;
  std::uint64_t epoch = before[0].epoch;
  for (const spool::Listed& listed : *files)
    if (Fd file = spool::open_file(folder, listed.name, O_RDONLY))
      if (auto header = spool::parse_header(spool::read_at(file.get(), 0, spool::kHeaderBytes)))
        epoch = std::max(epoch, header->epoch);
  if (epoch == 0) epoch = static_cast<std::uint64_t>(std::max<std::int64_t>(wall_ns, 1));
  state->epoch = epoch;
  state->load(*files, before);
  spool::bound_bad(folder, nullptr);
  (void)state->publish();
  return SpoolWriter(std::move(state));
}

SpoolWriter::SpoolWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SpoolWriter::SpoolWriter(SpoolWriter&&) noexcept = default;
SpoolWriter::~SpoolWriter() = default;

void SpoolWriter::State::load(const std::vector<spool::Listed>& files,
                              const SpoolPositions& before) {
  for (std::size_t n = 0; n < kSpoolLanes; ++n) {
    auto which = static_cast<SpoolLane>(n);
    Lane lane(LaneFiles(folder, which, epoch));
    LaneFiles::Found found =
        lane.files.load(files, before[n].epoch == epoch ? before[n].sequence : 0);
    lane.last = found.last;
    lane.next_hash = found.next_hash;
    lane.gap_first = found.gap_first;
    lane.gap_why = SpoolLoss::damaged;
    counters.lost[n] += found.damaged;
    // Never back: the reader may have told of it already. A number is given out once.
    lane.committed = found.last;
    lanes.push_back(std::move(lane));
  }
}

bool SpoolWriter::State::failed() {
  int why = errno;
  ++counters.failed_writes;
  errno = why;
  return false;
}

// Memory is full: the oldest of the lane that is worth least.
void SpoolWriter::State::drop_one() {
  for (SpoolLane which : kByWorth) {
    Lane& lane = at(which);
    if (lane.pending.empty()) continue;
    if (lane.gap_first == 0) {
      lane.gap_first = lane.pending.front().sequence;
      lane.gap_why = SpoolLoss::not_written;
    }
    lane.gap_in_header = false;
    if (lane.written > 0) {  // in a segment that was never synced
      lane.written = 0;
      lane.files.distrust();
    }
    in_memory -= lane.pending.front().encoded.size();
    lane.pending.pop_front();
    ++counters.lost[index(which)];
    return;
  }
}

std::uint64_t SpoolWriter::append(SpoolLane which, Bytes record) {
  WEIR_CHECK(record.size() <= kMaxSpoolRecord);
  State& s = *state_;
  Lane& lane = s.at(which);
  Pending next;
  next.sequence = ++lane.last;
  next.previous_hash = lane.next_hash;
  spool::append_record(which, s.epoch, {next.sequence, next.previous_hash, record}, next.encoded);
  lane.next_hash = spool::hash_after(next.previous_hash, record);
  s.in_memory += next.encoded.size();
  lane.pending.push_back(std::move(next));
  while (s.in_memory > kMaxSpoolMemory) s.drop_one();
  return lane.last;
}

bool SpoolWriter::State::evict(SpoolLane which, bool newest_too) {
  Lane& lane = at(which);
  const SpoolHash& hash =
      lane.pending.empty() ? lane.next_hash : lane.pending.front().previous_hash;
  auto lost = lane.files.evict(newest_too && lane.written == 0, hash, lane.acknowledged);
  if (!lost) return false;
  counters.lost[index(which)] += *lost;
  return true;
}

// For `lane`: telemetry, then audit; never alerts.
bool SpoolWriter::State::make_room(SpoolLane lane) {
  if (evict(SpoolLane::telemetry, lane != SpoolLane::telemetry)) return true;
  return lane != SpoolLane::telemetry && evict(SpoolLane::audit, lane != SpoolLane::audit);
}

// The disk is full: what was put aside goes first.
bool SpoolWriter::State::free_some(SpoolLane lane) {
  return spool::drop_bad(folder) || make_room(lane);
}

// Room for one more segment. Alerts and audit may take what is left of the whole before anything
// has to go; telemetry keeps to its own.
bool SpoolWriter::State::within_quota(SpoolLane which) {
  std::uint64_t whole_quota = 0;
  for (std::uint64_t quota : limits.quota) whole_quota += quota;
  for (int n = 0; n < kMaxTries; ++n) {
    std::uint64_t whole = limits.segment_bytes;
    for (const Lane& lane : lanes) whole += lane.files.used(limits.segment_bytes);
    std::uint64_t own = at(which).files.used(limits.segment_bytes) + limits.segment_bytes;
    bool own_fits = own <= limits.quota[index(which)];
    if (whole <= whole_quota && (own_fits || which != SpoolLane::telemetry)) return true;
    if (at(which).files.empty()) return true;
    if (!make_room(which)) break;
  }
  errno = EDQUOT;
  return false;
}

bool SpoolWriter::State::start(SpoolLane which) {
  Lane& lane = at(which);
  lane.files.finish();
  if (!within_quota(which)) return failed();
  spool::SegmentHeader header;
  header.lane = which;
  header.epoch = epoch;
  header.first = lane.pending.empty() ? lane.last + 1 : lane.pending.front().sequence;
  header.gap_first = lane.gap_first;
  header.gap_why = lane.gap_why;
  header.previous_hash = lane.pending.empty() ? lane.next_hash : lane.pending.front().previous_hash;
  // What is reserved is had when the disk is full; nothing goes only to reserve something.
  for (int n = 0; !lane.files.start(header, n == 0 ? limits.segment_bytes : 0); ++n)
    if (n == kMaxTries || errno != ENOSPC || (n > 0 && !free_some(which))) return failed();
  if (!lane.files.ready()) return failed();
  lane.gap_in_header = lane.gap_first != 0;
  return true;
}

bool SpoolWriter::State::write_pending(SpoolLane which) {
  Lane& lane = at(which);
  while (lane.written < lane.pending.size()) {
    // A record that is larger than a segment has one to itself.
    if (!lane.files.unused() &&
        !lane.files.fits(lane.pending[lane.written].encoded.size(), limits.segment_bytes)) {
      if (!sync(which) || !start(which)) return false;
      continue;
    }
    std::vector<std::uint8_t> batch;
    std::size_t count = 0;
    for (std::size_t n = lane.written; n < lane.pending.size(); ++n) {
      const auto& encoded = lane.pending[n].encoded;
      std::size_t after = batch.size() + encoded.size();
      if (count > 0 && (after > kWriteAtOnce || !lane.files.fits(after, limits.segment_bytes)))
        break;
      batch.insert(batch.end(), encoded.begin(), encoded.end());
      ++count;
    }
    if (lane.files.append(batch)) {
      lane.written += count;
      continue;
    }
    bool full = errno == ENOSPC || errno == EDQUOT;
    if (full && lane.files.ready() && free_some(which)) continue;
    if (!full) lane.files.distrust();
    return failed();
  }
  return true;
}

bool SpoolWriter::State::sync(SpoolLane which) {
  Lane& lane = at(which);
  std::uint64_t last = lane.written > 0       ? lane.pending[lane.written - 1].sequence
                       : lane.pending.empty() ? lane.last
                                              : lane.pending.front().sequence - 1;
  if (!lane.files.sync(last)) {
    lane.written = 0;
    return failed();
  }
  ++counters.syncs;
  counters.written[index(which)] += lane.written;
  for (; lane.written > 0; --lane.written) {
    in_memory -= lane.pending.front().encoded.size();
    lane.pending.pop_front();
  }
  lane.committed = last;
  if (lane.gap_in_header) lane.gap_first = 0;
  lane.gap_in_header = false;
  return true;
}

bool SpoolWriter::State::commit(SpoolLane which) {
  Lane& lane = at(which);
  bool gap = lane.gap_first != 0 && !lane.gap_in_header;
  if (lane.pending.empty() && !gap && lane.files.ready()) return true;
  if (!lane.files.ready() || gap) {
    lane.written = 0;
    if (!start(which)) return false;
  }
  bool wrote = write_pending(which);
  int why = errno;
  // What did go in is made durable even if the rest found no room.
  bool synced = lane.files.ready() && sync(which);
  if (!wrote) errno = why;
  return wrote && synced;
}

// Tells the reader how far it may read. Not synced: after a power cut the segments say it.
bool SpoolWriter::State::publish() {
  SpoolPositions now;
  for (std::size_t n = 0; n < kSpoolLanes; ++n) now[n] = {epoch, lanes[n].committed};
  if (now == published) return true;
  if (!committed_file) committed_file = spool::open_file(folder, kCommittedFile, O_RDWR | O_CREAT);
  if (!committed_file || !write_acknowledged(committed_file.get(), now)) return failed();
  published = now;
  return true;
}

Result<void> SpoolWriter::commit(SpoolLane until) {
  State& s = *state_;
  int why = 0;
  for (std::size_t n = 0; n < kSpoolLanes; ++n) {
    auto lane = static_cast<SpoolLane>(n);
    // The first commit of a spool makes all three, so that each lane has a place on the disk.
    if (lane > until && !s.at(lane).files.empty()) continue;
    if (!s.commit(lane) && why == 0) why = errno;
  }
  if (!s.publish() && why == 0) why = errno;
  if (why == 0) return {};
  return fail(fmt::format("the spool can't be written: {}; kept in memory and tried again",
                          std::strerror(why)));
}

void SpoolWriter::forget(const SpoolPositions& acknowledged) {
  State& s = *state_;
  bool news = false;
  for (std::size_t n = 0; n < kSpoolLanes; ++n) {
    Lane& lane = s.lanes[n];
    if (acknowledged[n].epoch != s.epoch) continue;
    std::uint64_t upto = std::min(acknowledged[n].sequence, lane.committed);
    if (upto <= lane.acknowledged) continue;
    lane.acknowledged = upto;
    lane.files.forget(upto);
    news = true;
  }
  if (!news) return;
  SpoolPositions told;
  for (std::size_t n = 0; n < kSpoolLanes; ++n) told[n] = {s.epoch, s.lanes[n].acknowledged};
  spool::bound_bad(s.folder, &told);
}

SpoolPositions SpoolWriter::last() const {
  SpoolPositions positions;
  for (std::size_t n = 0; n < kSpoolLanes; ++n)
    positions[n] = {state_->epoch, state_->lanes[n].last};
  return positions;
}

SpoolPositions SpoolWriter::committed() const {
  SpoolPositions positions;
  for (std::size_t n = 0; n < kSpoolLanes; ++n)
    positions[n] = {state_->epoch, state_->lanes[n].committed};
  return positions;
}

const SpoolCounters& SpoolWriter::counters() const {
  return state_->counters;
}

Result<void> write_acknowledged(int file, const SpoolPositions& positions) {
  // What is longer was not written by us, and would not be believed.
  off_t size = ::lseek(file, 0, SEEK_END);
  bool fits = size <= static_cast<off_t>(spool::kPositionsBytes) ||
              ::ftruncate(file, static_cast<off_t>(spool::kPositionsBytes)) == 0;
  if (fits && spool::write_at(file, spool::positions_bytes(positions), 0)) return {};
  return fail(fmt::format("the positions can't be written: {}", std::strerror(errno)));
}

Result<SpoolPositions> read_acknowledged(int file) {
  errno = 0;
  // One byte more: a longer file is none of ours.
  std::vector<std::uint8_t> bytes = spool::read_at(file, 0, spool::kPositionsBytes + 1);
  if (bytes.empty() && errno != 0)
    return fail(fmt::format("the positions can't be read: {}", std::strerror(errno)));
  return spool::parse_positions(bytes).value_or(SpoolPositions{});
}

}  // namespace weir
