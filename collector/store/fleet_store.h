// store.db: who belongs to the fleet and what it was told. Tokens, hosts, certificates, policies,
// secrets. Everything here is rare and small; records have files of their own (record_store.h).
// Every call is one transaction, on disk when it returns. Times are seconds since 1970, UTC.
// Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "collector/store/sqlite.h"
#include "core/base/result.h"
#include "core/policy/requests.h"

namespace weir {

using Digest = std::array<std::uint8_t, 32>;  // SHA-256

struct TokenRow {
  std::string id, group, created_by;
  std::uint32_t uses = 0, max_uses = 0;
  std::int64_t created_s = 0, expires_s = 0;
  bool revoked = false;
};

struct CertificateRow {
  std::string serial;  // hex
  std::uint32_t host = 0;
  Digest key{};  // of its SubjectPublicKeyInfo
  std::int64_t not_after_s = 0;
};

struct HostRow {
  std::uint32_t number = 0;  // the store's own, never reused; records carry it
  std::string id;            // UUID; stands in the certificate
  std::string name{}, group{}, version{},
      machine{};  // machine: SHA-256 of the machine id, or empty
  std::int64_t enrolled_s = 0, certificate_expires_s = 0, last_seen_s = 0;
  std::uint32_t tier = 0;
  bool revoked = false, cloned = false;
  std::string revoke_reason{};
  std::string policy_state{},
      health{};  // serialized PolicyState and HostHealth; empty: none was told
};

struct PolicyRow {
  std::string group;
  std::uint32_t number = 0;
  std::string signed_policy;  // serialized SignedPolicy
  std::int64_t published_s = 0;
  std::string published_by;
  std::uint32_t source = 0;  // a rollback's: the number whose text it has again; 0: published
};

struct PolicyKeyRow {
  std::string key_id, public_key;
  std::int64_t expires_s = 0;
};

// Whose policies and commands the fleet takes.
struct PolicyTrustRow {
  std::uint32_t number = 1, threshold = 1;
  std::vector<PolicyKeyRow> keys{};
};

struct SignedTrustRow {
  std::uint32_t number = 0;
  std::string signed_trust;  // serialized SignedTrust
};

struct CommandRow {
  std::string id;
  std::uint32_t host = 0;
  std::uint32_t verb = 0;
  std::string command;  // serialized Command
  std::string asked_by;
  std::int64_t asked_s = 0, expires_s = 0;
  std::string result{};  // serialized CommandResult; empty: none yet
};

// What a person asked for: an ExceptionRequest, and what was decided.
struct RequestRow {
  std::int64_t row = 0;  // orders them as they came
  std::uint32_t host = 0;
  std::string id;
  std::string person;   // of that host; whose bound it counts for
  std::string request;  // serialized ExceptionRequest
  std::int64_t received_s = 0;
  int state = 1;            // RequestInfo.State
  std::int64_t ends_s = 0;  // open: when it expires; approved: the exception's end
  std::string decided_by{}, note{};
  std::int64_t decided_s = 0;
  std::string exception{};  // serialized Exception; empty: none
  std::string command{};    // id of the command that tells the host
};

// Of the open ones (core/policy/requests.h) the oldest end when there are more: a person or a
// host that asks without end hides its own questions, not those of others.
inline constexpr std::uint32_t kMaxEndedOfHost = 64;  // kept of those that nobody decided

struct RequestsAdded {
  std::uint64_t taken = 0, known = 0;  // known: the id was there already
  std::uint64_t displaced = 0;         // open ones that ended for them
};

inline constexpr std::uint32_t kMaxCommands = 100'000;  // kept; old ones are swept a month after
                                                        // their end
inline constexpr std::uint32_t kMaxHosts =
    100'000;  // ten times the fleet that one collector is for
inline constexpr std::uint32_t kMaxTokens =
    10'000;  // kept; old ones are swept a month after their end

enum class Redeemed : std::uint8_t { done, refused, full, failed };

class FleetStore {
 public:
  // Makes the file if the folder has neither it nor records of an earlier one; refuses what is
  // damaged or not ours with a sentence.
  static Result<std::unique_ptr<FleetStore>> open(const std::string& folder);

