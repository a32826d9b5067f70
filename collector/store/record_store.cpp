// The writer: group commit, watermarks, days, and patience with a full disk.
#include "collector/store/record_store.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <thread>

#include "collector/store/day_file.h"

namespace weir {
namespace {

constexpr std::chrono::milliseconds kRetryAfter{500};  // a full disk is asked again

std::size_t cost(const Append& append) {
  std::size_t bytes = sizeof(Append);
  for (const NewRecord& record : append.records)
    bytes +=
        sizeof(NewRecord) + record.ciphertext.size() + record.key_id.size() + record.nonce.size();
  return bytes;
}

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

class RecordStore::Writer {
 public:
  Writer(FleetStore& fleet, RecordStoreOptions options, std::unique_ptr<DayFile> file,
         std::int64_t day, Watermarks marks)
      : fleet_(fleet),
        options_(std::move(options)),
        file_(std::move(file)),
        day_(day),
        marks_(std::move(marks)),
        thread_([this] { run(); }) {}

  ~Writer() {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  bool append(Append& append) {
    std::size_t bytes = cost(append);
    {
      std::lock_guard lock(mutex_);
      if (waiting_bytes_ != 0 && waiting_bytes_ + bytes > kMaxWaitingBytes) {
        ++counters_.refused_full;
        return false;
      }
      waiting_bytes_ += bytes;
      waiting_.push_back(std::move(append));
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
    bool reports = false;
  };

  void run();
  std::vector<Append> take();
  bool write(const std::vector<Append>& appends, Group& group);
  bool write_one(const Append& append, Group& group, std::int64_t now_ms);
  bool write_records(const Append& append, Watermark& mark, Group& group, std::int64_t now_ms);
  bool turn_day(std::int64_t now_ns);
  void publish(std::vector<Append>& appends, Group& group);
  void refuse(const std::string& sentence);

  FleetStore& fleet_;
  const RecordStoreOptions options_;
  std::unique_ptr<DayFile> file_;
  std::int64_t day_;
  bool refused_ = false;  // the disk did, and it was said

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Append> waiting_;
  std::size_t waiting_bytes_ = 0;  // also of the group that is being written
  Watermarks marks_;               // on disk. Changed by the writer only, under the lock
  StoreCounters counters_;
  bool ending_ = false;
  std::thread thread_;  // last: starts when the rest stands
};

std::vector<Append> RecordStore::Writer::take() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
  std::vector<Append> appends;
  for (std::size_t records = 0; !waiting_.empty() && records < kMaxGroupRecords;) {
    records += waiting_.front().records.size() + 1;
    appends.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return appends;
}

void RecordStore::Writer::run() {
  while (true) {
    std::vector<Append> appends = take();
    if (appends.empty()) return;  // ending, and nothing waits
    while (true) {
      Group group;
      if (write(appends, group)) {
        publish(appends, group);
        break;
      }
      std::unique_lock lock(mutex_);
      ++counters_.failed_commits;
      // Not acknowledged, so the hosts still have it.
      if (wake_.wait_for(lock, kRetryAfter, [this] { return ending_; })) return;
    }
  }
}

bool RecordStore::Writer::write(const std::vector<Append>& appends, Group& group) {
  const std::int64_t now_ns = options_.wall_ns();
  if (now_ns / kDayNs > day_ && !turn_day(now_ns)) return false;
  bool done = file_->begin();
  for (const Append& append : appends) done = done && write_one(append, group, now_ns / 1'000'000);
  for (const auto& [key, lane] : group.marks)
    for (const Watermark& mark : lane.all()) done = done && file_->set_mark(key, mark);
  if (done && file_->commit()) return true;
  refuse(file_->error());
  file_->roll_back();
  return false;
}

bool RecordStore::Writer::write_one(const Append& append, Group& group, std::int64_t now_ms) {
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
    if (!file_->add_gap(append.key, append.epoch, mark->sequence + 1, append.lost_until,
                        append.lost_why, now_ms))
      return false;
    ++group.counters.gaps;
    group.counters.lost += append.lost_until - mark->sequence;
    mark->sequence = append.lost_until;
    mark->chain.reset();
  } else if (!write_records(append, *mark, group, now_ms)) {
    return false;
  }
  if (mark != nullptr) answer.sequence = mark->sequence;
  group.answers.push_back(answer);
  return true;
}

bool RecordStore::Writer::write_records(const Append& append, Watermark& mark, Group& group,
                                        std::int64_t now_ms) {
  std::uint64_t sequence = append.first_sequence;
  for (const NewRecord& record : append.records) {
    if (sequence <= mark.sequence) {
      ++sequence;
      ++group.counters.duplicates;
      continue;
    }
    std::uint8_t flags = record.flags;
    if (mark.chain && record.previous_hash != *mark.chain) flags |= kChainBroken;
    if ((flags & kChainBroken) != 0) ++group.counters.chain_breaks;
    if (!file_->add_record(append.key, append.epoch, sequence, now_ms, record, flags)) return false;
    group.reports = group.reports || record.report.has_value();
    ++group.counters.records;
    mark.sequence = sequence++;
    mark.chain = record.hash;
  }
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
  day_ = day;
  return true;
}

void RecordStore::Writer::publish(std::vector<Append>& appends, Group& group) {
  {
    std::lock_guard lock(mutex_);
    for (auto& [key, lane] : group.marks) marks_[key] = std::move(lane);
    counters_.records += group.counters.records;
    counters_.duplicates += group.counters.duplicates;
    counters_.gaps += group.counters.gaps;
    counters_.lost += group.counters.lost;
    counters_.holes += group.counters.holes;
    counters_.chain_breaks += group.counters.chain_breaks;
    ++counters_.commits;
    for (const Append& append : appends) waiting_bytes_ -= cost(append);
  }
  if (refused_) options_.say("the store takes records again");
  refused_ = false;
  for (std::size_t n = 0; n < appends.size(); ++n)
    if (appends[n].done) appends[n].done(group.answers[n]);
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
