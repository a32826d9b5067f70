// Tokens, hosts and certificates.
#include "collector/store/fleet_store.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "collector/store/schema.h"

namespace weir {
namespace {

constexpr std::int64_t kMonth = 30 * 86'400;
constexpr std::int64_t kKeepCertificates = 2 * kMonth;  // twice as long as one may still renew

TokenRow token_of(const Statement& row) {
  return {.id = row.text(1),
          .group = row.text(2),
          .created_by = row.text(3),
          .uses = static_cast<std::uint32_t>(row.integer(6)),
          .max_uses = static_cast<std::uint32_t>(row.integer(7)),
          .created_s = row.integer(4),
          .expires_s = row.integer(5),
          .revoked = row.integer(8) != 0};
}

Result<std::string> new_store_id(Database& db) {
  Statement random(db, "SELECT lower(hex(randomblob(16)))");
  if (!random.next()) return fail(db.error());
  return random.text(0);
}

Result<void> create_fleet_file(const std::string& path) {
  Result<Database> memory = Database::open(":memory:", Database::Mode::create);
  if (!memory) return tl::unexpected(memory.error());
  Result<std::string> id = new_store_id(*memory);
  if (!id) return tl::unexpected(id.error());
  return create_store_file(path, StoreFile::fleet, *id, [](Database&) { return true; });
}

}  // namespace

Result<std::unique_ptr<FleetStore>> FleetStore::open(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  const std::string path = folder + "/store.db", days = folder + "/days";
  bool have_file = fs::exists(path, error), have_days = fs::exists(days, error);
  if (!have_file && have_days)
    return fail(
        fmt::format("{}: is missing, but {} holds records: put it back from a copy, or name "
                    "another folder",
                    path, days));
  if (!have_file) {
    if (Result<void> made = create_fleet_file(path); !made) return tl::unexpected(made.error());
  }
  Result<Database> db = open_store_file(path, StoreFile::fleet, "");
  if (!db) return tl::unexpected(db.error());
  std::string id = read_store_id(*db);
  if (id.empty()) return fail(fmt::format("{}: is damaged: it has no id", path));
  if (!add_later_tables(*db)) return fail(db->error());
  if (!fs::create_directory(days, error) && error)
    return fail(fmt::format("{}: can't be made: {}", days, error.message()));
  return std::unique_ptr<FleetStore>(new FleetStore(std::move(*db), std::move(id)));
}

std::string FleetStore::sentence() {
  std::lock_guard lock(mutex_);
  return sentence_;
}

bool FleetStore::wrote(bool done) {
  sentence_ = done ? "" : db_.error();
  return done;
}

std::vector<std::int64_t> FleetStore::days() {
  std::lock_guard lock(mutex_);
  Statement select(db_, "SELECT day FROM days ORDER BY day");
  std::vector<std::int64_t> days;
  while (select.next()) days.push_back(select.integer(0));
  return days;
}

bool FleetStore::add_day(std::int64_t day) {
  std::lock_guard lock(mutex_);
  Statement insert(db_, "INSERT OR IGNORE INTO days VALUES (?1)");
  return wrote(insert.bind(day).run());
}

bool FleetStore::forget_days(std::int64_t before) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  // The note first: it says what is left out of `days` from now on.
  Statement note(
      db_,
      "INSERT OR REPLACE INTO meta SELECT 'forgotten_before', max(min(?1, (SELECT "
      "max(day) FROM days)), coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE "
      "name = 'forgotten_before'), 0)) WHERE EXISTS (SELECT 1 FROM days WHERE day < ?1)");
  Statement forget(db_, "DELETE FROM days WHERE day < ?1 AND day < (SELECT max(day) FROM days)");
  return wrote(transaction.ok() && note.bind(before).run() && forget.bind(before).run() &&
               transaction.commit());
}

std::int64_t FleetStore::forgotten_before() {
  std::lock_guard lock(mutex_);
  Statement select(db_, "SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'forgotten_before'");
  return select.next() ? select.integer(0) : 0;
}

