// The writer: group commit, watermarks, days, and patience with a full disk.
#include "collector/store/record_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <thread>

#include "collector/store/day_file.h"
#include "collector/store/packed_records.h"

namespace weir {
namespace {

constexpr std::chrono::milliseconds kRetryAfter{500};  // a full disk is asked again
// Longer than a fleet is silent on holidays; a clock that leaps by less removes so much too early.
constexpr std::int64_t kLeapDays = 7;

std::size_t cost(const Append& append) {
  std::size_t bytes = sizeof(Append) + append.packed.bytes.size() +
                      append.packed.starts.size() * sizeof(std::uint32_t) +
                      append.packed.reports.size() * sizeof(PackedBatch::Report);
  for (const NewRecord& record : append.records)
    bytes +=
        sizeof(NewRecord) + record.ciphertext.size() + record.key_id.size() + record.nonce.size();
  for (const NewRequest& one : append.requests)
    bytes += sizeof(NewRequest) + one.id.size() + one.person.size() + one.request.size();
  return bytes;
}

struct Waiting {
  Append append;
  std::size_t cost;
};

// Makes a day's file, then enters it in store.db; only then records go into it. What a crash left
// between the two holds nothing but old marks and is made anew.
Result<std::unique_ptr<DayFile>> new_day_file(FleetStore& fleet, const std::string& folder,
                                              std::int64_t day, const Watermarks& marks) {
  namespace fs = std::filesystem;
  const std::string path = day_path(folder, day);
  std::error_code error;
  if (fs::exists(path, error)) {
    Result<std::unique_ptr<DayFile>> left = DayFile::open(path, fleet.id());
    if (!left) return left;
    if ((*left)->holds_records())
      return fail(
          fmt::format("{}: holds records that {}/store.db knows nothing of: one of them is "
                      "from a copy",
                      path, folder));
    left->reset();  // closed: takes its log with it
    fs::remove(path, error);
  }
  if (Result<void> made = DayFile::create(path, fleet.id(), marks); !made)
    return tl::unexpected(made.error());
  Result<std::unique_ptr<DayFile>> file = DayFile::open(path, fleet.id());
  if (file && !fleet.add_day(day)) return fail(fleet.sentence());
  return file;
}

}  // namespace

void pack(Append& append) {
  PackedBatch& packed = append.packed;
  std::size_t bytes = 0;
  auto form = [](const NewRecord& r, std::uint8_t flags) {
    return PackedRecord{flags, r.previous_hash, bytes_of(r.ciphertext), bytes_of(r.key_id),
                        bytes_of(r.nonce)};
  };
  for (const NewRecord& record : append.records) bytes += packed_size(form(record, 0));
  packed.bytes.reserve(bytes);
  packed.starts.reserve(append.records.size());
  packed.reports.reserve(static_cast<std::size_t>(std::ranges::count_if(
      append.records, [](const NewRecord& record) { return record.report.has_value(); })));
  const NewRecord* before = nullptr;
  for (NewRecord& record : append.records) {
    std::uint8_t flags = record.flags;
    if (before != nullptr && record.previous_hash != before->hash) flags |= kChainBroken;
    packed.broken = packed.broken || (flags & kChainBroken) != 0;
    packed.starts.push_back(static_cast<std::uint32_t>(packed.bytes.size()));
    const std::size_t at = pack(packed.bytes, form(record, flags));
    if (record.report)
      packed.reports.push_back(
          {static_cast<std::uint32_t>(packed.starts.size() - 1), static_cast<std::uint32_t>(at),
           static_cast<std::uint32_t>(record.ciphertext.size()),
           report_key(record.report->id, record.report->time_ns), std::move(*record.report)});
    before = &record;
  }
  if (before != nullptr) packed.last_hash = before->hash;
  append.records = {};
}

class RecordStore::Writer {
 public:
  Writer(FleetStore& fleet, RecordStoreOptions options, std::unique_ptr<DayFile> file,
         std::int64_t day, Watermarks marks)
      : fleet_(fleet),
        options_(std::move(options)),
        file_(std::move(file)),
        day_(day),
        marks_(std::move(marks)),
        thread_([this] {
          forget_old(day_, options_.wall_ns() / kDayNs);
          run();
        }) {}

