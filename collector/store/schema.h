// The files of the store: how one is made, and how a damaged or foreign one is told from ours.
#pragma once

#include <string>

#include "collector/store/sqlite.h"

namespace weir {

enum class StoreFile : std::uint8_t { fleet, day };

// 16 KiB, as most writes append: 4 KiB would be four times the calls and frames.
inline constexpr Sql kDayPages = "PRAGMA page_size = 16384";

// Pages stay in memory (32 MiB) and go from the log to their places every 64 MiB of a day's, every
// 16 of the fleet's.
inline constexpr Sql kStoreSettings = R"sql(
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA cache_size = -32768;
PRAGMA wal_autocheckpoint = 4096;
)sql";

// Made beside its place, filled by `fill`, put there whole: a crash leaves no half-made file behind
// that could be taken for an empty store.
template <class Fill>
Result<void> create_store_file(const std::string& path, StoreFile kind, const std::string& store_id,
                               Fill fill);

Result<Database> begin_store_file(const std::string& path, StoreFile kind,
                                  const std::string& store_id);  // at PATH.new
Result<void> finish_store_file(Database db, const std::string& path);

// Opens for writing in WAL, every commit on disk, and checks kind, version, structure, and that it
// belongs to the store `store_id` (empty: not known yet).
Result<Database> open_store_file(const std::string& path, StoreFile kind,
                                 const std::string& store_id);
std::string read_store_id(Database& db);

// What store.db has beside the tables of its format: an earlier version does not look at these, so
// they are made where they are not there, and the format stays.
bool add_later_tables(Database& db);

template <class Fill>
Result<void> create_store_file(const std::string& path, StoreFile kind, const std::string& store_id,
                               Fill fill) {
  Result<Database> db = begin_store_file(path, kind, store_id);
  if (!db) return tl::unexpected(db.error());
  {
    Transaction transaction(*db);
    if (!transaction.ok() || !fill(*db) || !transaction.commit()) return fail(db->error());
  }
  return finish_store_file(std::move(*db), path);
}

}  // namespace weir