bool FleetStore::add_token(const TokenRow& token, const Digest& secret, std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  Statement sweep(db_, "DELETE FROM tokens WHERE expires_s < ?1");
  Statement insert(db_,
                   "INSERT INTO tokens (id, secret, grp, created_by, created_s, expires_s, uses, "
                   "max_uses, revoked) SELECT ?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 0 "
                   "WHERE (SELECT count(*) FROM tokens) < ?8");
  bool done = transaction.ok() && sweep.bind(now_s - kMonth).run() &&
              insert
                  .bind(token.id, Bytes(secret), token.group, token.created_by, token.created_s,
                        token.expires_s, token.max_uses, kMaxTokens)
                  .run();
  if (done && db_.changes() == 0) {
    sentence_ = fmt::format("there are {} tokens already, the limit", kMaxTokens);
    return false;
  }
  return wrote(done && transaction.commit());
}

std::vector<TokenRow> FleetStore::tokens(std::string_view after_id, std::uint32_t limit) {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT row, id, grp, created_by, created_s, expires_s, uses, max_uses, revoked "
                   "FROM tokens WHERE id > ?1 ORDER BY id LIMIT ?2");
  std::vector<TokenRow> tokens;
  for (select.bind(after_id, limit); select.next();) tokens.push_back(token_of(select));
  return tokens;
}

std::optional<TokenRow> FleetStore::revoke_token(std::string_view id) {
  std::lock_guard lock(mutex_);
  Statement update(db_, "UPDATE tokens SET revoked = 1 WHERE id = ?1");
  if (!wrote(update.bind(id).run())) return std::nullopt;
  Statement select(db_,
                   "SELECT row, id, grp, created_by, created_s, expires_s, uses, max_uses, revoked "
                   "FROM tokens WHERE id = ?1");
  if (!select.bind(id).next()) return std::nullopt;
  return token_of(select);
}

bool FleetStore::token_usable(const Digest& secret, std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Statement select(db_,
                   "SELECT 1 FROM tokens WHERE secret = ?1 AND revoked = 0 AND uses < max_uses "
                   "AND expires_s > ?2");
  return select.bind(Bytes(secret), now_s).next();
}

namespace {

bool insert_certificate(Database& db, const CertificateRow& certificate, std::int64_t now_s) {
  Statement sweep(db, "DELETE FROM certificates WHERE not_after_s < ?1");
  Statement insert(db, "INSERT INTO certificates VALUES (?1, ?2, ?3, ?4)");
  return sweep.bind(now_s - kKeepCertificates).run() &&
         insert
             .bind(certificate.serial, certificate.host, Bytes(certificate.key),
                   certificate.not_after_s)
             .run();
}

}  // namespace

Redeemed FleetStore::redeem(const Digest& secret, std::int64_t now_s, HostRow& host,
                            const CertificateRow& certificate) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  // One statement decides: of however many redemptions at once, max_uses change a row.
  Statement use(db_,
                "UPDATE tokens SET uses = uses + 1 WHERE secret = ?1 AND revoked = 0 "
                "AND uses < max_uses AND expires_s > ?2 RETURNING grp");
  if (!transaction.ok()) return wrote(false), Redeemed::failed;
  bool used = use.bind(Bytes(secret), now_s).next();
  std::string group = used ? use.text(0) : "";
  if (!use.run()) return wrote(false), Redeemed::failed;
  if (!used) return Redeemed::refused;
  Statement insert(db_,
                   "INSERT INTO hosts (id, name, grp, version, machine, enrolled_s, "
                   "certificate_expires_s, last_seen_s, tier, revoked, cloned, revoke_reason, "
                   "policy_state, health) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, 0, '', x'', "
                   "x'' WHERE (SELECT count(*) FROM hosts) < ?8");
  if (!insert
           .bind(host.id, host.name, group, host.version, bytes_of(host.machine), now_s,
                 certificate.not_after_s, kMaxHosts)
           .run())
    return wrote(false), Redeemed::failed;
  if (db_.changes() == 0) return Redeemed::full;
  CertificateRow row = certificate;
  row.host = static_cast<std::uint32_t>(db_.last_row());
  if (!insert_certificate(db_, row, now_s) || !transaction.commit())
    return wrote(false), Redeemed::failed;
  host.number = row.host;
  host.group = std::move(group);
  host.enrolled_s = now_s;
  host.certificate_expires_s = certificate.not_after_s;
  return Redeemed::done;
}

