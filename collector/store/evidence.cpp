// Records and gaps of a host in the order of their sequences, day by day.
#include "collector/store/evidence.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <tuple>

#include "collector/store/day_file.h"

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

  void gap(StoreLane lane, std::uint64_t epoch, std::uint64_t first, std::uint64_t last) {
    ++found_.gaps;
    follow(lane, epoch, first);
    places_[{lane, epoch}] = {last, std::nullopt};
  }

  void record(StoreLane lane, std::uint64_t epoch, std::uint64_t sequence, const Statement& row) {
    ++found_.records;
    const std::string previous = row.text(5), ciphertext = row.text(6), key_id = row.text(7),
                      nonce = row.text(8);
    const Place* before = follow(lane, epoch, sequence);
    if (before != nullptr && before->hash && text_of(*before->hash) != std::string_view(previous))
      broken(lane, epoch, sequence, "does not follow the one before");
    places_[{lane, epoch}] = {sequence, hash_(bytes_of(previous), bytes_of(ciphertext),
                                              bytes_of(key_id), bytes_of(nonce))};
  }

  Evidence take() { return std::move(found_); }

 private:
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
    if (!db) return tl::unexpected(db.error());
    if (!db->run("PRAGMA query_only = 1")) return fail(db->error());
    // Both kinds by their place in the lane; `last` is 0 for a record.
    Statement row(*db, R"sql(
SELECT lane, epoch, sequence, 0 AS last, record, previous_hash, ciphertext, key_id, nonce
  FROM records WHERE host = ?1 AND received_ms >= ?2 AND received_ms < ?3
UNION ALL
SELECT lane, epoch, first, last, gap, x'', x'', x'', x''
  FROM gaps WHERE host = ?1 AND received_ms >= ?2 AND received_ms < ?3
ORDER BY 1, 2, 3)sql");
    for (row.bind(host, from_ms, to_ms); row.next();) {
      const auto lane = static_cast<StoreLane>(row.integer(0));
      if (row.integer(3) != 0)
        walk.gap(lane, row.bits(1), row.bits(2), row.bits(3));
      else
        walk.record(lane, row.bits(1), row.bits(2), row);
    }
    if (!row.ok()) return fail(db->error());
  }
  return walk.take();
}

}  // namespace weir
