// What guard and engine may say to each other: see messages.h.
#include "agent/guard/messages.h"

#include <cstring>
#include <type_traits>

namespace weir::wire {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint32_t kTrusts = 7;              // values of weir::Trust
constexpr std::uint32_t kTargets = 3;             // values of weir::Block::Target
constexpr std::uint32_t kRemovals = kSilent + 1;  // HookRemoved::What

template <class M>
constexpr bool plain() {
  return std::is_trivially_copyable_v<M> && std::has_unique_object_representations_v<M> &&
         sizeof(M) <= kMaxMessage;
}
static_assert(plain<Ready>() && plain<Beat>() && plain<Classify>() && plain<ClassifyAddress>() &&
              plain<Block>() && plain<Forget>() && plain<Process>() && plain<Lost>() &&
              plain<Stop>() && plain<PolicyTaken>() && plain<PolicyGiven>() && plain<Interface>() &&
              plain<CommandTold>() && plain<ExceptionsGiven>() && plain<RequestGiven>() &&
              plain<HookRemoved>() && plain<HoldEnded>());

Received<Header> header_of(Bytes datagram) {
  if (datagram.size() > kMaxMessage) return tl::unexpected(Damage::oversized);
  if (datagram.size() < sizeof(Header)) return tl::unexpected(Damage::short_message);
  Header header;
  std::memcpy(&header, datagram.data(), sizeof header);
  if (header.size > datagram.size()) return tl::unexpected(Damage::short_message);
  return header;
}

template <class M>
Received<M> exactly(Bytes datagram, const Header& header) {
  if (datagram.size() != sizeof(M) || header.size != sizeof(M))
    return tl::unexpected(Damage::wrong_size);
  M message;
  std::memcpy(&message, datagram.data(), sizeof message);
  return message;
}

bool sound(const Ready& m) {
  return m.version == kMessagesVersion;
}
bool sound(const Beat&) {
  return true;
}
bool sound(const Classify& m) {
  return m.cookie != 0 && m.trust < kTrusts && m.pad == 0;
}
bool sound(const Block& m) {
  return m.tree != 0 && m.target < kTargets && m.pad == 0;
}
bool sound(const Forget& m) {
  return m.cookie != 0;
}
bool sound(const Process& m) {
  const weir_exec& e = m.exec;
  return e.record.kind == WEIR_REC_EXEC && e.record.size == sizeof(weir_exec) &&
         std::memchr(e.program, 0, sizeof e.program) != nullptr;
}
bool sound(const Lost& m) {
  return m.counter < WEIR_COUNTERS && m.pad == 0;
}
bool sound(const Stop&) {
  return true;
}
bool sound(const PolicyTaken& m) {
  return m.number != 0 && m.pad == 0;
}
bool sound(const PolicyGiven& m) {
  return m.number != 0 && m.size != 0;
}
bool sound(const ExceptionsGiven& m) {
  return m.size != 0 && m.after_crashes < kAfterCrashes;
}
bool sound(const RequestGiven& m) {
  return m.size != 0 && m.size <= kMaxRequestBytes && m.pad == 0;
}
bool sound(const Interface& m) {
  return m.pad == 0 && m.name.front() != '\0' && m.name.back() == '\0';
}

bool sound(const HookRemoved& m) {
  return m.what < kRemovals && m.count != 0 && m.restored <= 1 && m.pad == 0 && m.open_ns >= 0 &&
         m.name.back() == '\0' && m.problem.back() == '\0';
}

bool sound(const HoldEnded& m) {
  return m.cookie != 0 && m.limit < WEIR_LIMITS && m.how < kHoldEnds && m.flows != 0 &&
         m.size <= kMaxAnswerBytes && m.pad == 0;
}

bool sound(const CommandTold& m) {
  return m.outcome >= 1 && m.outcome <= 3 && m.keys <= m.key.size() && m.asked.back() == '\0' &&
         m.words.back() == '\0';
}

bool sound(const ClassifyAddress& m) {
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  bool v4 = std::memcmp(m.address.data(), kMapped.data(), kMapped.size()) == 0;
  std::uint32_t shortest = v4 ? kMinPrefixV4 : kMinPrefix;
  return m.length >= shortest && m.length <= 128 && m.trust < kTrusts && m.final <= 1 && m.pad == 0;
}

template <class Variant, class M>
Received<Variant> take(Bytes datagram, const Header& header) {
  Received<M> message = exactly<M>(datagram, header);
  if (!message) return tl::unexpected(message.error());
  if (!sound(*message)) return tl::unexpected(Damage::bad_field);
  return Variant(*message);
}

std::uint64_t rows_of(const FromEngine& message) {
  if (const auto* m = std::get_if<Classify>(&message)) return m->limits;
  if (const auto* m = std::get_if<ClassifyAddress>(&message)) return m->limits;
  return 0;
}

}  // namespace

