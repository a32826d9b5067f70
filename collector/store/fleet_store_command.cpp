// Commands to hosts, and the sets of keys that sign them and policies.
#include "collector/store/fleet_store.h"

namespace weir {
namespace {

constexpr std::int64_t kMonth = 30 * 86'400;

CommandRow command_of(const Statement& row) {
  return {.id = row.text(0),
          .host = static_cast<std::uint32_t>(row.integer(1)),
          .verb = static_cast<std::uint32_t>(row.integer(2)),
          .command = row.text(3),
          .asked_by = row.text(4),
          .asked_s = row.integer(5),
          .expires_s = row.integer(6),
          .result = row.text(7)};
}

bool write_decision(Database& db, const RequestRow& decided) {
  Statement update(db,
                   "UPDATE requests SET state = ?2, ends_s = ?3, decided_by = ?4, note = ?5, "
                   "decided_s = ?6, exception = ?7, command = ?8 WHERE row = ?1");
  return update
      .bind(decided.row, decided.state, decided.ends_s, decided.decided_by, decided.note,
            decided.decided_s, bytes_of(decided.exception), decided.command)
      .run();
}

}  // namespace

bool FleetStore::add_command(const CommandRow& command, std::int64_t now_s,
                             const RequestRow* decided) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  Statement sweep(db_, "DELETE FROM commands WHERE expires_s < ?1");
  Statement insert(db_,
                   "INSERT OR IGNORE INTO commands (id, host, verb, command, asked_by, asked_s, "
                   "expires_s, result, result_s) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, x'', 0 "
                   "WHERE (SELECT count(*) FROM commands) < ?8");
  bool done = transaction.ok() && sweep.bind(now_s - kMonth).run() &&
              insert
                  .bind(command.id, command.host, command.verb, bytes_of(command.command),
                        command.asked_by, command.asked_s, command.expires_s, kMaxCommands)
                  .run();
  const bool added = done && db_.changes() == 1;
  if (added && decided != nullptr) done = write_decision(db_, *decided);
  return wrote(done && transaction.commit()) && added;
}

std::optional<CommandRow> FleetStore::command(std::string_view id) {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT id, host, verb, command, asked_by, asked_s, expires_s, result "
                   "FROM commands WHERE id = ?1");
  if (!select.bind(id).next()) return std::nullopt;
  return command_of(select);
}

std::vector<CommandRow> FleetStore::commands(std::uint32_t host, std::uint32_t limit) {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT id, host, verb, command, asked_by, asked_s, expires_s, result "
                   "FROM commands WHERE host = ?1 ORDER BY row DESC LIMIT ?2");
  std::vector<CommandRow> commands;
  for (select.bind(host, limit); select.next();) commands.push_back(command_of(select));
  return commands;
}

std::optional<CommandRow> FleetStore::newest_command(std::uint32_t host, std::uint32_t verb) {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT id, host, verb, command, asked_by, asked_s, expires_s, result "
                   "FROM commands WHERE host = ?1 AND verb = ?2 ORDER BY row DESC LIMIT 1");
  if (!select.bind(host, verb).next()) return std::nullopt;
  return command_of(select);
}

std::vector<CommandRow> FleetStore::open_commands(std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT id, host, verb, command, asked_by, asked_s, expires_s, result "
                   "FROM commands WHERE expires_s > ?1 AND result_s = 0 ORDER BY row");
  std::vector<CommandRow> commands;
  for (select.bind(now_s); select.next();) commands.push_back(command_of(select));
  return commands;
}

bool FleetStore::set_command_result(std::string_view id, std::string_view result,
                                    std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Statement update(db_,
                   "UPDATE commands SET result = ?2, result_s = ?3 WHERE id = ?1 AND result_s = 0");
  return wrote(update.bind(id, bytes_of(result), now_s).run());
}

PolicyTrustRow FleetStore::policy_trust() {
  std::lock_guard lock(mutex_);
  PolicyTrustRow trust;
  Statement newest(db_, "SELECT number, threshold FROM trust_links ORDER BY number DESC LIMIT 1");
  if (newest.next()) {
    trust.number = static_cast<std::uint32_t>(newest.integer(0));
    trust.threshold = static_cast<std::uint32_t>(newest.integer(1));
  }
  Statement select(db_, "SELECT key_id, public_key, expires_s FROM policy_keys");
  while (select.next())
    trust.keys.push_back(
        {.key_id = select.text(0), .public_key = select.text(1), .expires_s = select.integer(2)});
  return trust;
}

bool FleetStore::add_trust(const PolicyTrustRow& trust, std::string_view signed_trust,
                           std::string_view by, std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  Statement insert(db_,
                   "INSERT INTO trust_links SELECT ?1, ?2, ?3, ?4, ?5 WHERE ?1 = "
                   "(SELECT coalesce(max(number), 1) + 1 FROM trust_links)");
  if (!transaction.ok() ||
      !insert.bind(trust.number, trust.threshold, bytes_of(signed_trust), by, now_s).run())
    return wrote(false);
  if (db_.changes() != 1) {
    sentence_.clear();
    return false;
  }
  bool done = db_.run("DELETE FROM policy_keys");
  Statement key(db_, "INSERT INTO policy_keys VALUES (?1, ?2, ?3)");
  for (const PolicyKeyRow& one : trust.keys)
    done = done && key.bind(bytes_of(one.key_id), bytes_of(one.public_key), one.expires_s).run();
  return wrote(done && transaction.commit());
}

std::vector<SignedTrustRow> FleetStore::trust_links() {
  std::lock_guard lock(mutex_);
  Statement select(db_, "SELECT number, signed_trust FROM trust_links ORDER BY number");
  std::vector<SignedTrustRow> links;
  while (select.next())
    links.push_back({static_cast<std::uint32_t>(select.integer(0)), select.text(1)});
  return links;
}

}  // namespace weir