  const std::string& id() const { return id_; }  // random, stands in every file of this store
  std::string sentence();                        // why the last call failed

  std::optional<std::string> note(std::string_view name);  // small facts of the whole store
  bool set_note(std::string_view name, std::string_view value);

  // Days (since 1970) that have a file of records.
  std::vector<std::int64_t> days();
  bool add_day(std::int64_t day);
  // Takes those before `before` out, but never the newest, which says what is stored. Their files
  // may go then, and only then.
  bool forget_days(std::int64_t before);
  std::int64_t forgotten_before();  // what came before this day was removed; 0: nothing was

  bool add_token(const TokenRow& token, const Digest& secret, std::int64_t now_s);
  std::vector<TokenRow> tokens(std::string_view after_id, std::uint32_t limit);
  std::optional<TokenRow> revoke_token(std::string_view id);
  // Is there a use left? For an answer before the work of signing; redeem() decides.
  bool token_usable(const Digest& secret, std::int64_t now_s);
  // Counts one use and takes the host and its certificate in, all or nothing. Fills number and
  // group.
  Redeemed redeem(const Digest& secret, std::int64_t now_s, HostRow& host,
                  const CertificateRow& certificate);

  std::vector<HostRow> hosts();
  bool save_hosts(std::span<const HostRow> hosts);
  // Only what hosts say of themselves: never undoes a revocation that came in between.
  bool save_told(std::span<const HostRow> hosts);
  std::optional<CertificateRow> certificate(std::string_view serial);
  // False and an empty sentence(): the nonce was used before.
  bool renew(Bytes nonce, const CertificateRow& certificate, std::int64_t now_s);

  // False and an empty sentence(): the group has this number or a higher one.
  bool add_policy(const PolicyRow& policy);
  std::optional<PolicyRow> policy(std::string_view group, std::uint32_t number);  // 0: newest
  std::optional<PolicyRow> policy_before(std::string_view group, std::uint32_t number);
  std::vector<PolicyRow> policies(std::string_view group);  // newest first, at most 100
  std::vector<PolicyRow> newest_policies();                 // one a group

  bool add_policy_key(const PolicyKeyRow& key);

  PolicyTrustRow policy_trust();
  // The keys of `trust` from now on, and the link that leads to them. False and an empty
  // sentence(): it is not the next number.
  bool add_trust(const PolicyTrustRow& trust, std::string_view signed_trust, std::string_view by,
                 std::int64_t now_s);
  std::vector<SignedTrustRow> trust_links();  // in order

  // False and an empty sentence(): the id is there, or there are kMaxCommands. With `decided`, the
  // request of that row becomes what it says in the same transaction.
  bool add_command(const CommandRow& command, std::int64_t now_s,
                   const RequestRow* decided = nullptr);
  std::optional<CommandRow> command(std::string_view id);
  std::vector<CommandRow> commands(std::uint32_t host, std::uint32_t limit);  // newest first
  std::optional<CommandRow> newest_command(std::uint32_t host, std::uint32_t verb);
  std::vector<CommandRow> open_commands(std::int64_t now_s);  // neither answered nor expired
  // The first result stays.
  bool set_command_result(std::string_view id, std::string_view result, std::int64_t now_s);

  // Those whose id is not there yet. Nothing: the disk refused.
  std::optional<RequestsAdded> add_requests(std::span<const RequestRow> requests,
                                            std::int64_t now_s);
  // `state` is what holds at `now_s`: what has ended is expired. `state` 0 matches all. Newest
  // first, those before `before`.
  std::vector<RequestRow> requests(int state, std::int64_t before, std::uint32_t limit,
                                   std::int64_t now_s);
  std::optional<RequestRow> request(std::string_view id, std::int64_t now_s);

  bool add_secret(const Digest& secret, std::string_view principal);
  std::optional<std::string> principal(const Digest& secret);

 private:
  FleetStore(Database db, std::string id) : db_(std::move(db)), id_(std::move(id)) {}
  bool wrote(bool done);  // keeps the sentence of a failure

  std::mutex mutex_;
  Database db_;
  std::string id_, sentence_;
};

}  // namespace weir
