// Inserts of a day.
#include "collector/store/day_file.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "collector/store/schema.h"

namespace weir {
namespace {

constexpr Sql kSetMark = "INSERT OR REPLACE INTO marks VALUES (?1, ?2, ?3, ?4, ?5)";

bool bind_mark(Statement& statement, const LaneKey& key, const Watermark& mark) {
  return statement
      .bind(key.host, static_cast<int>(key.lane), mark.epoch, mark.sequence,
            mark.chain ? Bytes(*mark.chain) : Bytes())
      .run();
}

}  // namespace

std::string day_path(const std::string& folder, std::int64_t day) {
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{day}}};
  return fmt::format("{}/days/{:04}-{:02}-{:02}.db", folder, static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

Result<void> remove_days(const std::string& folder, std::int64_t before) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::string sentence;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder + "/days", error)) {
    const std::string name = entry.path().filename();
    int year = 0;
    unsigned month = 0, day = 0;
    if (std::sscanf(name.c_str(), "%4d-%2u-%2u.db", &year, &month, &day) != 3) continue;
    const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{month},
                                           std::chrono::day{day}};
    if (!date.ok()) continue;
    const std::int64_t number = std::chrono::sys_days{date}.time_since_epoch().count();
    // Also what SQLite keeps beside it: ….db-wal, ….db-shm.
    if (number >= before || !entry.path().string().starts_with(day_path(folder, number))) continue;
    std::error_code failed;
    fs::remove(entry.path(), failed);
    if (failed && sentence.empty())
      sentence = fmt::format("{}: can't be removed: {}", entry.path().string(), failed.message());
  }
  if (error) return fail(fmt::format("{}/days: can't be read: {}", folder, error.message()));
  if (!sentence.empty()) return fail(sentence);
  return {};
}

std::int64_t report_key(std::string_view id, std::int64_t time_ns) {
  const auto hash = static_cast<std::uint32_t>(XXH3_64bits(id.data(), id.size()));
  return time_ns / 1'000'000'000 << 32 | std::int64_t{hash};
}

Result<void> DayFile::create(const std::string& path, const std::string& store_id,
                             const Watermarks& marks) {
  return create_store_file(path, StoreFile::day, store_id, [&](Database& db) {
    Statement set(db, kSetMark);
    for (const auto& [key, lane] : marks)
      for (const Watermark& mark : lane.all())
        if (!bind_mark(set, key, mark)) return false;
    return true;
  });
}

Result<std::unique_ptr<DayFile>> DayFile::open(const std::string& path,
                                               const std::string& store_id) {
  Result<Database> db = open_store_file(path, StoreFile::day, store_id);
  if (!db) return tl::unexpected(db.error());
  return std::unique_ptr<DayFile>(new DayFile(std::move(*db)));
}

DayFile::DayFile(Database db)
    : db_(std::move(db)),
      new_reports_(db_),
      begin_(db_, "BEGIN IMMEDIATE"),
      commit_(db_, "COMMIT"),
      batch_(db_,
             "INSERT INTO batches (received_ms, host, lane, epoch, first, count, records) "
             "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
      gap_(db_,
           "INSERT INTO gaps (received_ms, host, lane, epoch, first, last, why) "
           "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
      mark_(db_, kSetMark),
      reports_(db_,
               "INSERT INTO reports (key, batch, at, size, host, id, revision, time_ns, severity, "
               "detector, rule, service, uid, person) SELECT * FROM new_reports") {}

Result<Watermarks> DayFile::marks() {
  Statement row(db_, "SELECT host, lane, epoch, sequence, chain FROM marks ORDER BY epoch");
  Watermarks marks;
  while (row.next()) {
    LaneKey key{static_cast<std::uint32_t>(row.integer(0)), static_cast<StoreLane>(row.integer(1))};
    Watermark* mark = marks[key].at(row.bits(2));
    if (mark == nullptr) continue;  // more epochs than are kept: the newest count
    mark->sequence = row.bits(3);
    std::string chain = row.text(4);
    mark->chain.reset();
    if (chain.size() == std::tuple_size_v<Digest>)
      std::copy(chain.begin(), chain.end(), mark->chain.emplace().begin());
  }
  if (!row.ok()) return fail(db_.error());
  return marks;
}

bool DayFile::holds_records() {
  Statement row(db_, "SELECT EXISTS (SELECT 1 FROM batches) OR EXISTS (SELECT 1 FROM gaps)");
  return row.next() && row.integer(0) != 0;
}

bool DayFile::begin() {
  return begin_.bind().run();
}
bool DayFile::commit() {
  if (!new_reports_.rows.empty() && !reports_.bind().run()) return false;
  new_reports_.rows.clear();
  return commit_.bind().run();
}
void DayFile::roll_back() {
  new_reports_.rows.clear();
  (void)db_.run("ROLLBACK");
}

bool DayFile::add_batch(const LaneKey& key, std::uint64_t epoch, std::uint64_t first_sequence,
                        std::size_t count, std::int64_t received_ms, Bytes records) {
  if (!batch_
           .bind(received_ms, key.host, static_cast<int>(key.lane), epoch, first_sequence,
                 std::uint64_t{count}, records)
           .run())
    return false;
  last_batch_ = db_.last_row();
  return true;
}

void DayFile::add_report(const LaneKey& key, const PackedBatch::Report& report, std::uint32_t at) {
  new_reports_.rows.push_back({.key = report.key,
                               .batch = last_batch_,
                               .at = at,
                               .size = report.size,
                               .host = key.host,
                               .columns = &report.columns});
}

bool DayFile::add_gap(const LaneKey& key, std::uint64_t epoch, std::uint64_t first,
                      std::uint64_t last, int why, std::int64_t received_ms) {
  return gap_.bind(received_ms, key.host, static_cast<int>(key.lane), epoch, first, last, why)
      .run();
}

bool DayFile::set_mark(const LaneKey& key, const Watermark& mark) {
  return bind_mark(mark_, key, mark);
}

}  // namespace weir
