// What persons ask for, and what was decided. Rare and small: a table of store.db. The writer of
// records puts a request in before it commits the record that holds it, so that none is lost when
// it is killed between the two; the host then sends the record again, and the id is known.
#include <set>
#include <utility>

#include "collector/store/fleet_store.h"

namespace weir {
namespace {

constexpr std::int64_t kMonth = 30 * 86'400, kYear = 365 * 86'400;

// ?1: now. What has ended is expired (4), whatever it was.
constexpr Sql kSelectById =
    "SELECT row, host, id, person, request, received_s, "
    "CASE WHEN state < 3 AND ends_s <= ?1 THEN 4 ELSE state END, ends_s, decided_by, note, "
    "decided_s, exception, command FROM requests WHERE id = ?2";
constexpr Sql kSelectMany =
    "SELECT row, host, id, person, request, received_s, "
    "CASE WHEN state < 3 AND ends_s <= ?1 THEN 4 ELSE state END AS now, ends_s, decided_by, note, "
    "decided_s, exception, command FROM requests WHERE row < ?2 AND (?3 = 0 OR now = ?3) "
    "ORDER BY row DESC LIMIT ?4";

RequestRow request_of(const Statement& row) {
  return {.row = row.integer(0),
          .host = static_cast<std::uint32_t>(row.integer(1)),
          .id = row.text(2),
          .person = row.text(3),
          .request = row.text(4),
          .received_s = row.integer(5),
          .state = static_cast<int>(row.integer(6)),
          .ends_s = row.integer(7),
          .decided_by = row.text(8),
          .note = row.text(9),
          .decided_s = row.integer(10),
          .exception = row.text(11),
          .command = row.text(12)};
}

// The newest that may stay open stay; those before them end now. False: see the database.
bool end_oldest(Database& db, const std::set<std::pair<std::uint32_t, std::string>>& persons,
                std::int64_t now_s, std::uint64_t& ended) {
  Statement of_person(
      db,
      "UPDATE requests SET ends_s = ?1, note = ?2 WHERE host = ?3 AND state = 1 AND ends_s > ?1 "
      "AND person = ?4 AND row NOT IN (SELECT row FROM requests WHERE host = ?3 AND state = 1 AND "
      "ends_s > ?1 AND person = ?4 ORDER BY row DESC LIMIT ?5)");
  Statement of_host(
      db,
      "UPDATE requests SET ends_s = ?1, note = ?2 WHERE host = ?3 AND state = 1 AND ends_s > ?1 "
      "AND row NOT IN (SELECT row FROM requests WHERE host = ?3 AND state = 1 AND ends_s > ?1 "
      "ORDER BY row DESC LIMIT ?4)");
  Statement forget(
      db,
      "DELETE FROM requests WHERE host = ?2 AND state = 1 AND ends_s <= ?1 AND row NOT IN (SELECT "
      "row FROM requests WHERE host = ?2 AND state = 1 AND ends_s <= ?1 ORDER BY row DESC LIMIT "
      "?3)");
  const std::string why = "newer requests took its place";
  std::set<std::uint32_t> hosts;
  for (const auto& [host, person] : persons) {
    if (!of_person.bind(now_s, why, host, person, kMaxOpenOfPerson).run()) return false;
    ended += static_cast<std::uint64_t>(db.changes());
    hosts.insert(host);
  }
  for (std::uint32_t host : hosts) {
    if (!of_host.bind(now_s, why, host, kMaxOpenOfHost).run()) return false;
    ended += static_cast<std::uint64_t>(db.changes());
    if (!forget.bind(now_s, host, kMaxEndedOfHost).run()) return false;
  }
  return true;
}

}  // namespace

std::optional<RequestsAdded> FleetStore::add_requests(std::span<const RequestRow> requests,
                                                      std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  Statement sweep(db_, "DELETE FROM requests WHERE ends_s < ?1 AND (decided_s = 0 OR ends_s < ?2)");
  Statement insert(db_,
                   "INSERT OR IGNORE INTO requests (host, id, person, request, received_s, state, "
                   "ends_s, decided_by, note, decided_s, exception, command) "
                   "VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, '', '', 0, x'', '')");
  RequestsAdded added;
  std::set<std::pair<std::uint32_t, std::string>> persons;
  bool done = transaction.ok() && sweep.bind(now_s - kMonth, now_s - kYear).run();
  for (const RequestRow& one : requests) {
    done =
        done &&
        insert.bind(one.host, one.id, one.person, bytes_of(one.request), one.received_s, one.ends_s)
            .run();
    if (!done) break;
    const bool is_new = db_.changes() == 1;
    ++(is_new ? added.taken : added.known);
    if (is_new) persons.insert({one.host, one.person});
  }
  done = done && end_oldest(db_, persons, now_s, added.displaced) && transaction.commit();
  if (!wrote(done)) return std::nullopt;
  return added;
}

std::vector<RequestRow> FleetStore::requests(int state, std::int64_t before, std::uint32_t limit,
                                             std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Statement select(db_, kSelectMany);
  std::vector<RequestRow> requests;
  for (select.bind(now_s, before, state, limit); select.next();)
    requests.push_back(request_of(select));
  return requests;
}

std::optional<RequestRow> FleetStore::request(std::string_view id, std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Statement select(db_, kSelectById);
  if (!select.bind(now_s, id).next()) return std::nullopt;
  return request_of(select);
}

}  // namespace weir
