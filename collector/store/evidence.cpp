// Records and gaps of a host in the order of their sequences, day by day.
#include "collector/store/evidence.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "collector/store/day_file.h"
#include "collector/store/packed_records.h"

namespace weir {
namespace {

struct Place {  // where a lane's walk is
  std::uint64_t sequence = 0;
  std::optional<Digest> hash;  // absent after a gap
};
using Places = std::map<std::pair<StoreLane, std::uint64_t>, Place>;

class Walk {
 public:
  explicit Walk(const ChainHash& hash) : hash_(hash) {}

  void gap(const EvidenceGap& gap) {
    ++found_.gaps;
    if (found_.missing.size() < kMaxBreaks) found_.missing.push_back(gap);
    follow(gap.lane, gap.epoch, gap.first);
    places_[{gap.lane, gap.epoch}] = {gap.last, std::nullopt};
  }

  void batch(StoreLane lane, std::uint64_t epoch, std::uint64_t first, std::uint64_t count,
             Bytes records) {
    std::uint64_t sequence = first;
    for (; !records.empty(); ++sequence) {
      std::optional<PackedRecord> found = unpack(records);
      if (!found) break;
      record(lane, epoch, sequence, *found);
    }
    if (!records.empty() || sequence != first + count)
      broken(lane, epoch, sequence,
             fmt::format("is damaged: {} of its batch's {} records can be read", sequence - first,
                         count));
  }

  Evidence take() { return std::move(found_); }

 private:
  void record(StoreLane lane, std::uint64_t epoch, std::uint64_t sequence,
              const PackedRecord& record) {
    ++found_.records;
    const Place* before = follow(lane, epoch, sequence);
    if (before != nullptr && before->hash &&
        !std::ranges::equal(*before->hash, record.previous_hash))
      broken(lane, epoch, sequence, "does not follow the one before");
    places_[{lane, epoch}] = {
        sequence, hash_(record.previous_hash, record.ciphertext, record.key_id, record.nonce)};
  }

  // The place before, if the sequence is the one after it; else a break.
  const Place* follow(StoreLane lane, std::uint64_t epoch, std::uint64_t sequence) {
    auto found = places_.find({lane, epoch});
    if (found == places_.end()) return nullptr;
    if (sequence == found->second.sequence + 1) return &found->second;
    broken(lane, epoch, sequence,
           fmt::format("comes after {}: {}", found->second.sequence,
                       sequence > found->second.sequence ? "records are missing" : "out of order"));
    return nullptr;
  }

  void broken(StoreLane lane, std::uint64_t epoch, std::uint64_t sequence, std::string sentence) {
    if (found_.breaks.size() < kMaxBreaks)
      found_.breaks.push_back({lane, epoch, sequence, std::move(sentence)});
  }

  const ChainHash& hash_;
  Places places_;
  Evidence found_;
};

}  // namespace

Result<Evidence> walk_evidence(FleetStore& fleet, const std::string& folder, std::uint32_t host,
                               std::int64_t from_ms, std::int64_t to_ms, const ChainHash& hash) {
  Walk walk(hash);
  for (std::int64_t day : fleet.days()) {
    Result<Database> db = Database::open(day_path(folder, day), Database::Mode::write);
    if (!db && day < fleet.forgotten_before()) continue;  // removed meanwhile
    if (!db) return tl::unexpected(db.error());
    if (!db->run("PRAGMA query_only = 1")) return fail(db->error());
    // Both kinds by their place in the lane; `records` is NULL for a gap.
    Statement row(*db, R"sql(
SELECT lane, epoch, first, count AS last, records, 0, 0
  FROM batches WHERE host = ?1 AND received_ms >= ?2 AND received_ms < ?3
UNION ALL
SELECT lane, epoch, first, last, NULL, why, received_ms
  FROM gaps WHERE host = ?1 AND received_ms >= ?2 AND received_ms < ?3
ORDER BY 1, 2, 3)sql");
    for (row.bind(host, from_ms, to_ms); row.next();) {
      const auto lane = static_cast<StoreLane>(row.integer(0));
      if (row.null(4)) {
        walk.gap({lane, row.bits(1), row.bits(2), row.bits(3), static_cast<int>(row.integer(5)),
                  row.integer(6)});
      } else {
        const std::string records = row.text(4);
        walk.batch(lane, row.bits(1), row.bits(2), row.bits(3), bytes_of(records));
      }
    }
    if (!row.ok()) return fail(db->error());
  }
  return walk.take();
}

}  // namespace weir
