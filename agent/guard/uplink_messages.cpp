// What guard and uplink may say to each other: see uplink_messages.h.
#include "agent/guard/uplink_messages.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace weir::wire {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;

template <class M>
constexpr bool plain() {
  return std::is_trivially_copyable_v<M> && std::has_unique_object_representations_v<M> &&
         sizeof(M) <= kMaxUplinkMessage;
}
static_assert(plain<UplinkBeat>() && plain<OfferPolicy>() && plain<OfferCommand>() &&
              plain<OfferTrust>() && plain<PolicyStateMessage>() && plain<UplinkStop>() &&
              plain<CommandOutcomeMessage>() && plain<HostFactsMessage>());

Received<Header> header_of(Bytes datagram) {
  if (datagram.size() > kMaxUplinkMessage) return tl::unexpected(Damage::oversized);
  if (datagram.size() < sizeof(Header)) return tl::unexpected(Damage::short_message);
  Header header;
  std::memcpy(&header, datagram.data(), sizeof header);
  if (header.size > datagram.size()) return tl::unexpected(Damage::short_message);
  return header;
}

bool sound(const UplinkBeat&) {
  return true;
}

template <class Offer>
bool sound_offer(const Offer& m, std::uint64_t size) {
  if (size == 0 || m.signatures > kMaxPolicySignatures || m.pad != 0) return false;
  const OfferedSignature none{};
  return std::all_of(m.signature.begin() + m.signatures, m.signature.end(),
                     [&](const OfferedSignature& unused) {
                       return unused.key == none.key && unused.signature == none.signature;
                     });
}

bool sound(const OfferPolicy& m) {
  return sound_offer(m, m.envelope_size);
}
bool sound(const OfferCommand& m) {
  return sound_offer(m, m.body_size);
}
bool sound(const OfferTrust& m) {
  return sound_offer(m, m.set_size);
}

template <std::size_t N>
bool ends(const std::array<char, N>& text) {
  return std::memchr(text.data(), 0, text.size()) != nullptr;
}

bool sound(const PolicyStateMessage& m) {
  return m.state >= 1 && m.state <= 4 && m.reason < kRefusals && ends(m.words) &&
         m.trust_reason < kTrustRefusals && ends(m.trust_words) && ends(m.group) &&
         ends(m.policy_group);
}

bool sound(const CommandOutcomeMessage& m) {
  return m.outcome >= 1 && m.outcome <= 3 && m.reason < kCommandRefusals && m.again <= 1 &&
         ends(m.words);
}

bool sound(const HostFactsMessage& m) {
  if (m.controls > kMaxFacts || m.counters > kMaxFacts || m.leases > kMaxLeases) return false;
  if (!std::all_of(m.lease.begin(), m.lease.end(), [](auto& one) {
        return one.by_name <= 1 && one.kind < HostFactsMessage::kLeaseKinds && one.pad == 0 &&
               ends(one.to) && ends(one.rule);
      }))
    return false;
  return std::all_of(m.control.begin(), m.control.end(),
                     [](auto& one) { return ends(one.name); }) &&
         std::all_of(m.counter.begin(), m.counter.end(), [](auto& one) { return ends(one.name); });
}

bool sound(const UplinkStop&) {
  return true;
}

template <class Variant, class M>
Received<Variant> take(Bytes datagram, const Header& header) {
  if (datagram.size() != sizeof(M) || header.size != sizeof(M))
    return tl::unexpected(Damage::wrong_size);
  M message;
  std::memcpy(&message, datagram.data(), sizeof message);
  if (!sound(message)) return tl::unexpected(Damage::bad_field);
  return Variant(message);
}

}  // namespace

std::string_view code_of(Refusal refusal) {
  constexpr std::array<std::string_view, kRefusals> kCodes{"",
                                                           "policy_unknown_key",
                                                           "policy_threshold",
                                                           "policy_bad_signature",
                                                           "policy_not_newer",
                                                           "policy_expired",
                                                           "policy_not_yet",
                                                           "policy_other_group",
                                                           "policy_damaged",
                                                           "policy_too_large",
                                                           "policy_unenforceable",
                                                           "policy_failed",
                                                           "policy_below_least",
                                                           "policy_crashed",
                                                           "policy_host_lacks"};
  return kCodes[static_cast<std::size_t>(refusal)];
}