std::string_view name_of(Damage damage) {
  constexpr std::array<std::string_view, kDamages> kNames{
      "oversized", "short_message", "unknown_kind", "wrong_size",
      "bad_field", "out_of_turn",   "too_fast"};
  return kNames[static_cast<std::size_t>(damage)];
}

Received<FromEngine> parse_from_engine(Bytes datagram) {
  Received<Header> header = header_of(datagram);
  if (!header) return tl::unexpected(header.error());
  switch (static_cast<Kind>(header->kind)) {
    case Kind::ready:
      return take<FromEngine, Ready>(datagram, *header);
    case Kind::beat:
      return take<FromEngine, Beat>(datagram, *header);
    case Kind::classify:
      return take<FromEngine, Classify>(datagram, *header);
    case Kind::classify_address:
      return take<FromEngine, ClassifyAddress>(datagram, *header);
    case Kind::block:
      return take<FromEngine, Block>(datagram, *header);
    case Kind::forget:
      return take<FromEngine, Forget>(datagram, *header);
    case Kind::policy_taken:
      return take<FromEngine, PolicyTaken>(datagram, *header);
    case Kind::process:
    case Kind::lost:
    case Kind::stop:
    case Kind::policy:
    case Kind::interface:
    case Kind::command:
    case Kind::exceptions:
    case Kind::request:
    case Kind::removed:
    case Kind::hold_ended:
      break;  // the other direction
  }
  return tl::unexpected(Damage::unknown_kind);
}

Received<FromGuard> parse_from_guard(Bytes datagram) {
  Received<Header> header = header_of(datagram);
  if (!header) return tl::unexpected(header.error());
  switch (static_cast<Kind>(header->kind)) {
    case Kind::process:
      return take<FromGuard, Process>(datagram, *header);
    case Kind::lost:
      return take<FromGuard, Lost>(datagram, *header);
    case Kind::stop:
      return take<FromGuard, Stop>(datagram, *header);
    case Kind::policy:
      return take<FromGuard, PolicyGiven>(datagram, *header);
    case Kind::interface:
      return take<FromGuard, Interface>(datagram, *header);
    case Kind::command:
      return take<FromGuard, CommandTold>(datagram, *header);
    case Kind::exceptions:
      return take<FromGuard, ExceptionsGiven>(datagram, *header);
    case Kind::request:
      return take<FromGuard, RequestGiven>(datagram, *header);
    case Kind::removed:
      return take<FromGuard, HookRemoved>(datagram, *header);
    case Kind::hold_ended:
      return take<FromGuard, HoldEnded>(datagram, *header);
    case Kind::ready:
    case Kind::beat:
    case Kind::classify:
    case Kind::classify_address:
    case Kind::block:
    case Kind::forget:
    case Kind::policy_taken:
      break;  // the other direction
  }
  return tl::unexpected(Damage::unknown_kind);
}

void EngineSession::give(std::uint32_t number, std::uint64_t known_rows) {
  given_ = number;
  known_rows_ = known_rows;
}

Received<FromEngine> EngineSession::on(Bytes datagram, std::uint64_t boot_ns) {
  if (std::uint64_t second = boot_ns / kSecondNs; second != second_) {
    second_ = second;
    in_second_ = 0;
  }
  if (++in_second_ > kMessagesPerSecond) return tl::unexpected(Damage::too_fast);
  Received<FromEngine> message = parse_from_engine(datagram);
  if (!message) return message;
  Header header;
  std::memcpy(&header, datagram.data(), sizeof header);
  bool is_ready = std::holds_alternative<Ready>(*message);
  if (header.sequence != next_sequence_ || is_ready == ready_)
    return tl::unexpected(Damage::out_of_turn);
  if (const auto* taken = std::get_if<PolicyTaken>(&*message)) {
    if (taken->number != given_) return tl::unexpected(Damage::out_of_turn);
    given_ = 0;
  }
  if (is_taken() && (rows_of(*message) & ~known_rows_) != 0)
    return tl::unexpected(Damage::bad_field);
  ++next_sequence_;
  ready_ = true;
  last_heard_ns_ = boot_ns;
  return message;
}

}  // namespace weir::wire
