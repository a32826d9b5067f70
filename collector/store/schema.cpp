// Tables of the two kinds of file. A change of either raises its version.
#include "collector/store/schema.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

namespace weir {
namespace {

// "Weir" and "Weid" in ASCII: what `file` and SQLite see of whose file it is.
constexpr std::int64_t kFleetId = 0x57656972, kDayId = 0x57656964;
constexpr std::int64_t kFleetVersion = 1, kDayVersion = 3;

// WITHOUT ROWID nowhere: rows are small, and a rowid orders them as they came.
constexpr Sql kFleetTables = R"sql(
PRAGMA application_id = 0x57656972;
PRAGMA user_version = 1;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE days (day INTEGER PRIMARY KEY);
CREATE TABLE tokens (
  row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, secret BLOB NOT NULL UNIQUE, grp TEXT NOT NULL,
  created_by TEXT NOT NULL, created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,
  uses INTEGER NOT NULL, max_uses INTEGER NOT NULL, revoked INTEGER NOT NULL);
CREATE TABLE hosts (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  grp TEXT NOT NULL, version TEXT NOT NULL, machine BLOB NOT NULL, enrolled_s INTEGER NOT NULL,
  certificate_expires_s INTEGER NOT NULL, last_seen_s INTEGER NOT NULL, tier INTEGER NOT NULL,
  revoked INTEGER NOT NULL, cloned INTEGER NOT NULL, revoke_reason TEXT NOT NULL,
  policy_state BLOB NOT NULL, health BLOB NOT NULL);
CREATE TABLE certificates (
  serial TEXT PRIMARY KEY, host INTEGER NOT NULL, key BLOB NOT NULL, not_after_s INTEGER NOT NULL);
CREATE INDEX certificates_end ON certificates (not_after_s);
CREATE TABLE nonces (nonce BLOB PRIMARY KEY, used_s INTEGER NOT NULL);
CREATE INDEX nonces_used ON nonces (used_s);
CREATE TABLE policies (
  grp TEXT NOT NULL, number INTEGER NOT NULL, signed_policy BLOB NOT NULL,
  published_s INTEGER NOT NULL, published_by TEXT NOT NULL, PRIMARY KEY (grp, number));
CREATE TABLE policy_keys (
  key_id BLOB PRIMARY KEY, public_key BLOB NOT NULL, expires_s INTEGER NOT NULL);
CREATE TABLE secrets (secret BLOB PRIMARY KEY, principal TEXT NOT NULL);
)sql";

constexpr Sql kLaterFleetTables = R"sql(
CREATE TABLE IF NOT EXISTS commands (
  row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, host INTEGER NOT NULL, verb INTEGER NOT NULL,
  command BLOB NOT NULL, asked_by TEXT NOT NULL, asked_s INTEGER NOT NULL,
  expires_s INTEGER NOT NULL, result BLOB NOT NULL, result_s INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS commands_host ON commands (host);
CREATE INDEX IF NOT EXISTS commands_end ON commands (expires_s);
CREATE TABLE IF NOT EXISTS trust_links (
  number INTEGER PRIMARY KEY, threshold INTEGER NOT NULL, signed_trust BLOB NOT NULL,
  published_by TEXT NOT NULL, published_s INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS rollbacks (
  grp TEXT NOT NULL, number INTEGER NOT NULL, source INTEGER NOT NULL, PRIMARY KEY (grp, number));
CREATE TABLE IF NOT EXISTS requests (
  row INTEGER PRIMARY KEY, host INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, person TEXT NOT NULL,
  request BLOB NOT NULL, received_s INTEGER NOT NULL, state INTEGER NOT NULL,
  ends_s INTEGER NOT NULL, decided_by TEXT NOT NULL, note TEXT NOT NULL,
  decided_s INTEGER NOT NULL, exception BLOB NOT NULL, command TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS requests_host ON requests (host, state);
CREATE INDEX IF NOT EXISTS requests_end ON requests (ends_s);
)sql";

// A batch's records are one row: a row each costs more than what is in it. Batches have no index:
// they are only ever appended and walked in the order that they came, which is the rowid's; one
// over (host, epoch, sequence) costs 15 times the append. What is looked for are reports, whose
// bodies lie in their batch's row: their keys rise with time, so that the index too grows at its
// end.
constexpr Sql kDayTables = R"sql(
PRAGMA application_id = 0x57656964;
PRAGMA user_version = 3;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE batches (
  batch INTEGER PRIMARY KEY, received_ms INTEGER NOT NULL, host INTEGER NOT NULL,
  lane INTEGER NOT NULL, epoch INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
  records BLOB NOT NULL);
CREATE TABLE gaps (
  gap INTEGER PRIMARY KEY, received_ms INTEGER NOT NULL, host INTEGER NOT NULL,
  lane INTEGER NOT NULL, epoch INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  why INTEGER NOT NULL);
CREATE TABLE marks (
  host INTEGER NOT NULL, lane INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
  chain BLOB NOT NULL, PRIMARY KEY (host, lane, epoch));
CREATE TABLE reports (
  report INTEGER PRIMARY KEY, key INTEGER NOT NULL, batch INTEGER NOT NULL, at INTEGER NOT NULL,
  size INTEGER NOT NULL, host INTEGER NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL,
  time_ns INTEGER NOT NULL, severity INTEGER NOT NULL, detector TEXT NOT NULL, rule TEXT NOT NULL,
  service TEXT NOT NULL, uid INTEGER NOT NULL, person TEXT NOT NULL);
CREATE INDEX reports_key ON reports (key);
)sql";

std::int64_t number_of(Database& db, Sql pragma) {
  Statement statement(db, pragma);
  return statement.next() ? statement.integer(0) : -1;
}

Result<void> check_structure(Database& db, const std::string& path) {
  Statement check(db, "PRAGMA quick_check(1)");
  if (!check.next()) return fail(db.error());
  if (check.text(0) != "ok") return fail(fmt::format("{}: is damaged: {}", path, check.text(0)));
  return {};
}

}  // namespace

Result<Database> begin_store_file(const std::string& path, StoreFile kind,
                                  const std::string& store_id) {
  std::error_code ignored;
  std::filesystem::remove(path + ".new", ignored);
  std::filesystem::remove(path + ".new-journal", ignored);
  Result<Database> db = Database::open(path + ".new", Database::Mode::create);
  if (!db) return db;
  if (!db->run("PRAGMA synchronous = FULL") || (kind == StoreFile::day && !db->run(kDayPages)) ||
      !db->run(kind == StoreFile::fleet ? kFleetTables : kDayTables))
    return fail(db->error());
  Statement meta(*db, "INSERT INTO meta VALUES ('store', ?1)");
  if (!meta.bind(store_id).run()) return fail(db->error());
  return db;
}

Result<void> finish_store_file(Database db, const std::string& path) {
  { Database closed = std::move(db); }
  std::error_code error;
  std::filesystem::rename(path + ".new", path, error);
  if (error) return fail(fmt::format("{}: can't be made: {}", path, error.message()));
  return {};
}

Result<Database> open_store_file(const std::string& path, StoreFile kind,
                                 const std::string& store_id) {
  Result<Database> db = Database::open(path, Database::Mode::write);
  if (!db) return db;
  Statement probe(*db, "PRAGMA application_id");
  if (!probe.next()) return fail(fmt::format("{}: is damaged or no store", db->error()));
  if (probe.integer(0) != (kind == StoreFile::fleet ? kFleetId : kDayId))
    return fail(fmt::format("{}: is not a file of a Weir store", path));
  probe.reset();
  const std::int64_t readable = kind == StoreFile::fleet ? kFleetVersion : kDayVersion;
  if (std::int64_t version = number_of(*db, "PRAGMA user_version"); version != readable)
    return fail(
        fmt::format("{}: has format {}, this version reads format {}", path, version, readable));
  if (!db->run(kStoreSettings)) return fail(db->error());
  if (Result<void> sound = check_structure(*db, path); !sound) return tl::unexpected(sound.error());
  if (!store_id.empty() && read_store_id(*db) != store_id)
    return fail(fmt::format("{}: belongs to another store", path));
  return db;
}

bool add_later_tables(Database& db) {
  return db.run(kLaterFleetTables);
}

std::string read_store_id(Database& db) {
  Statement meta(db, "SELECT value FROM meta WHERE name = 'store'");
  return meta.next() ? meta.text(0) : std::string();
}

}  // namespace weir
