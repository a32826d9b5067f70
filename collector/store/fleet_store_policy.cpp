// Policies, the keys that sign them, the secrets of those who publish, and notes.
#include "collector/store/fleet_store.h"

namespace weir {
namespace {

PolicyRow policy_of(const Statement& row) {
  return {.group = row.text(0),
          .number = static_cast<std::uint32_t>(row.integer(1)),
          .signed_policy = row.text(2),
          .published_s = row.integer(3),
          .published_by = row.text(4),
          .source = static_cast<std::uint32_t>(row.integer(5))};
}

}  // namespace

std::optional<std::string> FleetStore::note(std::string_view name) {
  std::lock_guard lock(mutex_);
  Statement select(db_, "SELECT value FROM meta WHERE name = ?1");
  if (!select.bind(name).next()) return std::nullopt;
  return select.text(0);
}

bool FleetStore::set_note(std::string_view name, std::string_view value) {
  std::lock_guard lock(mutex_);
  Statement insert(db_, "INSERT OR REPLACE INTO meta VALUES (?1, ?2)");
  return wrote(insert.bind(name, value).run());
}

bool FleetStore::add_policy(const PolicyRow& policy) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  Statement insert(db_,
                   "INSERT INTO policies SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS "
                   "(SELECT 1 FROM policies WHERE grp = ?1 AND number >= ?2)");
  if (!wrote(transaction.ok() &&
             insert
                 .bind(policy.group, policy.number, bytes_of(policy.signed_policy),
                       policy.published_s, policy.published_by)
                 .run()))
    return false;
  if (db_.changes() != 1) return false;
  if (policy.source != 0) {
    Statement source(db_, "INSERT OR REPLACE INTO rollbacks VALUES (?1, ?2, ?3)");
    if (!wrote(source.bind(policy.group, policy.number, policy.source).run())) return false;
  }
  return wrote(transaction.commit());
}

std::optional<PolicyRow> FleetStore::policy(std::string_view group, std::uint32_t number) {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT p.grp, p.number, signed_policy, published_s, published_by, "
                   "coalesce(source, 0) FROM policies p LEFT JOIN rollbacks r "
                   "ON r.grp = p.grp AND r.number = p.number "
                   "WHERE p.grp = ?1 AND (?2 = 0 OR p.number = ?2) "
                   "ORDER BY p.number DESC LIMIT 1");
  if (!select.bind(group, number).next()) return std::nullopt;
  return policy_of(select);
}

std::optional<PolicyRow> FleetStore::policy_before(std::string_view group, std::uint32_t number) {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT p.grp, p.number, signed_policy, published_s, published_by, "
                   "coalesce(source, 0) FROM policies p LEFT JOIN rollbacks r "
                   "ON r.grp = p.grp AND r.number = p.number "
                   "WHERE p.grp = ?1 AND p.number < ?2 ORDER BY p.number DESC LIMIT 1");
  if (!select.bind(group, number).next()) return std::nullopt;
  return policy_of(select);
}

std::vector<PolicyRow> FleetStore::policies(std::string_view group) {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT p.grp, p.number, signed_policy, published_s, published_by, "
                   "coalesce(source, 0) FROM policies p LEFT JOIN rollbacks r "
                   "ON r.grp = p.grp AND r.number = p.number "
                   "WHERE p.grp = ?1 ORDER BY p.number DESC LIMIT 100");
  std::vector<PolicyRow> policies;
  for (select.bind(group); select.next();) policies.push_back(policy_of(select));
  return policies;
}

std::vector<PolicyRow> FleetStore::newest_policies() {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT p.grp, p.number, signed_policy, published_s, published_by, "
                   "coalesce(source, 0) FROM policies p LEFT JOIN rollbacks r "
                   "ON r.grp = p.grp AND r.number = p.number "
                   "WHERE p.number = (SELECT max(number) FROM policies WHERE grp = p.grp)");
  std::vector<PolicyRow> policies;
  while (select.next()) policies.push_back(policy_of(select));
  return policies;
}

bool FleetStore::add_policy_key(const PolicyKeyRow& key) {
  std::lock_guard lock(mutex_);
  Statement insert(db_, "INSERT OR REPLACE INTO policy_keys VALUES (?1, ?2, ?3)");
  return wrote(insert.bind(bytes_of(key.key_id), bytes_of(key.public_key), key.expires_s).run());
}

bool FleetStore::add_secret(const Digest& secret, std::string_view principal) {
  std::lock_guard lock(mutex_);
  Statement insert(db_, "INSERT INTO secrets VALUES (?1, ?2)");
  return wrote(insert.bind(Bytes(secret), principal).run());
}

std::optional<std::string> FleetStore::principal(const Digest& secret) {
  std::lock_guard lock(mutex_);
  Statement select(db_, "SELECT principal FROM secrets WHERE secret = ?1");
  if (!select.bind(Bytes(secret)).next()) return std::nullopt;
  return select.text(0);
}

}  // namespace weir
