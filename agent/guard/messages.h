// What guard and engine may say to each other: a fixed table of messages over a SOCK_SEQPACKET
// pair. The guard has rights and the engine reads foreign bytes, so whatever is oversized, short,
// unknown, out of turn or too fast ends the engine (it is started again); the kernel's bound stays.
// Pure: no descriptor is touched here. Fuzzed (tests/fuzz/guard_messages.cpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

#include "core/base/bytes.h"
#include "platform/linux/bpf/weir_abi.h"

namespace weir::wire {

inline constexpr std::uint16_t kMessagesVersion = 7;

enum class Kind : std::uint16_t {
  // engine → guard
  ready = 1,         // sealed, policy read, the line runs; first, and once
  beat,              // alive; at least every kBeatNs
  classify,          // a verdict: which limits a socket is charged to
  classify_address,  // the same for every socket towards a prefix, for a while
  block,             // a process tree loses a target, for a while
  forget,            // a classified socket closed: its verdict is not needed any more
  policy_taken,      // the line runs by the policy that `policy` brought: verdicts are of its rows
  // guard → engine (refusals are in the ring, which the engine reads itself)
  process = 64,  // a process found at start
  lost,          // records that did not reach a ring, by counter
  stop,          // finish: flush the last revisions and exit
  policy,        // another is in force: weir.v1.Policy is the one descriptor that comes with it
  interface,     // one that the policy's networks name: its index now
  command,       // a command that was carried out or refused: for the audit lane
  exceptions,    // all that hold: an ExceptionTable is the one descriptor that comes with it
  request,       // a person asks for one: weir.v1.ExceptionRequest is the descriptor, likewise
  removed,       // a hook or pins of the kernel part that somebody took away
  hold_ended,    // a flow waits no more; what was answered, if it was, is the descriptor
};

// Starts every message. Both ends run on one host: native byte order.
struct Header {
  std::uint16_t kind = 0;
  std::uint16_t size = 0;      // of the whole message, header included
  std::uint32_t sequence = 0;  // 0, 1, 2 … in each direction
};

struct Ready {
  static constexpr Kind kKind = Kind::ready;
  Header header;
  std::uint32_t version = kMessagesVersion;
  std::uint32_t policy_number = 0;
};

struct Beat {
  static constexpr Kind kKind = Kind::beat;
  Header header;
  std::uint64_t boot_ns = 0;
};

struct Classify {
  static constexpr Kind kKind = Kind::classify;
  Header header;
  std::uint64_t cookie = 0;  // never 0
  std::uint64_t limits = 0;
  std::uint64_t destination = 0;
  std::uint32_t trust = 0;
  std::uint32_t via = 0;  // index of the interface that it rests on, 0: none
  // Exception whose account counts beside `limits`, 0: none. One that has ended voids the verdict.
  std::uint32_t exception = 0;
  std::uint32_t pad = 0;
};

struct ClassifyAddress {
  static constexpr Kind kKind = Kind::classify_address;
  Header header;
  std::array<std::uint8_t, 16> address{};
  std::uint32_t length = 0;  // bits, kMinPrefix..128
  std::uint32_t trust = 0;
  std::uint64_t limits = 0;
  std::uint64_t destination = 0;
  std::uint64_t until_boot_ns = 0;
  std::uint32_t final = 0;  // 1: the address alone decides, no verdict is awaited
  std::uint32_t pad = 0;
};

struct Block {
  static constexpr Kind kKind = Kind::block;
  Header header;
  std::uint64_t tree = 0;  // never 0: the engine can't block the unattributed, or the host
  std::uint64_t destination = 0;
  std::uint64_t until_boot_ns = 0;
  std::uint32_t target = 0;  // weir::Block::Target
  std::uint32_t pad = 0;
};

struct Forget {
  static constexpr Kind kKind = Kind::forget;
  Header header;
  std::uint64_t cookie = 0;  // never 0
};

struct PolicyTaken {
  static constexpr Kind kKind = Kind::policy_taken;
  Header header;
  std::uint32_t number = 0;
  std::uint32_t pad = 0;
};

struct PolicyGiven {
  static constexpr Kind kKind = Kind::policy;
  Header header;
  std::uint32_t number = 0;
  std::uint32_t size = 0;  // of the sealed memory
};

struct Process {
  static constexpr Kind kKind = Kind::process;
  Header header;
  weir_exec exec{};
};

struct Lost {
  static constexpr Kind kKind = Kind::lost;
  Header header;
  std::uint32_t counter = 0;  // enum weir_counter
  std::uint32_t pad = 0;
  std::uint64_t lost = 0;  // since the last message about this counter
};

struct Interface {
  static constexpr Kind kKind = Kind::interface;
  Header header;
  std::uint32_t index = 0;  // 0: it is not there
  std::uint32_t pad = 0;
  std::array<char, 16> name{};  // IFNAMSIZ, filled up with zeros

