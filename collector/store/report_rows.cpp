// A virtual table without arguments: reads a vector from its first row to its last.
#include "collector/store/report_rows.h"

#include <sqlite3.h>

#include <new>
#include <string_view>

namespace weir {
namespace {

using Rows = std::vector<ReportRow>;

struct Table : sqlite3_vtab {
  const Rows* rows = nullptr;
};
struct Cursor : sqlite3_vtab_cursor {
  std::size_t at = 0;
};

const Rows& rows_of(sqlite3_vtab_cursor* cursor) {
  return *static_cast<Table*>(cursor->pVtab)->rows;
}

int connect(sqlite3* db, void* rows, int, const char* const*, sqlite3_vtab** made, char**) {
  constexpr char kColumns[] =
      "CREATE TABLE x (key, batch, at, size, host, id, revision, time_ns, severity, detector, "
      "rule, service, uid, person)";
  if (int code = sqlite3_declare_vtab(db, kColumns); code != SQLITE_OK) return code;
  auto* table = new (std::nothrow) Table{};
  if (table == nullptr) return SQLITE_NOMEM;
  table->rows = static_cast<const Rows*>(rows);
  *made = table;
  return SQLITE_OK;
}
int disconnect(sqlite3_vtab* table) {
  delete static_cast<Table*>(table);
  return SQLITE_OK;
}
int best_index(sqlite3_vtab*, sqlite3_index_info*) {
  return SQLITE_OK;  // there is one way: all
}
int open(sqlite3_vtab*, sqlite3_vtab_cursor** made) {
  *made = new (std::nothrow) Cursor{};
  return *made == nullptr ? SQLITE_NOMEM : SQLITE_OK;
}
int close(sqlite3_vtab_cursor* cursor) {
  delete static_cast<Cursor*>(cursor);
  return SQLITE_OK;
}
int filter(sqlite3_vtab_cursor* cursor, int, const char*, int, sqlite3_value**) {
  static_cast<Cursor*>(cursor)->at = 0;
  return SQLITE_OK;
}
int next(sqlite3_vtab_cursor* cursor) {
  ++static_cast<Cursor*>(cursor)->at;
  return SQLITE_OK;
}
int eof(sqlite3_vtab_cursor* cursor) {
  return static_cast<Cursor*>(cursor)->at >= rows_of(cursor).size();
}
int row_id(sqlite3_vtab_cursor* cursor, sqlite3_int64* id) {
  *id = static_cast<sqlite3_int64>(static_cast<Cursor*>(cursor)->at);
  return SQLITE_OK;
}

void give(sqlite3_context* to, std::string_view text) {
  sqlite3_result_text64(to, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

int column(sqlite3_vtab_cursor* cursor, sqlite3_context* to, int number) {
  const ReportRow& row = rows_of(cursor)[static_cast<Cursor*>(cursor)->at];
  const ReportColumns& columns = *row.columns;
  switch (number) {
    case 0:
      sqlite3_result_int64(to, row.key);
      break;
    case 1:
      sqlite3_result_int64(to, row.batch);
      break;
    case 2:
      sqlite3_result_int64(to, row.at);
      break;
    case 3:
      sqlite3_result_int64(to, row.size);
      break;
    case 4:
      sqlite3_result_int64(to, row.host);
      break;
    case 5:
      give(to, columns.id);
      break;
    case 6:
      sqlite3_result_int64(to, columns.revision);
      break;
    case 7:
      sqlite3_result_int64(to, columns.time_ns);
      break;
    case 8:
      sqlite3_result_int(to, columns.severity);
      break;
    case 9:
      give(to, columns.detector);
      break;
    case 10:
      give(to, columns.rule);
      break;
    case 11:
      give(to, columns.service);
      break;
    case 12:
      sqlite3_result_int64(to, columns.uid);
      break;
    case 13:
      give(to, columns.person);
      break;
    default:
      return SQLITE_RANGE;
  }
  return SQLITE_OK;
}

const sqlite3_module kModule = [] {
  sqlite3_module module{};  // without xCreate: it is there by its name alone
  module.xConnect = connect;
  module.xDisconnect = disconnect;
  module.xBestIndex = best_index;
  module.xOpen = open;
  module.xClose = close;
  module.xFilter = filter;
  module.xNext = next;
  module.xEof = eof;
  module.xColumn = column;
  module.xRowid = row_id;
  return module;
}();

}  // namespace

NewReports::NewReports(Database& db) {
  (void)sqlite3_create_module(db.raw(), "new_reports", &kModule, &rows);  // connect() gets &rows
}

}  // namespace weir
