// weir.v1.CommandBody and weir.v1.TrustSet as values: what the signatures of commands and of policy
// keys cover. The bytes came through the network; whatever they hold, the answer is a whole value
// or why not. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/command_id.h"
#include "core/base/result.h"
#include "core/policy/exceptions.h"
#include "core/policy/signature.h"

namespace weir {

struct ExceptionTerms {  // number and boot time are the guard's to give
  Exception what;
  std::string request_id;         // "" where nobody asked for it
  std::int64_t until_wall_s = 0;  // 0: none is said
  bool name_proven = false;       // of its destination, where that was reported
};

struct BlockTerms {
  std::string domain;           // that name, and what is below it; "": by the prefix
  Prefix prefix;                // with nothing beyond its length
  PersonId person = kNoPerson;  // everybody
};

struct JoinTerms {
  std::string group;
  std::uint32_t least_number = 0;
  std::int64_t decided_wall_ms = 0;
};

struct CommandTerms {
  CommandIdBytes id{};
  std::uint32_t verb = 0;  // CommandBody.Verb, never 0
  std::string host_id;
  std::int64_t not_before_wall_s = 0, expires_wall_s = 0;
  std::uint32_t lease_s = 0;
  std::string asked;                        // its reason, as one line that prints
  std::optional<ExceptionTerms> exception;  // of except; of deny_request its request_id alone
  std::optional<CommandIdBytes> lease;      // of undo
  std::optional<BlockTerms> block;          // of block_destination
  std::optional<JoinTerms> join;            // of join_group
  std::uint64_t tree = 0;                   // of kill_tree
};

struct CommandFault {
  enum class Kind : std::uint8_t { damaged, unknown_part };
  Kind kind = Kind::damaged;
  std::string words;  // for people
};

// Refused whole: a verb, field or enum value that is not known here, at any depth, and a field that
// is not its verb's.
tl::expected<CommandTerms, CommandFault> command_from_bytes(Bytes bytes);

std::string_view verb_name(std::uint32_t verb);  // "send_health" …; "" for none of this version

struct TrustSetKey {
  PolicyKeyId id{};
  std::array<std::uint8_t, 32> key{};
  std::int64_t expires_wall_s = 0;
};
struct TrustSetTerms {
  std::uint32_t number = 0, threshold = 0;
  std::vector<TrustSetKey> keys;
};
inline constexpr std::size_t kMaxTrustSetKeys = 8;

// Whole and sound: a number from 1, 1 to 8 keys by their ids and none twice, a threshold that they
// can reach, no field that is not known.
Result<TrustSetTerms> trust_set_from_bytes(Bytes bytes);
std::string trust_set_bytes(const TrustSetTerms& trust);

}  // namespace weir