std::vector<HostRow> FleetStore::hosts() {
  std::lock_guard lock(mutex_);
  Statement row(db_,
                "SELECT number, id, name, grp, version, machine, enrolled_s, "
                "certificate_expires_s, last_seen_s, tier, revoked, cloned, revoke_reason, "
                "policy_state, health FROM hosts ORDER BY id");
  std::vector<HostRow> hosts;
  while (row.next())
    hosts.push_back({.number = static_cast<std::uint32_t>(row.integer(0)),
                     .id = row.text(1),
                     .name = row.text(2),
                     .group = row.text(3),
                     .version = row.text(4),
                     .machine = row.text(5),
                     .enrolled_s = row.integer(6),
                     .certificate_expires_s = row.integer(7),
                     .last_seen_s = row.integer(8),
                     .tier = static_cast<std::uint32_t>(row.integer(9)),
                     .revoked = row.integer(10) != 0,
                     .cloned = row.integer(11) != 0,
                     .revoke_reason = row.text(12),
                     .policy_state = row.text(13),
                     .health = row.text(14)});
  return hosts;
}

bool FleetStore::save_hosts(std::span<const HostRow> hosts) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  Statement update(db_,
                   "UPDATE hosts SET name = ?2, grp = ?3, version = ?4, certificate_expires_s = "
                   "?5, last_seen_s = ?6, tier = ?7, revoked = ?8, cloned = ?9, revoke_reason = "
                   "?10, policy_state = ?11, health = ?12 WHERE number = ?1");
  bool done = transaction.ok();
  for (const HostRow& host : hosts)
    done = done &&
           update
               .bind(host.number, host.name, host.group, host.version, host.certificate_expires_s,
                     host.last_seen_s, host.tier, host.revoked, host.cloned, host.revoke_reason,
                     bytes_of(host.policy_state), bytes_of(host.health))
               .run();
  return wrote(done && transaction.commit());
}

bool FleetStore::save_told(std::span<const HostRow> hosts) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  Statement update(db_,
                   "UPDATE hosts SET name = ?2, version = ?3, last_seen_s = ?4, tier = ?5, "
                   "policy_state = ?6, health = ?7 WHERE number = ?1");
  bool done = transaction.ok();
  for (const HostRow& host : hosts)
    done = done && update
                       .bind(host.number, host.name, host.version, host.last_seen_s, host.tier,
                             bytes_of(host.policy_state), bytes_of(host.health))
                       .run();
  return wrote(done && transaction.commit());
}

std::optional<CertificateRow> FleetStore::certificate(std::string_view serial) {
  std::lock_guard lock(mutex_);
  Statement select(db_, "SELECT host, key, not_after_s FROM certificates WHERE serial = ?1");
  if (!select.bind(serial).next()) return std::nullopt;
  CertificateRow row{.serial = std::string(serial),
                     .host = static_cast<std::uint32_t>(select.integer(0)),
                     .not_after_s = select.integer(2)};
  std::string key = select.text(1);
  if (key.size() != row.key.size()) return std::nullopt;
  std::copy(key.begin(), key.end(), row.key.begin());
  return row;
}

bool FleetStore::renew(Bytes nonce, const CertificateRow& certificate, std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Transaction transaction(db_);
  Statement sweep(db_, "DELETE FROM nonces WHERE used_s < ?1");
  Statement use(db_, "INSERT OR IGNORE INTO nonces VALUES (?1, ?2)");
  Statement host(db_, "UPDATE hosts SET certificate_expires_s = ?2 WHERE number = ?1");
  if (!transaction.ok() || !sweep.bind(now_s - kKeepCertificates).run() ||
      !use.bind(nonce, now_s).run())
    return wrote(false);
  if (db_.changes() == 0) {
    sentence_.clear();
    return false;
  }
  return wrote(insert_certificate(db_, certificate, now_s) &&
               host.bind(certificate.host, certificate.not_after_s).run() && transaction.commit());
}

}  // namespace weir
