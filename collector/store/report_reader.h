// Looks reports up over all days. The newest revision of a (host, id) counts: a host can hide or
// change nothing of another's. By its id alone a report is found by an index that a day gets when
// it is over, and on the day itself by going through all. Thread: any (one query at a time).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "collector/store/fleet_store.h"

namespace weir {

// Where a report stands: orders reports as they came.
struct RecordPosition {
  std::int64_t day = 0, record = 0;
  friend auto operator<=>(const RecordPosition&, const RecordPosition&) = default;
};

struct StoredReport {
  RecordPosition at;
  std::uint32_t host = 0;  // number of the host whose certificate sent it
  std::string id;
  std::uint32_t revision = 0;
  std::int64_t key = 0;    // of report_key()
  std::string ciphertext;  // a serialized Record
};

struct ReportQuery {                                    // what is not set matches all
  std::int64_t from_ns = INT64_MIN, to_ns = INT64_MAX;  // of Report.time
  std::uint32_t host = 0;
  int least_severity = 0;
  std::int64_t uid = -1;
  std::string person, detector, rule, service;
};

// A page ends with the report that makes it larger than this, whatever was asked for: a desk's
// reports may have 256 KiB each, and many are asked for at once.
inline constexpr std::size_t kMaxPageBytes = 256 << 10;
inline constexpr std::size_t kMaxOpenDays = 16;  // files kept open between queries

class ReportReader {
 public:
  ReportReader(FleetStore& fleet, std::string folder);
  ~ReportReader();

  // Of the host that told this id first.
  Result<std::optional<StoredReport>> newest(std::string_view id);
  // Newest revisions only, latest first, before `before`.
  Result<std::vector<StoredReport>> list(const ReportQuery& query, RecordPosition before,
                                         std::uint32_t limit);
  // Every revision as it came, after `after`.
  Result<std::vector<StoredReport>> after(const ReportQuery& query, RecordPosition after,
                                          std::uint32_t limit);
  // Whether more may follow such a page.
  static bool is_full(const std::vector<StoredReport>& page, std::uint32_t limit);
  Result<RecordPosition> last();  // of the last report that is stored

  void forget(std::int64_t before);  // lets go of the files of earlier days, which are removed

 private:
  struct Day;
  Result<Day*> open(std::int64_t day, bool over);  // null: it was removed meanwhile
  Result<bool> superseded(const StoredReport& report, const std::vector<std::int64_t>& days);

  FleetStore& fleet_;
  const std::string folder_;
  std::mutex mutex_;
  std::map<std::int64_t, std::unique_ptr<Day>> open_;
};

}  // namespace weir
