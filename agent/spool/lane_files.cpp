// The segments of one lane on the disk: see lane_files.h.
#include "agent/spool/lane_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weir::spool {
namespace {

// What was put aside counts for no quota: two segments of each lane, 24 MiB at the default size.
constexpr std::size_t kMaxBadPerLane = 2;

}  // namespace

// A file that has the name of a segment, and what it holds.
struct LaneFiles::Candidate {
  std::string name;
  std::uint64_t first = 0;  // by its header, else by its name
  std::uint64_t named_first = 0;
  std::uint64_t size = 0;
  std::optional<SegmentScan> scan;  // nothing: its header doesn't hold
  std::uint64_t salvaged_last = 0;  // then: the last record below it that does
  std::uint64_t begins() const {    // the first sequence that it speaks for
    return scan && scan->header.gap_first != 0 ? scan->header.gap_first : first;
  }
};

std::vector<LaneFiles::Candidate> LaneFiles::candidates(const std::vector<Listed>& files) const {
  std::vector<Candidate> all;
  for (const Listed& listed : files) {
    if (listed.parsed.lane != lane_ || listed.parsed.last != 0) continue;
    Fd file = open_file(folder_, listed.name, O_RDONLY);
    if (!file) continue;
    std::vector<std::uint8_t> bytes = read_at(file.get(), 0, kMaxSegmentBytes);
    Candidate candidate;
    candidate.name = listed.name;
    candidate.first = candidate.named_first = listed.parsed.first;
    candidate.size = bytes.size();
    candidate.scan = scan_segment(bytes);
    if (candidate.scan &&
        (candidate.scan->header.epoch != epoch_ || candidate.scan->header.lane != lane_))
      candidate.scan.reset();
    if (candidate.scan) {
      candidate.first = candidate.scan->header.first;
    } else {
      SegmentHeader assumed;
      assumed.lane = lane_;
      assumed.epoch = epoch_;
      assumed.first = candidate.first;
      if (auto salvaged = scan_segment(bytes, &assumed)) candidate.salvaged_last = salvaged->last;
    }
    all.push_back(std::move(candidate));
  }
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    if (a.first != b.first) return a.first < b.first;
    return (a.named_first != a.first) < (b.named_first != b.first);  // the right name first
  });
  return all;
}

// A segment goes by its header. Where two have the same, the one that has the name stays.
void LaneFiles::settle_names(std::vector<Candidate>& valid) {
  for (std::size_t n = 1; n < valid.size();) {
    if (valid[n].first == valid[n - 1].first) {
      move_aside(valid[n], valid[n].named_first, valid[n].named_first);
      valid.erase(valid.begin() + static_cast<std::ptrdiff_t>(n));
    } else {
      ++n;
    }
  }
  // Two that were swapped stand in each other's way: first all leave, then all arrive.
  for (bool arrive : {false, true})
    for (Candidate& one : valid) {
      if (one.named_first == one.first) continue;
      std::string to = arrive ? segment_name(lane_, one.first) : one.name + ".moved";
      if (::renameat(folder_, one.name.c_str(), folder_, to.c_str()) == 0) one.name = to;
    }
}

bool LaneFiles::remove(const std::string& name) const {
  return ::unlinkat(folder_, name.c_str(), 0) == 0;
}

void LaneFiles::move_aside(const Candidate& candidate, std::uint64_t first,
                           std::uint64_t last) const {
  std::string bad = bad_name(lane_, first, std::max(first, last));
  (void)::renameat(folder_, candidate.name.c_str(), folder_, bad.c_str());
}

// The part that holds up stays; the rest goes to a file that nobody reads as records.
void LaneFiles::cut(const Candidate& candidate, std::uint64_t first, std::uint64_t last) const {
  Fd from = open_file(folder_, candidate.name, O_RDWR);
  if (!from) return;
  std::size_t good = candidate.scan->good_end;
  if (Fd to = open_file(folder_, bad_name(lane_, first, last), O_WRONLY | O_CREAT | O_TRUNC))
    (void)write_at(to.get(), read_at(from.get(), good, kMaxSegmentBytes), 0);
  if (::ftruncate(from.get(), static_cast<off_t>(good)) == 0) (void)::fdatasync(from.get());
}