std::string_view code_of(CommandRefusal refusal) {
  constexpr std::array<std::string_view, kCommandRefusals> kCodes{"",
                                                                  "command_unknown_key",
                                                                  "command_threshold",
                                                                  "command_bad_signature",
                                                                  "command_damaged",
                                                                  "command_unknown_part",
                                                                  "command_other_host",
                                                                  "command_no_host",
                                                                  "command_expired",
                                                                  "command_not_yet",
                                                                  "command_too_long",
                                                                  "command_not_built",
                                                                  "command_too_many",
                                                                  "command_failed",
                                                                  "command_over_ceiling",
                                                                  "command_unknown_rule",
                                                                  "command_exceptions_full",
                                                                  "command_no_lease",
                                                                  "command_superseded",
                                                                  "command_unprovable",
                                                                  "command_name_unproven",
                                                                  "command_no_tree",
                                                                  "command_protected_tree",
                                                                  "command_tree_left",
                                                                  "command_never_blocked",
                                                                  "command_blocks_full",
                                                                  "command_tree_not_silenced"};
  return kCodes[static_cast<std::size_t>(refusal)];
}

std::string_view code_of(TrustRefusal refusal) {
  constexpr std::array<std::string_view, kTrustRefusals> kCodes{"",
                                                                "trust_unknown_key",
                                                                "trust_threshold",
                                                                "trust_bad_signature",
                                                                "trust_not_next",
                                                                "trust_damaged",
                                                                "trust_failed"};
  return kCodes[static_cast<std::size_t>(refusal)];
}

Received<FromUplink> parse_from_uplink(Bytes datagram) {
  Received<Header> header = header_of(datagram);
  if (!header) return tl::unexpected(header.error());
  switch (static_cast<UplinkKind>(header->kind)) {
    case UplinkKind::beat:
      return take<FromUplink, UplinkBeat>(datagram, *header);
    case UplinkKind::offer_policy:
      return take<FromUplink, OfferPolicy>(datagram, *header);
    case UplinkKind::offer_command:
      return take<FromUplink, OfferCommand>(datagram, *header);
    case UplinkKind::offer_trust:
      return take<FromUplink, OfferTrust>(datagram, *header);
    case UplinkKind::policy_state:
    case UplinkKind::stop:
    case UplinkKind::command_outcome:
    case UplinkKind::host_facts:
      break;  // the other direction
  }
  return tl::unexpected(Damage::unknown_kind);
}

Received<ToUplink> parse_to_uplink(Bytes datagram) {
  Received<Header> header = header_of(datagram);
  if (!header) return tl::unexpected(header.error());
  switch (static_cast<UplinkKind>(header->kind)) {
    case UplinkKind::policy_state:
      return take<ToUplink, PolicyStateMessage>(datagram, *header);
    case UplinkKind::stop:
      return take<ToUplink, UplinkStop>(datagram, *header);
    case UplinkKind::command_outcome:
      return take<ToUplink, CommandOutcomeMessage>(datagram, *header);
    case UplinkKind::host_facts:
      return take<ToUplink, HostFactsMessage>(datagram, *header);
    case UplinkKind::beat:
    case UplinkKind::offer_policy:
    case UplinkKind::offer_command:
    case UplinkKind::offer_trust:
      break;  // the other direction
  }
  return tl::unexpected(Damage::unknown_kind);
}

Received<FromUplink> UplinkSession::on(Bytes datagram, std::size_t descriptors,
                                       std::uint64_t boot_ns) {
  if (std::uint64_t second = boot_ns / kSecondNs; second != second_) {
    second_ = second;
    in_second_ = 0;
  }
  if (++in_second_ > kUplinkMessagesPerSecond) return tl::unexpected(Damage::too_fast);
  Received<FromUplink> message = parse_from_uplink(datagram);
  if (!message) return message;
  Header header;
  std::memcpy(&header, datagram.data(), sizeof header);
  if (header.sequence != next_sequence_) return tl::unexpected(Damage::out_of_turn);
  if (descriptors != (std::holds_alternative<UplinkBeat>(*message) ? 0u : 1u))
    return tl::unexpected(Damage::bad_field);
  ++next_sequence_;
  last_heard_ns_ = boot_ns;
  return message;
}

}  // namespace weir::wire
