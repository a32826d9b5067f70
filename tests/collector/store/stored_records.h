// What stands in a day's file, record by record, in the order that it came.
#pragma once

#include <functional>

#include "collector/store/packed_records.h"
#include "collector/store/sqlite.h"
#include "collector/store/watermarks.h"

namespace weir {

struct StoredRecord {
  LaneKey key;
  std::uint64_t epoch = 0, sequence = 0;
  PackedRecord record;
};

// False: the file can't be read, or a batch does not hold as many records as it says.
inline bool each_stored_record(Database& db, const std::function<void(const StoredRecord&)>& see) {
  Statement row(db, "SELECT host, lane, epoch, first, count, records FROM batches ORDER BY batch");
  for (row.bind(); row.next();) {
    const std::string records = row.text(5);
    Bytes rest = bytes_of(records);
    for (std::uint64_t n = 0; n < row.bits(4); ++n) {
      std::optional<PackedRecord> record = unpack(rest);
      if (!record) return false;
      see({{static_cast<std::uint32_t>(row.integer(0)), static_cast<StoreLane>(row.integer(1))},
           row.bits(2),
           row.bits(3) + n,
           *record});
    }
    if (!rest.empty()) return false;
  }
  return row.ok();
}

}  // namespace weir
