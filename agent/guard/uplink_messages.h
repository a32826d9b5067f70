// What guard and uplink may say to each other: a fixed table of messages over a SOCK_SEQPACKET
// pair, as between guard and engine. The uplink speaks to the network, so it is believed nothing:
// whatever is oversized, short, unknown, out of turn or too fast ends it (it is started again), and
// a policy that it brings counts by its signatures alone. Pure. Fuzzed
// (tests/fuzz/uplink_messages_fuzz.cpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "agent/guard/messages.h"
#include "core/base/bytes.h"
#include "core/policy/exceptions.h"
#include "core/policy/shuts.h"
#include "core/policy/signature.h"

namespace weir::wire {

enum class UplinkKind : std::uint16_t {
  // uplink → guard
  beat = 128,     // alive; at least every kUplinkBeatNs, the first one at once
  offer_policy,   // a signed policy; its envelope is the one descriptor that comes with the message
  offer_command,  // a signed command: its body is the descriptor
  offer_trust,    // a signed set of policy keys: it is the descriptor
  // guard → uplink
  policy_state = 192,  // after the start, and after each offer and each change
  stop,                // finish: what is acknowledged is written, then exit
  command_outcome,     // after each command that was offered
  host_facts,          // before the first policy_state, before an outcome that asks for health
};

struct UplinkBeat {
  static constexpr UplinkKind kKind = UplinkKind::beat;
  Header header;
  std::uint64_t boot_ns = 0;
};

struct OfferedSignature {
  PolicyKeyId key{};
  std::array<std::uint8_t, 64> signature{};
};

// The envelope: memory of `envelope_size` bytes (memfd) under F_SEAL_WRITE, _GROW, _SHRINK and
// _SEAL. Whatever it holds is refused by its reason; only a message that is not as here ends the
// uplink.
struct OfferPolicy {
  static constexpr UplinkKind kKind = UplinkKind::offer_policy;
  Header header;
  std::uint64_t envelope_size = 0;
  std::uint32_t signatures = 0;  // in use: the first of `signature`, the others zero
  std::uint32_t pad = 0;
  std::array<OfferedSignature, kMaxPolicySignatures> signature{};
};

using CommandId = std::array<std::uint8_t, 16>;  // 32 hexadecimal digits on the wire

// The body: sealed memory of `body_size` bytes, as an envelope is. `id` is what the collector calls
// the command: if the signed one in the body is another, it is refused.
struct OfferCommand {
  static constexpr UplinkKind kKind = UplinkKind::offer_command;
  Header header;
  CommandId id{};
  std::uint64_t body_size = 0;
  std::uint32_t signatures = 0;
  std::uint32_t pad = 0;
  std::array<OfferedSignature, kMaxPolicySignatures> signature{};
};

// The set: sealed memory, likewise.
struct OfferTrust {
  static constexpr UplinkKind kKind = UplinkKind::offer_trust;
  Header header;
  std::uint64_t set_size = 0;
  std::uint32_t signatures = 0;
  std::uint32_t pad = 0;
  std::array<OfferedSignature, kMaxPolicySignatures> signature{};
};

// Why an offered policy did not come into force. The one before stays.
enum class Refusal : std::uint32_t {
  none,
  unknown_key,    // no signature is by a key that this host knows
  threshold,      // too few of its keys have signed
  bad_signature,  // one of its keys is named, and the signature is not for these bytes
  not_newer,      // the number is not above that of the policy in force
  expired,
  not_yet,
  other_group,
  damaged,  // cut short, no envelope, or no policy inside
  too_large,
  unenforceable,  // mode enforce asks for what this version can't enforce
  failed,         // this host could not: memory, a child that did not start
  below_least,    // the number is below the least that this host takes of its group
  crashed,        // it was in force, and guard or engine crashed three times within a minute
  host_lacks,     // mode enforce asks for what this host does not have
};
inline constexpr std::size_t kRefusals = 15;
// The reason's code as core/policy/reasons.h has it: "policy_unknown_key" …; "" for none.
std::string_view code_of(Refusal refusal);

// Why a command was not carried out, or what has to be known of one that was.
enum class CommandRefusal : std::uint32_t {
  none,
  unknown_key,
  threshold,
  bad_signature,
  damaged,
  unknown_part,  // a verb, field or value that this version does not know
  other_host,
  no_host,  // STATE/trust does not say which host this is
  expired,
  not_yet,
  too_long,  // valid for longer than kMaxCommandLifeS
  not_built,
  too_many,  // ids that may not be forgotten yet
  failed,
  over_ceiling,  // an exception of more bytes, or for longer, than this host gives
  unknown_rule,  // it sets a rule aside that the policy in force does not have
  exceptions_full,
  no_lease,    // nothing of that id is in force
  superseded,  // a later decision put this host into a group
  unprovable,  // an exception of a name, and no resolver of the policy in force can prove one
  // Said of what was done: the exception holds only where its name is proven, which it was not
  // where it was reported.
  name_unproven,
  no_tree,         // no process of that tree is there
  protected_tree,  // it is PID 1's, a launcher's or the agent's own
  tree_left,  // said of what was done: some of it started others faster than they could be ended
  never_blocked,  // the place is, or holds, one that this host must reach
  blocks_full,
  tree_not_silenced,  // said of what was done: what it had queued, and what is left, can still
                      // leave
};
inline constexpr std::size_t kCommandRefusals = 27;
std::string_view code_of(CommandRefusal refusal);  // "command_unknown_key" …

// Why a set of keys was not taken. Those before stay.
enum class TrustRefusal : std::uint32_t {
  none,
  unknown_key,
  threshold,
  bad_signature,
  not_next,  // its number is not the next one
  damaged,
  failed,
};
inline constexpr std::size_t kTrustRefusals = 7;
std::string_view code_of(TrustRefusal refusal);  // "trust_unknown_key" …

using GroupText = std::array<char, 72>;  // kMaxGroup characters

struct PolicyStateMessage {
  static constexpr UplinkKind kKind = UplinkKind::policy_state;
  enum class State : std::uint32_t { effective = 1, refused, expired, built_in };  // as agent.proto