LaneFiles::Found LaneFiles::load(const std::vector<Listed>& files, std::uint64_t committed) {
  std::vector<Candidate> valid, invalid;
  for (Candidate& one : candidates(files)) {
    // Made and not yet written to: a crash at the birth of a segment.
    bool unborn = !one.scan && one.size < kHeaderBytes && one.first > committed;
    if (unborn)
      (void)remove(one.name);
    else
      (one.scan ? valid : invalid).push_back(std::move(one));
  }
  Found found;
  found.last = committed;  // and whatever else says that it was handed out
  for (const Candidate& one : valid) found.last = std::max(found.last, one.scan->last);
  for (const Candidate& one : invalid)
    found.last = std::max({found.last, one.salvaged_last, one.first - 1});
  auto next_valid = [&](std::uint64_t first) {  // last sequence before the next segment speaks
    for (const Candidate& one : valid)
      if (one.first > first) return one.begins() - 1;
    return found.last;
  };
  for (const Candidate& one : invalid) move_aside(one, one.first, next_valid(one.first));
  settle_names(valid);

  std::uint64_t expected = 0;  // the first sequence not yet accounted for
  bool evidence = false;       // of damage, since it
  auto hole = [&](std::uint64_t first, std::uint64_t end) {
    for (const Candidate& one : invalid) evidence |= one.first >= first && one.first <= end;
    if (end >= first && evidence) found.damaged += end - first + 1;
  };
  if (!invalid.empty()) expected = invalid.front().first;
  if (!valid.empty() && (expected == 0 || valid.front().begins() < expected))
    expected = valid.front().begins();
  for (const Candidate& one : valid) {
    if (one.begins() > expected) hole(expected, one.begins() - 1);
    bool newest = &one == &valid.back();
    std::uint64_t limit = newest ? found.last : next_valid(one.first);
    std::uint64_t last = std::max(one.first - 1, std::min(one.scan->last, limit));
    bool torn = newest && one.scan->last >= committed;
    if (!one.scan->clean && !torn && last < limit) cut(one, last + 1, limit);
    segments_.push_back({one.first, last, one.scan->good_end});
    expected = last + 1;
    evidence = !one.scan->clean;
  }
  if (expected != 0 && found.last >= expected) {
    evidence = true;  // they were committed and are not there
    hole(expected, found.last);
    found.gap_first = expected;
  }
  if (!valid.empty()) {
    found.next_hash = valid.back().scan->next_hash;
    adopt(valid.back());
  }
  return found;
}

// Goes on with the newest segment, once what it holds is on the disk for certain.
void LaneFiles::adopt(const Candidate& newest) {
  active_ = open_file(folder_, newest.name, O_RDWR);
  Segment& segment = segments_.back();
  trusted_ = active_ && ::ftruncate(active_.get(), static_cast<off_t>(segment.bytes)) == 0 &&
             ::fdatasync(active_.get()) == 0 && ::fsync(folder_) == 0;
}

bool LaneFiles::fits(std::size_t bytes, std::uint64_t segment_bytes) const {
  return segments_.back().bytes + bytes <= segment_bytes;
}

std::uint64_t LaneFiles::used(std::uint64_t segment_bytes) const {
  std::uint64_t sum = 0;
  for (const Segment& segment : segments_)
    sum += std::max(segment.bytes, segment_bytes / kSmallestPart);
  if (reserved_ && segments_.back().bytes < segment_bytes)
    sum += segment_bytes - std::max(segments_.back().bytes, segment_bytes / kSmallestPart);
  return sum;
}

bool LaneFiles::start(const SegmentHeader& header, std::uint64_t reserve) {
  finish();
  std::string name = segment_name(lane_, header.first), made = name;
  // Nothing in it was ever durable, or it only held the place, which is never left empty.
  bool instead = !segments_.empty() && segments_.back().first == header.first;
  if (instead) made = fmt::format("{}.new", name_of(lane_));
  constexpr int kMake = O_RDWR | O_CREAT | O_EXCL;
  Fd file = open_file(folder_, made, kMake);
  if (!file && errno == EEXIST && remove(made)) file = open_file(folder_, made, kMake);
  if (!file) return false;
  bool reserved = false, good = true;
  if (reserve > 0) {
    reserved = ::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(reserve)) == 0;
    good = reserved || errno == EOPNOTSUPP || errno == ENOSYS;
  }
  good = good && write_at(file.get(), header_bytes(header), 0);
  if (good && instead) good = ::renameat(folder_, made.c_str(), folder_, name.c_str()) == 0;
  if (!good) {
    int why = errno;
    (void)remove(made);
    errno = why;
    return false;
  }
  if (instead) segments_.pop_back();
  segments_.push_back({header.first, header.first - 1, kHeaderBytes});
  active_ = std::move(file);
  reserved_ = reserved;
  trusted_ = folder_dirty_ = true;
  return true;
}