  ~Writer() {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  bool append(Append& append) {
    const std::size_t bytes = cost(append);
    {
      std::lock_guard lock(mutex_);
      if (waiting_bytes_ != 0 && waiting_bytes_ + bytes > kMaxWaitingBytes) {
        ++counters_.refused_full;
        return false;
      }
      waiting_bytes_ += bytes;
    }
    if (!append.records.empty()) pack(append);
    std::vector<Waiting> spent;  // freed here
    {
      std::lock_guard lock(mutex_);
      waiting_.push_back({std::move(append), bytes});
      spent.swap(spent_);
    }
    wake_.notify_one();
    return true;
  }

  std::vector<Appended> positions(std::uint32_t host) const {
    std::lock_guard lock(mutex_);
    std::vector<Appended> positions;
    for (StoreLane lane : {StoreLane::alert, StoreLane::audit, StoreLane::telemetry}) {
      auto found = marks_.find({host, lane});
      if (found == marks_.end()) continue;
      for (const Watermark& mark : found->second.all())
        positions.push_back({.lane = lane, .epoch = mark.epoch, .sequence = mark.sequence});
    }
    return positions;
  }

  StoreCounters counters() const {
    std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  // Of one group; becomes true for everybody with its commit.
  struct Group {
    Watermarks marks;  // of the lanes that it touches
    std::vector<Appended> answers;
    StoreCounters counters;
    std::vector<RequestRow> requests;
    bool reports = false;
  };

  void run();
  std::vector<Waiting> take();
  bool write(std::vector<Waiting>& batches, Group& group);
  bool write_one(Append& append, Group& group, std::int64_t now_ms);
  bool write_gaps(const Append& append, Watermark& mark, Group& group, std::int64_t now_ms);
  bool write_records(Append& append, Watermark& mark, Group& group, std::int64_t now_ms);
  bool keep_requests(Group& group, std::int64_t now_s);
  bool turn_day(std::int64_t now_ns);
  void forget_old(std::int64_t newest, std::int64_t today);
  void publish(std::vector<Waiting>& batches, Group& group);
  void refuse(const std::string& sentence);

  FleetStore& fleet_;
  const RecordStoreOptions options_;
  std::unique_ptr<DayFile> file_;
  std::int64_t day_;
  bool refused_ = false;  // the disk did, and it was said

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;
  std::vector<Waiting> spent_;     // a group that is written, while more waits: its memory
  std::size_t waiting_bytes_ = 0;  // also of the group that is being written
  Watermarks marks_;               // on disk. Changed by the writer only, under the lock
  StoreCounters counters_;
  bool ending_ = false;
  std::thread thread_;  // last: starts when the rest stands
};

std::vector<Waiting> RecordStore::Writer::take() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
  std::vector<Waiting> batches;
  for (std::size_t records = 0; !waiting_.empty() && records < kMaxGroupRecords;) {
    records += waiting_.front().append.packed.starts.size() + 1;
    batches.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return batches;
}

void RecordStore::Writer::run() {
  while (true) {
    std::vector<Waiting> batches = take();
    if (batches.empty()) return;  // ending, and nothing waits
    while (true) {
      Group group;
      if (write(batches, group)) {
        publish(batches, group);
        break;
      }
      std::unique_lock lock(mutex_);
      ++counters_.failed_commits;
      // Not acknowledged, so the hosts still have it.
      if (wake_.wait_for(lock, kRetryAfter, [this] { return ending_; })) return;
    }
  }
}

bool RecordStore::Writer::write(std::vector<Waiting>& batches, Group& group) {
  const std::int64_t now_ns = options_.wall_ns();
  if (now_ns / kDayNs > day_ && !turn_day(now_ns)) return false;
  bool done = file_->begin();
  for (Waiting& batch : batches) done = done && write_one(batch.append, group, now_ns / 1'000'000);
  for (const auto& [key, lane] : group.marks)
    for (const Watermark& mark : lane.all()) done = done && file_->set_mark(key, mark);
  const bool asked = done && keep_requests(group, now_ns / 1'000'000'000);
  if (asked && file_->commit()) return true;
  refuse(done && !asked ? fleet_.sentence() : file_->error());
  file_->roll_back();
  return false;
}

// Before the commit: killed in between, the collector has the request and asks for its record
// again.
bool RecordStore::Writer::keep_requests(Group& group, std::int64_t now_s) {
  if (group.requests.empty()) return true;
  std::optional<RequestsAdded> added = fleet_.add_requests(group.requests, now_s);
  if (added) group.counters.requests = *added;
  return added.has_value();
}

bool RecordStore::Writer::write_one(Append& append, Group& group, std::int64_t now_ms) {
  auto lane = group.marks.find(append.key);
  if (lane == group.marks.end()) {
    auto known = marks_.find(append.key);  // only this thread changes it
    lane =
        group.marks.emplace(append.key, known == marks_.end() ? LaneMarks{} : known->second).first;
  }
  Appended answer{.lane = append.key.lane, .epoch = append.epoch};
  Watermark* mark = lane->second.at(append.epoch);
  if (mark == nullptr) {
    answer.outcome = AppendOutcome::old_epoch;
  } else if (append.first_sequence > mark->sequence + 1) {
    answer.outcome = AppendOutcome::hole;
    ++group.counters.holes;
  } else if (append.lost_until > mark->sequence) {
    if (!write_gaps(append, *mark, group, now_ms)) return false;
  } else if (!write_records(append, *mark, group, now_ms)) {
    return false;
  }
  if (mark != nullptr) answer.sequence = mark->sequence;
  group.answers.push_back(answer);
  return true;
}

// Two, where a part of it is the collector's own doing.
bool RecordStore::Writer::write_gaps(const Append& append, Watermark& mark, Group& group,
                                     std::int64_t now_ms) {
  const std::uint64_t forgotten = std::min(append.forgotten_until, append.lost_until);
  for (auto [last, why] :
       {std::pair{forgotten, kWhyRestored}, std::pair{append.lost_until, append.lost_why}}) {
    if (last <= mark.sequence) continue;
    if (!file_->add_gap(append.key, append.epoch, mark.sequence + 1, last, why, now_ms))
      return false;
    ++group.counters.gaps;
    group.counters.lost += last - mark.sequence;
    mark.sequence = last;
    mark.chain.reset();
  }
  return true;
}

// One row for what of the batch is new. Whether its first record follows what is stored shows only
// here; pack() has seen to the rest.
bool RecordStore::Writer::write_records(Append& append, Watermark& mark, Group& group,
                                        std::int64_t now_ms) {
  PackedBatch& batch = append.packed;
  const std::size_t stored =
      std::min<std::uint64_t>(mark.sequence + 1 - append.first_sequence, batch.starts.size());
  group.counters.duplicates += stored;
  if (stored == batch.starts.size()) return true;
  const std::size_t start = batch.starts[stored];
  char& flags = batch.bytes[start + kPackedFlagsAt];
  flags = static_cast<char>(flags & ~kChainBroken);
  Bytes rest = bytes_of(batch.bytes).subspan(start), bytes = rest;
  const bool follows = !mark.chain || std::ranges::equal(unpack(rest)->previous_hash, *mark.chain);
  if (!follows) flags = static_cast<char>(flags | kChainBroken);
  if (!follows || batch.broken)
    for (std::size_t n = stored; n < batch.starts.size(); ++n)
      group.counters.chain_breaks +=
          (batch.bytes[batch.starts[n] + kPackedFlagsAt] & kChainBroken) != 0;
  const std::size_t count = batch.starts.size() - stored;
  if (!file_->add_batch(append.key, append.epoch, append.first_sequence + stored, count, now_ms,
                        bytes))
    return false;
  for (const PackedBatch::Report& report : batch.reports) {
    if (report.index < stored) continue;
    file_->add_report(append.key, report, report.at - static_cast<std::uint32_t>(start));
    group.reports = true;
  }
  for (const NewRequest& one : append.requests)
    if (one.index >= stored)
      group.requests.push_back({.host = append.key.host,
                                .id = one.id,
                                .person = one.person,
                                .request = one.request,
                                .received_s = now_ms / 1'000,
                                .ends_s = now_ms / 1'000 + kRequestOpen_s});
  group.counters.records += count;
  mark.sequence += count;
  mark.chain = batch.last_hash;
  return true;
}

// A new day is a new file that starts with all watermarks: the newest file alone says what is
// stored.
bool RecordStore::Writer::turn_day(std::int64_t now_ns) {
  const std::int64_t day = now_ns / kDayNs;
  const std::string path = day_path(options_.folder, day);
  Result<std::unique_ptr<DayFile>> file = new_day_file(fleet_, options_.folder, day, marks_);
  if (!file) {
    refuse(file.error().sentence);
    return false;
  }
  file_ = std::move(*file);
  forget_old(std::exchange(day_, day), day);
  return true;
}

// Files go after store.db has forgotten them: what a kill leaves between the two goes at the next
// look. A clock that has leapt, or a collector that was off for long, removes nothing on that day.
void RecordStore::Writer::forget_old(std::int64_t newest, std::int64_t today) {
  const std::int64_t keep = options_.keep_days;
  if (keep > 0 && today - newest > std::min(keep, kLeapDays)) {
    options_.say(fmt::format("the last records are {} days old: nothing is removed before tomorrow",
                             today - newest));
  } else if (keep > 0 && !fleet_.forget_days(today - keep)) {
    options_.say(fmt::format("{}; old records are not removed", fleet_.sentence()));
  }
  const std::int64_t before = fleet_.forgotten_before();
  options_.forgot(before);
  if (Result<void> removed = remove_days(options_.folder, before); !removed)
    options_.say(removed.error().sentence);
}

void RecordStore::Writer::publish(std::vector<Waiting>& batches, Group& group) {
  {
    std::lock_guard lock(mutex_);
    for (auto& [key, lane] : group.marks) marks_[key] = std::move(lane);
    counters_.records += group.counters.records;
    counters_.duplicates += group.counters.duplicates;
    counters_.gaps += group.counters.gaps;
    counters_.lost += group.counters.lost;
    counters_.holes += group.counters.holes;
    counters_.chain_breaks += group.counters.chain_breaks;
    counters_.requests.taken += group.counters.requests.taken;
    counters_.requests.known += group.counters.requests.known;
    counters_.requests.displaced += group.counters.requests.displaced;
    ++counters_.commits;
    for (const Waiting& batch : batches) waiting_bytes_ -= batch.cost;
  }
  if (refused_) options_.say("the store takes records again");
  refused_ = false;
  for (std::size_t n = 0; n < batches.size(); ++n)
    if (batches[n].append.done) batches[n].append.done(group.answers[n]);
  {
    std::lock_guard lock(mutex_);
    if (!waiting_.empty() && spent_.empty()) spent_.swap(batches);
  }
  if (group.reports) options_.reports_came();
}

void RecordStore::Writer::refuse(const std::string& sentence) {
  if (!refused_)
    options_.say(
        fmt::format("{}; nothing is acknowledged until the store takes records again", sentence));
  refused_ = true;
}

namespace {

// Which file is the newest, and that all are there.
Result<std::int64_t> find_newest_day(FleetStore& fleet, const RecordStoreOptions& options) {
  std::error_code error;
  std::vector<std::int64_t> days = fleet.days();
  for (std::int64_t day : days)
    if (const std::string path = day_path(options.folder, day);
        !std::filesystem::exists(path, error))
      return fail(fmt::format("{}: is missing: put it back from a copy", path));
  if (!days.empty()) return days.back();
  const std::int64_t today = options.wall_ns() / kDayNs;
  Result<std::unique_ptr<DayFile>> first = new_day_file(fleet, options.folder, today, {});
  if (!first) return tl::unexpected(first.error());
  return today;
}

}  // namespace

Result<std::unique_ptr<RecordStore>> RecordStore::open(FleetStore& fleet,
                                                       RecordStoreOptions options) {
  Result<std::int64_t> day = find_newest_day(fleet, options);
  if (!day) return tl::unexpected(day.error());
  Result<std::unique_ptr<DayFile>> file = DayFile::open(day_path(options.folder, *day), fleet.id());
  if (!file) return tl::unexpected(file.error());
  Result<Watermarks> marks = (*file)->marks();
  if (!marks) return tl::unexpected(marks.error());
  auto writer = std::make_unique<Writer>(fleet, std::move(options), std::move(*file), *day,
                                         std::move(*marks));
  return std::unique_ptr<RecordStore>(new RecordStore(std::move(writer)));
}

RecordStore::RecordStore(std::unique_ptr<Writer> writer) : writer_(std::move(writer)) {}
RecordStore::~RecordStore() = default;
bool RecordStore::append(Append& append) {
  return writer_->append(append);
}
std::vector<Appended> RecordStore::positions(std::uint32_t host) const {
  return writer_->positions(host);
}
StoreCounters RecordStore::counters() const {
  return writer_->counters();
}

}  // namespace weir
