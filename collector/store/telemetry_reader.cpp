// One pass over the day files that can hold it.
#include "collector/store/telemetry_reader.h"

#include <optional>

#include "collector/store/day_file.h"
#include "collector/store/packed_records.h"

namespace weir {
namespace {

constexpr std::int64_t kDayMs = kDayNs / 1'000'000;

// False: `on` has enough.
bool walk_batch(std::uint32_t host, Bytes records, const OnTelemetry& on) {
  while (!records.empty()) {
    const std::optional<PackedRecord> record = unpack(records);
    if (!record) return true;
    if ((record->flags & kEncrypted) == 0 && !on(host, record->ciphertext)) return false;
  }
  return true;
}

}  // namespace

Result<void> walk_telemetry(FleetStore& fleet, const std::string& folder, std::int64_t from_ms,
                            const OnTelemetry& on) {
  for (std::int64_t day : fleet.days()) {
    if ((day + 1) * kDayMs <= from_ms) continue;
    Result<Database> db = Database::open(day_path(folder, day), Database::Mode::write);
    if (!db && day < fleet.forgotten_before()) continue;  // removed meanwhile
    if (!db) return tl::unexpected(db.error());
    if (!db->run("PRAGMA query_only = 1")) return fail(db->error());
    Statement row(*db,
                  "SELECT host, records FROM batches WHERE lane = ?1 AND received_ms >= ?2 "
                  "ORDER BY batch");
    for (row.bind(static_cast<int>(StoreLane::telemetry), from_ms); row.next();) {
      const std::string records = row.text(1);
      if (!walk_batch(static_cast<std::uint32_t>(row.integer(0)), bytes_of(records), on)) return {};
    }
    if (!row.ok()) return fail(db->error());
  }
  return {};
}

}  // namespace weir