void LaneFiles::finish() {
  if (active_ && trusted_ && reserved_)
    (void)!::ftruncate(active_.get(), static_cast<off_t>(segments_.back().bytes));
  reserved_ = false;
  active_ = Fd();
}

bool LaneFiles::append(Bytes records) {
  Segment& segment = segments_.back();
  if (write_at(active_.get(), records, segment.bytes)) {
    segment.bytes += records.size();
    return true;
  }
  int why = errno;
  if (::ftruncate(active_.get(), static_cast<off_t>(segment.bytes)) != 0) trusted_ = false;
  reserved_ = false;  // that gave it back
  errno = why;
  return false;
}

bool LaneFiles::sync(std::uint64_t last) {
  // After a failed sync the kernel may hold the pages for clean: this file is not written again.
  if (::fdatasync(active_.get()) != 0) return trusted_ = false;
  if (folder_dirty_ && ::fsync(folder_) != 0) return trusted_ = false;
  folder_dirty_ = false;
  segments_.back().last = last;
  return true;
}

// In place, so that a full disk has nothing to refuse. The header first: a crash in between leaves
// a segment whose records are not those that it promises, and they are cut off.
bool LaneFiles::empty_newest(const SpoolHash& next_hash) {
  Segment& newest = segments_.back();
  SegmentHeader header;
  header.lane = lane_;
  header.epoch = epoch_;
  header.first = newest.last + 1;
  header.previous_hash = next_hash;
  std::string from = segment_name(lane_, newest.first), to = segment_name(lane_, header.first);
  if (!write_at(active_.get(), header_bytes(header), 0)) return false;
  if (::ftruncate(active_.get(), kHeaderBytes) != 0) trusted_ = false;
  if (::fdatasync(active_.get()) != 0) trusted_ = false;
  if (::renameat(folder_, from.c_str(), folder_, to.c_str()) == 0)
    newest.first = header.first;
  else
    trusted_ = false;
  newest.last = header.first - 1;
  newest.bytes = kHeaderBytes;
  reserved_ = false;
  folder_dirty_ = true;
  return true;
}

std::optional<std::uint64_t> LaneFiles::evict(bool newest_too, const SpoolHash& next_hash,
                                              std::uint64_t acknowledged) {
  if (segments_.empty()) return std::nullopt;
  const Segment oldest = segments_.front();
  std::uint64_t told = std::max(acknowledged, oldest.first - 1);
  std::uint64_t lost = oldest.last > told ? oldest.last - told : 0;
  if (segments_.size() > 1) {
    if (!remove(segment_name(lane_, oldest.first))) return std::nullopt;
    segments_.pop_front();
    return lost;
  }
  if (!newest_too || !ready()) return std::nullopt;
  if (oldest.last >= oldest.first)
    return empty_newest(next_hash) ? std::optional<std::uint64_t>(lost) : std::nullopt;
  if (!reserved_) return std::nullopt;
  reserved_ = false;
  if (::ftruncate(active_.get(), static_cast<off_t>(oldest.bytes)) != 0) return std::nullopt;
  return 0;
}

void LaneFiles::forget(std::uint64_t acknowledged) {
  while (segments_.size() > 1 && segments_.front().last <= acknowledged) {
    if (!remove(segment_name(lane_, segments_.front().first))) return;
    segments_.pop_front();
  }
}

void bound_bad(int folder, const SpoolPositions* acknowledged) {
  auto files = list(folder);
  if (!files) return;
  std::array<std::size_t, kSpoolLanes> kept{};
  for (auto file = files->rbegin(); file != files->rend(); ++file) {
    if (file->parsed.last == 0) continue;
    auto lane = static_cast<std::size_t>(file->parsed.lane);
    bool told = acknowledged != nullptr && file->parsed.last <= (*acknowledged)[lane].sequence;
    if (told || ++kept[lane] > kMaxBadPerLane) (void)::unlinkat(folder, file->name.c_str(), 0);
  }
}

bool drop_bad(int folder) {
  auto files = list(folder);
  bool any = false;
  if (!files) return false;
  for (const Listed& file : *files) {
    struct stat info {};
    if (file.parsed.last == 0 ||
        ::fstatat(folder, file.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || info.st_size == 0)
      continue;
    Fd open = open_file(folder, file.name, O_WRONLY);  // the name still says what is lost
    any = (open && ::ftruncate(open.get(), 0) == 0) || any;
  }
  return any;
}

}  // namespace weir::spool
