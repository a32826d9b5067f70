// One day of records: its file, and the statements that fill it. Thread: the writer's.
#pragma once

#include <memory>
#include <string>

#include "collector/store/record_store.h"
#include "collector/store/report_rows.h"

namespace weir {

inline constexpr std::int64_t kDayNs = 86'400'000'000'000;

std::string day_path(const std::string& folder, std::int64_t day);  // day: since 1970, UTC

// Removes the files of days before `before` from FOLDER/days. The sentence: of the first that
// stays.
Result<void> remove_days(const std::string& folder, std::int64_t before);

// What reports are indexed by: the second of the first event, which all revisions share, and a part
// of the id's hash. Ids may share a key; a query compares the ids too.
std::int64_t report_key(std::string_view id, std::int64_t time_ns);

class DayFile {
 public:
  // Makes the file with all `marks` in it, if it is not there.
  static Result<void> create(const std::string& path, const std::string& store_id,
                             const Watermarks& marks);
  static Result<std::unique_ptr<DayFile>> open(const std::string& path,
                                               const std::string& store_id);

  Result<Watermarks> marks();
  bool holds_records();

  bool begin();
  // `records`: packed, as many as `count`.
  bool add_batch(const LaneKey& key, std::uint64_t epoch, std::uint64_t first_sequence,
                 std::size_t count, std::int64_t received_ms, Bytes records);
  // In the batch that was added last, its ciphertext `at` there. Written by commit(), until which
  // `report` stays.
  void add_report(const LaneKey& key, const PackedBatch::Report& report, std::uint32_t at);
  bool add_gap(const LaneKey& key, std::uint64_t epoch, std::uint64_t first, std::uint64_t last,
               int why, std::int64_t received_ms);
  bool set_mark(const LaneKey& key, const Watermark& mark);
  bool commit();
  void roll_back();
  std::string error() const { return db_.error(); }

 private:
  explicit DayFile(Database db);
  Database db_;
  NewReports new_reports_;
  Statement begin_, commit_, batch_, gap_, mark_, reports_;
  std::int64_t last_batch_ = 0;
};

}  // namespace weir
