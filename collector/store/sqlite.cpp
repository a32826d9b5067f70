// Thin RAII over the C interface.
#include "collector/store/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <utility>

namespace weir {
namespace {

constexpr int kBusyMs = 5'000;  // a checkpoint of a large log is over by then

// SQLite's count of its own memory costs a lock an allocation, and nobody reads it.
bool configure_once() {
  return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK;
}

}  // namespace

Result<Database> Database::open(const std::string& path, Mode mode) {
  static const bool configured = configure_once();
  (void)configured;
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |= mode == Mode::read ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (mode == Mode::create) flags |= SQLITE_OPEN_CREATE;
  sqlite3* raw = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Database db(raw, path);
  if (code != SQLITE_OK) return fail(db.error());
  sqlite3_busy_timeout(raw, kBusyMs);
  // A damaged file must not make SQLite run what it finds in the schema.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return db;
}

Database::Database(Database&& other) noexcept
    : db_(std::exchange(other.db_, nullptr)), path_(std::move(other.path_)) {}

Database& Database::operator=(Database&& other) noexcept {
  std::swap(db_, other.db_);
  std::swap(path_, other.path_);
  return *this;
}

Database::~Database() {
  sqlite3_close_v2(db_);
}

bool Database::run(Sql script) {
  return sqlite3_exec(db_, script.text, nullptr, nullptr, nullptr) == SQLITE_OK;
}

std::int64_t Database::changes() const {
  return sqlite3_changes64(db_);
}
std::int64_t Database::last_row() const {
  return sqlite3_last_insert_rowid(db_);
}

std::string Database::error() const {
  return fmt::format("{}: {}", path_, db_ == nullptr ? "no memory" : sqlite3_errmsg(db_));
}

Statement::Statement(Database& db, Sql sql) {
  ok_ = sqlite3_prepare_v3(db.raw(), sql.text, static_cast<int>(sql.size) + 1,
                           SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) == SQLITE_OK;
}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

void Statement::reset() {
  sqlite3_reset(statement_);
  ok_ = statement_ != nullptr;
}

bool Statement::next() {
  if (!ok_) return false;
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  ok_ = code == SQLITE_DONE;
  return false;
}

bool Statement::run() {
  while (next()) {
  }
  bool done = ok_;
  sqlite3_reset(statement_);
  return done;
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

bool Statement::null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::string Statement::text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), size);
}

void Statement::bind_one(int at, std::int64_t value) {
  ok_ = ok_ && sqlite3_bind_int64(statement_, at, value) == SQLITE_OK;
}

void Statement::bind_one(int at, std::string_view value) {
  const char* data = value.data() == nullptr ? "" : value.data();  // null would bind NULL
  ok_ = ok_ && sqlite3_bind_text64(statement_, at, data, value.size(), SQLITE_STATIC,
                                   SQLITE_UTF8) == SQLITE_OK;
}

void Statement::bind_one(int at, Bytes value) {
  const void* data = value.empty() ? static_cast<const void*>("") : value.data();
  ok_ = ok_ && sqlite3_bind_blob64(statement_, at, data, value.size(), SQLITE_STATIC) == SQLITE_OK;
}

void Statement::bind_one(int at, std::nullptr_t) {
  ok_ = ok_ && sqlite3_bind_null(statement_, at) == SQLITE_OK;
}

Transaction::Transaction(Database& db) : db_(db), open_(db.run("BEGIN IMMEDIATE")) {}

Transaction::~Transaction() {
  if (open_) (void)db_.run("ROLLBACK");
}

bool Transaction::commit() {
  if (!open_ || !db_.run("COMMIT")) return false;
  open_ = false;
  return true;
}

}  // namespace weir
