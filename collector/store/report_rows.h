// Reports that wait to be inserted, as a table that SQL can select from (`new_reports`): one
// statement inserts all of a commit, which takes half of what a statement each does.
// Thread: that of the database.
#pragma once

#include <cstdint>
#include <vector>

#include "collector/store/record_store.h"
#include "collector/store/sqlite.h"

namespace weir {

struct ReportRow {
  std::int64_t key = 0, batch = 0;
  std::uint32_t at = 0, size = 0, host = 0;
  const ReportColumns* columns = nullptr;  // stay until the statement has run
};

// Columns as of the table `reports`, without `report`. Where the table can't be made, statements
// that name it can't run. Outlives them.
struct NewReports {
  explicit NewReports(Database& db);
  NewReports(const NewReports&) = delete;
  NewReports& operator=(const NewReports&) = delete;
  std::vector<ReportRow> rows;
};

}  // namespace weir