  std::string_view text() const { return {name.data(), std::strlen(name.data())}; }
};

// Numbers as agent.proto has them; the words are for people, printable, NUL-terminated.
struct CommandTold {
  static constexpr Kind kKind = Kind::command;
  Header header;
  std::array<std::uint8_t, 16> id{};
  std::uint32_t verb = 0;     // 0: nobody has read it
  std::uint32_t outcome = 0;  // CommandOutcome of uplink_messages.h
  std::uint32_t reason = 0;   // CommandRefusal
  std::uint32_t keys = 0;     // whose signatures counted
  std::array<std::array<std::uint8_t, 8>, 8> key{};
  std::array<char, 96> asked{};
  std::array<char, 64> words{};  // the reason's argument
};

inline constexpr std::uint32_t kAfterCrashes = 3;  // values of AfterCrashes (crashes.h)
struct ExceptionsGiven {
  static constexpr Kind kKind = Kind::exceptions;
  Header header;
  std::uint32_t size = 0;  // of the sealed memory
  std::uint32_t after_crashes = 0;
};

struct RequestGiven {
  static constexpr Kind kKind = Kind::request;
  Header header;
  std::uint32_t size = 0;  // likewise
  std::uint32_t pad = 0;
};
inline constexpr std::size_t kMaxRequestBytes = 16384;  // 1000 characters, and names

inline constexpr std::uint32_t kMoreRemoved = 3, kSilent = 4;  // weir::HookRemoved::What
struct HookRemoved {
  static constexpr Kind kKind = Kind::removed;
  Header header;
  std::uint32_t what = 0;      // weir::HookRemoved::What
  std::uint32_t count = 0;     // never 0
  std::uint32_t restored = 0;  // 0 or 1
  std::uint32_t pad = 0;
  std::int64_t open_ns = 0;  // never negative
  std::uint64_t sent = 0;
  std::array<char, 64> name{};      // NUL-terminated
  std::array<char, 160> problem{};  // likewise
};

inline constexpr std::uint32_t kHoldEnds = 4;         // values of weir::HoldEnded::How
inline constexpr std::size_t kMaxAnswerBytes = 4000;  // 1000 characters
struct HoldEnded {
  static constexpr Kind kKind = Kind::hold_ended;
  Header header;
  weir_tuple tuple{};
  std::uint64_t cookie = 0;
  std::uint64_t tree = 0;
  std::uint64_t destination = 0;
  std::uint32_t person = 0;
  std::uint32_t pid = 0;
  std::uint32_t limit = 0;  // row
  std::uint32_t how = 0;    // weir::HoldEnded::How
  std::uint32_t flows = 1;  // that waited for the same answer; never 0
  std::uint32_t by = 0;     // who answered
  std::uint32_t size = 0;  // of what they said, in the sealed memory that comes along; 0: none does
  std::uint32_t pad = 0;
};

struct Stop {
  static constexpr Kind kKind = Kind::stop;
  Header header;
};

using FromEngine = std::variant<Ready, Beat, Classify, ClassifyAddress, Block, Forget, PolicyTaken>;
using FromGuard = std::variant<Process, Lost, Stop, PolicyGiven, Interface, CommandTold,
                               ExceptionsGiven, RequestGiven, HookRemoved, HoldEnded>;

// The largest message of the table. A receive buffer has one byte more, so that an oversized
// datagram is seen and not cut to something that parses.
inline constexpr std::size_t kMaxMessage = sizeof(Process);
inline constexpr std::size_t kReceiveBuffer = kMaxMessage + 1;

inline constexpr std::uint64_t kBeatNs = 1'000'000'000;
// An engine that is silent this long hangs: killed and started again. Five beats: the machine may
// be busy, and nothing leaves unbounded meanwhile.
inline constexpr std::uint64_t kSilentNs = 5 * kBeatNs;

// A verdict per flow: a desk opens a few hundred a second at worst, a crawler a few thousand.
inline constexpr std::uint32_t kMessagesPerSecond = 20'000;

// Shorter prefixes would let one message name half the internet; /24 and /48 are what the engine
// keys unnamed destinations by (v4-mapped: 96 + 24).
inline constexpr std::uint32_t kMinPrefix = 48;
inline constexpr std::uint32_t kMinPrefixV4 = 96 + 24;

// Leases the guard grants at most this long; the engine asks again while the reason lasts.
inline constexpr std::uint64_t kMaxLeaseNs = 3600ull * 1'000'000'000;

enum class Damage : std::uint8_t {
  oversized,
  short_message,
  unknown_kind,
  wrong_size,
  bad_field,
  out_of_turn,
  too_fast
};
inline constexpr std::size_t kDamages = 7;
std::string_view name_of(Damage damage);

template <class T>
using Received = tl::expected<T, Damage>;

// One datagram by itself: kind, exact size, fields that no state is needed to judge.
Received<FromEngine> parse_from_engine(Bytes datagram);
Received<FromGuard> parse_from_guard(Bytes datagram);

// One conversation as the guard hears it: order, sequence, rate, rows that exist.
class EngineSession {
 public:
  explicit EngineSession(std::uint64_t known_rows) : known_rows_(known_rows) {}
  Received<FromEngine> on(Bytes datagram, std::uint64_t boot_ns);
  bool ready() const { return ready_; }
  std::uint64_t last_heard_ns() const { return last_heard_ns_; }

  // Another policy was put in force and given to the engine. Until it has taken it, what it says
  // about rows is of the former one, and counts for nothing.
  void give(std::uint32_t number, std::uint64_t known_rows);
  bool is_taken() const { return given_ == 0; }

 private:
  std::uint32_t given_ = 0;   // number of a policy that was not taken yet
  std::uint64_t known_rows_;  // bit n: row n of the limit table is in use
  std::uint32_t next_sequence_ = 0;
  bool ready_ = false;
  std::uint64_t last_heard_ns_ = 0;
  std::uint64_t second_ = 0;  // the second that `in_second_` counts
  std::uint32_t in_second_ = 0;
};

// Fills the header; the message is then sent as its bytes.
template <class M>
Bytes seal(M& message, std::uint32_t& sequence) {
  message.header = {static_cast<std::uint16_t>(M::kKind), sizeof(M), sequence++};
  return {reinterpret_cast<const std::uint8_t*>(&message), sizeof(M)};
}

}  // namespace weir::wire
