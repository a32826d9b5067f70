// What the reading children (weir-engine --read-command, --read-trust) make of signed bytes that
// came through the network: fixed blocks, every field of which is checked here, so that the guard
// parses nothing. Then what such a block may do. Pure; native byte order.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <span>
#include <string_view>

#include "agent/guard/trust.h"
#include "agent/guard/uplink_messages.h"
#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/policy/exceptions.h"
#include "core/policy/shuts.h"

namespace weir {

using CountedKeys = std::bitset<kMaxTrustedKeys>;  // of PolicyTrust.keys: who has signed

struct SignatureCount {
  CountedKeys good;
  bool known = false,
       bad = false;    // a key of ours is named; and what it is said to have signed isn't
  bool usable = true;  // false: the library could not be started
};
// Two by one key count once, keys that have expired sign nothing.
SignatureCount count_signatures(std::string_view purpose, Bytes bytes,
                                std::span<const wire::OfferedSignature> signatures,
                                const PolicyTrust& trust, std::int64_t wall_s);

// What is wrong with the signatures, in the words of what they are under.
template <class Why>
Why refusal_of(const SignatureCount& count, const PolicyTrust& trust) {
  if (!count.usable) return Why::failed;
  if (count.good.count() >= trust.threshold) return Why::none;
  if (count.bad) return Why::bad_signature;
  return count.known ? Why::threshold : Why::unknown_key;
}

// Numbers of CommandBody.Verb that the guard itself tells apart.
inline constexpr std::uint32_t kBlockVerb = 1, kIsolateVerb = 2, kUndoVerb = 3, kExceptVerb = 4,
                               kDenyVerb = 8, kJoinVerb = 9,
                               kReleaseVerb = 10,  // in records alone: nobody sends it
    kKillVerb = 11;

// What an exception is for; of `deny_request` only whose request it was. Texts end with a zero.
struct ExceptionReading {
  std::uint32_t person = 0;  // uid
  std::uint32_t rules = 0;   // in use, of `rule`
  std::uint64_t bytes = 0;
  std::int64_t until_wall_s = 0;                          // 0: lease_s alone says
  std::array<std::uint8_t, 16> address{};                 // where `domain` is ""
  std::uint32_t length = 0;                               // bits of it
  std::uint32_t proven = 0;                               // 1: the name was, when it was reported
  std::array<char, 40> request{};                         // the id that the person was given
  std::array<char, 256> domain{};                         // that name, and what is below it
  std::array<std::array<char, 72>, kMaxSetAside> rule{};  // ids
};
// Of `except`.
bool is_sound(const ExceptionReading& exception);

// Of `block_destination`.
struct BlockReading {
  std::uint32_t person = 0;     // uid, where not everybody is meant
  std::uint32_t everybody = 0;  // 0 or 1
  std::uint32_t length = 0, pad = 0;
  std::array<std::uint8_t, 16> address{};  // with nothing beyond its length; where `domain` is ""
  std::array<char, 256> domain{};          // that name, and what is below it
};
bool is_sound(const BlockReading& block);

// Of `join_group`.
struct JoinReading {
  std::array<char, kMaxGroup + 8> group{};  // NUL-terminated
  std::int64_t decided_wall_ms = 0;
  std::uint32_t least_number = 0, pad = 0;
};
bool is_sound(const JoinReading& join);

struct CommandReading {
  std::uint32_t magic = 0;
  std::uint32_t refusal =
      0;  // wire::CommandRefusal: damaged or unknown_part; else what follows holds
  std::uint32_t verb = 0;
  std::uint32_t lease_s = 0;
  std::int64_t not_before_wall_s = 0, expires_wall_s = 0;
  wire::CommandId id{};
  wire::CommandId lease{};  // of `undo`
  ExceptionReading exception;
  JoinReading join;
  BlockReading block;
  std::uint64_t tree = 0;                     // of `kill_tree`
  std::array<char, kMaxGroup + 8> host_id{};  // NUL-terminated, as the others
  std::array<char, 96> asked{};
  std::array<char, 128> words{};  // the refusal's argument
};
inline constexpr std::uint32_t kCommandReadingMagic = 0x444d4357;

Result<CommandReading> read_command_reading(Bytes bytes);

// Whether it may be done now, by its own terms; signatures and earlier ids aside.
wire::CommandRefusal check_command(const CommandReading& command, const wire::CommandId& offered,
                                   std::string_view host_id, std::int64_t wall_s);

struct TrustReading {
  struct Key {
    PolicyKeyId id{};
    PolicyPublicKey key{};
    std::int64_t expires_wall_s = 0;
  };
  std::uint32_t magic = 0;
  std::uint32_t damaged = 0;  // 1: `words` say how
  std::uint32_t number = 0;
  std::uint32_t threshold = 0;
  std::uint32_t keys = 0;
  std::uint32_t pad = 0;
  std::array<Key, kMaxTrustedKeys> key{};
  std::array<char, 128> words{};
};
inline constexpr std::uint32_t kTrustReadingMagic = 0x53525457;

Result<TrustReading> read_trust_reading(Bytes bytes);

// The trust of this host after it, or why not: the number is the next one, and its own threshold
// has signed by its own keys. That the old threshold did was verified before anybody read it.
tl::expected<PolicyTrust, wire::TrustRefusal> next_trust(
    const PolicyTrust& now, const TrustReading& reading, Bytes set,
    std::span<const wire::OfferedSignature> signatures, std::int64_t wall_s);

}  // namespace weir
