// Queries over the day files.
#include "collector/store/report_reader.h"

#include <algorithm>

#include "collector/store/day_file.h"

namespace weir {
namespace {

// A row of each query below: report, host, id, revision, key, ciphertext.
StoredReport report_of(std::int64_t day, const Statement& row) {
  return {.at = {day, row.integer(0)},
          .host = static_cast<std::uint32_t>(row.integer(1)),
          .id = row.text(2),
          .revision = static_cast<std::uint32_t>(row.integer(3)),
          .key = row.integer(4),
          .ciphertext = row.text(5)};
}

Statement& bind_query(Statement& statement, const ReportQuery& query, std::int64_t place,
                      std::uint32_t limit) {
  return statement.bind(place, query.from_ns, query.to_ns, query.host, query.least_severity,
                        query.uid, query.person, query.detector, query.rule, query.service, limit);
}

}  // namespace

struct ReportReader::Day {
  Day(Database opened, bool is_over)
      : db(std::move(opened)),
        over(is_over),
        newest_first(db, R"sql(
SELECT r.report, r.host, r.id, r.revision, r.key, substr(b.records, r.at + 1, r.size)
FROM reports r CROSS JOIN batches b USING (batch)
WHERE r.report < ?1 AND r.time_ns >= ?2 AND r.time_ns < ?3 AND (?4 = 0 OR r.host = ?4)
  AND r.severity >= ?5 AND (?6 < 0 OR r.uid = ?6) AND (?7 = '' OR r.person = ?7)
  AND (?8 = '' OR r.detector = ?8) AND (?9 = '' OR r.rule = ?9) AND (?10 = '' OR r.service = ?10)
  AND NOT EXISTS (SELECT 1 FROM reports n WHERE n.key = r.key AND n.id = r.id AND n.host = r.host
    AND (n.revision > r.revision OR (n.revision = r.revision AND n.report > r.report)))
ORDER BY r.report DESC LIMIT ?11)sql"),
        as_they_came(db, R"sql(
SELECT r.report, r.host, r.id, r.revision, r.key, substr(b.records, r.at + 1, r.size)
FROM reports r CROSS JOIN batches b USING (batch)
WHERE r.report > ?1 AND r.time_ns >= ?2 AND r.time_ns < ?3 AND (?4 = 0 OR r.host = ?4)
  AND r.severity >= ?5 AND (?6 < 0 OR r.uid = ?6) AND (?7 = '' OR r.person = ?7)
  AND (?8 = '' OR r.detector = ?8) AND (?9 = '' OR r.rule = ?9) AND (?10 = '' OR r.service = ?10)
ORDER BY r.report LIMIT ?11)sql"),
        by_id(db,
              "SELECT r.report, r.host, r.id, r.revision, r.key, "
              "substr(b.records, r.at + 1, r.size) FROM reports r CROSS JOIN batches b USING "
              "(batch) WHERE r.id = ?1 ORDER BY r.report"),
        newer(db,
              "SELECT 1 FROM reports WHERE key = ?1 AND id = ?2 AND host = ?3 AND revision >= ?4"),
        last(db, "SELECT max(report) FROM reports") {}