  Header header;
  std::uint32_t number = 0;  // in force; 0: built in, or a file's
  std::uint32_t state = 0;
  std::uint32_t refused_number = 0;  // of the newest that was refused; 0: none, or nobody may know
  std::uint32_t reason = 0;          // Refusal
  std::int64_t since_wall_s = 0;     // UTC since 1970
  std::array<std::uint8_t, 32> digest{};  // SHA-256 of PolicyEnvelope.policy, zero without one
  std::array<char, 256>
      words{};  // the reason's argument, "" without one; printable, NUL-terminated
  std::uint32_t trust_number = 0;  // of the keys that count
  std::uint32_t trust_reason = 0;  // TrustRefusal of the newest set that was refused
  std::array<char, 128> trust_words{};
  // Whose policies this host takes; and whose the one in force is, "" of none. NUL-terminated.
  GroupText group{}, policy_group{};
};

enum class CommandOutcome : std::uint32_t { done = 1, refused, expired };  // as agent.proto

struct CommandOutcomeMessage {
  static constexpr UplinkKind kKind = UplinkKind::command_outcome;
  Header header;
  CommandId id{};
  std::uint32_t verb = 0;     // as agent.proto; 0: nobody has read it
  std::uint32_t outcome = 0;  // CommandOutcome
  std::uint32_t reason = 0;   // CommandRefusal
  // 1: it was taken before, and this is what was said then. Else a verb that is the uplink's to do
  // is to be done now if the outcome is `done`.
  std::uint32_t again = 0;
  std::array<char, 128> words{};  // the reason's argument
};

inline constexpr std::size_t kMaxFacts = 32;
// All that can be in force at once: what is not told can't be undone by its id. And isolation,
// release, and that it only observes after crashes.
inline constexpr std::size_t kMaxLeases = kMaxExceptions + kMaxShuts + 3;
using FactName = std::array<char, 32>;  // NUL-terminated, lower-case, digits and _

// What the guard knows of the host and itself, for Hello and the health report.
struct HostFactsMessage {
  static constexpr UplinkKind kKind = UplinkKind::host_facts;
  struct Control {
    FactName name{};
    std::uint32_t state = 0;  // as Control.State of report.proto: 1 effective, 2 unavailable
    std::uint32_t tier = 0;
  };
  struct Counter {
    FactName name{};
    std::uint64_t value = 0;  // since the guard's start
  };
  // Of a lease: an exception that holds; the host's isolation, or its release: then `to` says who,
  // and why; that it only observes after crashes; or a block of a destination: then `rule` says
  // who, and why.
  static constexpr std::uint32_t kExcepts = 0, kIsolates = 1, kReleases = 2, kCrashed = 3,
                                 kBlocks = 4, kLeaseKinds = 5;
  static constexpr std::uint32_t kEverybody = 0xffffffff;  // `person` of a block
  struct Lease {
    CommandId id{};
    std::uint64_t bytes = 0, left = 0;
    std::int64_t until_wall_s = 0;
    std::uint32_t person = 0, by_name = 0;  // 1: `to` is a name, else an address or range
    std::array<char, 256> to{};
    std::array<char, 72> rule{};  // the first that it sets aside
    std::uint32_t kind = kExcepts, pad = 0;
  };
  Header header;
  std::uint32_t tier = 0;                    // 1 to 4
  std::uint32_t controls = 0, counters = 0;  // in use, the others are zero
  std::uint32_t leases = 0;
  std::array<Control, kMaxFacts> control{};
  std::array<Counter, kMaxFacts> counter{};
  std::array<Lease, kMaxLeases> lease{};
};

struct UplinkStop {
  static constexpr UplinkKind kKind = UplinkKind::stop;
  Header header;
};

using FromUplink = std::variant<UplinkBeat, OfferPolicy, OfferCommand, OfferTrust>;
using ToUplink =
    std::variant<PolicyStateMessage, UplinkStop, CommandOutcomeMessage, HostFactsMessage>;

inline constexpr std::size_t kMaxUplinkMessage = sizeof(HostFactsMessage);
static_assert(kMaxUplinkMessage <= 0xffff);  // Header.size
inline constexpr std::size_t kUplinkReceiveBuffer = kMaxUplinkMessage + 1;

inline constexpr std::uint64_t kUplinkBeatNs = 5'000'000'000;
// Silent this long, it hangs and is started again. Reads of the spool and of names may take long;
// nothing waits for it.
inline constexpr std::uint64_t kUplinkSilentNs = 60'000'000'000;
// A beat in five seconds and a policy now and then.
inline constexpr std::uint32_t kUplinkMessagesPerSecond = 20;

Received<FromUplink> parse_from_uplink(Bytes datagram);
Received<ToUplink> parse_to_uplink(Bytes datagram);

// One conversation as the guard hears it: order, sequence, rate, and the descriptors that came with
// each message (one with an offer, else none).
class UplinkSession {
 public:
  Received<FromUplink> on(Bytes datagram, std::size_t descriptors, std::uint64_t boot_ns);
  std::uint64_t last_heard_ns() const { return last_heard_ns_; }  // 0: nothing yet

 private:
  std::uint32_t next_sequence_ = 0;
  std::uint64_t last_heard_ns_ = 0;
  std::uint64_t second_ = 0;
  std::uint32_t in_second_ = 0;
};

}  // namespace weir::wire