  Database db;
  const bool over;  // nothing is written into it any more
  Statement newest_first, as_they_came, by_id, newer, last;
};

ReportReader::ReportReader(FleetStore& fleet, std::string folder)
    : fleet_(fleet), folder_(std::move(folder)) {}

ReportReader::~ReportReader() = default;

void ReportReader::forget(std::int64_t before) {
  std::lock_guard lock(mutex_);
  std::erase_if(open_, [&](const auto& day) { return day.first < before; });
}

Result<ReportReader::Day*> ReportReader::open(std::int64_t day, bool over) {
  if (auto found = open_.find(day); found != open_.end()) {
    if (found->second->over == over) return found->second.get();
    open_.erase(found);
  }
  Result<Database> db = Database::open(day_path(folder_, day), Database::Mode::write);
  if (!db && day < fleet_.forgotten_before()) return nullptr;
  if (!db) return tl::unexpected(db.error());
  // Once: what refuses it (a full disk) makes a search slow, not wrong.
  if (over) (void)db->run("CREATE INDEX IF NOT EXISTS reports_id ON reports (id)");
  if (!db->run("PRAGMA query_only = 1")) return fail(db->error());
  if (open_.size() == kMaxOpenDays) open_.erase(open_.begin());
  return open_.emplace(day, std::make_unique<Day>(std::move(*db), over)).first->second.get();
}

Result<std::optional<StoredReport>> ReportReader::newest(std::string_view id) {
  std::lock_guard lock(mutex_);
  std::optional<StoredReport> found;
  const std::vector<std::int64_t> days = fleet_.days();
  for (std::int64_t number : days) {
    Result<Day*> day = open(number, number < days.back());
    if (!day) return tl::unexpected(day.error());
    if (*day == nullptr) continue;
    Statement& row = (*day)->by_id;
    for (row.bind(id); row.next();) {
      StoredReport report = report_of(number, row);
      if (!found || (report.host == found->host && report.revision >= found->revision))
        found = std::move(report);
    }
    if (!row.ok()) return fail((*day)->db.error());
    row.reset();
  }
  return found;
}

Result<bool> ReportReader::superseded(const StoredReport& report,
                                      const std::vector<std::int64_t>& days) {
  for (auto number = days.rbegin(); number != days.rend() && *number > report.at.day; ++number) {
    Result<Day*> day = open(*number, *number < days.back());
    if (!day) return tl::unexpected(day.error());
    if (*day == nullptr) continue;
    bool newer = (*day)->newer.bind(report.key, report.id, report.host, report.revision).next();
    (*day)->newer.reset();
    if (newer) return true;
  }
  return false;
}

bool ReportReader::is_full(const std::vector<StoredReport>& page, std::uint32_t limit) {
  std::size_t bytes = 0;
  for (const StoredReport& report : page) bytes += report.ciphertext.size();
  return page.size() >= limit || bytes > kMaxPageBytes;
}

Result<std::vector<StoredReport>> ReportReader::list(const ReportQuery& query,
                                                     RecordPosition before, std::uint32_t limit) {
  std::lock_guard lock(mutex_);
  const std::vector<std::int64_t> days = fleet_.days();
  std::vector<StoredReport> reports;
  for (auto number = days.rbegin(); number != days.rend() && !is_full(reports, limit); ++number) {
    if (*number > before.day) continue;
    std::int64_t place = *number == before.day ? before.record : INT64_MAX;
    for (bool more = true; more && !is_full(reports, limit);) {
      Result<Day*> day =
          open(*number, *number < days.back());  // anew: superseded() may have closed it
      if (!day) return tl::unexpected(day.error());
      if (*day == nullptr) break;
      Statement& row = (*day)->newest_first;
      std::vector<StoredReport> found;
      for (bind_query(row, query, place, limit); !is_full(found, limit) && row.next();)
        found.push_back(report_of(*number, row));
      if (!row.ok()) return fail((*day)->db.error());
      row.reset();
      more = is_full(found, limit);
      for (StoredReport& report : found) {
        place = report.at.record;
        Result<bool> old = superseded(report, days);
        if (!old) return tl::unexpected(old.error());
        if (!*old) reports.push_back(std::move(report));
        if (is_full(reports, limit)) break;
      }
    }
  }
  return reports;
}

Result<std::vector<StoredReport>> ReportReader::after(const ReportQuery& query,
                                                      RecordPosition after, std::uint32_t limit) {
  std::lock_guard lock(mutex_);
  std::vector<StoredReport> reports;
  const std::vector<std::int64_t> days = fleet_.days();
  for (std::int64_t number : days) {
    if (number < after.day || is_full(reports, limit)) continue;
    Result<Day*> day = open(number, number < days.back());
    if (!day) return tl::unexpected(day.error());
    if (*day == nullptr) continue;
    Statement& row = (*day)->as_they_came;
    auto left = static_cast<std::uint32_t>(limit - reports.size());
    for (bind_query(row, query, number == after.day ? after.record : 0, left);
         !is_full(reports, limit) && row.next();)
      reports.push_back(report_of(number, row));
    if (!row.ok()) return fail((*day)->db.error());
    row.reset();
  }
  return reports;
}

Result<RecordPosition> ReportReader::last() {
  std::lock_guard lock(mutex_);
  std::vector<std::int64_t> days = fleet_.days();
  for (auto number = days.rbegin(); number != days.rend(); ++number) {
    Result<Day*> day = open(*number, *number < days.back());
    if (!day) return tl::unexpected(day.error());
    if (*day == nullptr) continue;
    Statement& row = (*day)->last;
    std::int64_t record = row.bind().next() ? row.integer(0) : 0;
    row.reset();
    if (record != 0 || number + 1 == days.rend()) return RecordPosition{*number, record};
  }
  return RecordPosition{};
}

}  // namespace weir
