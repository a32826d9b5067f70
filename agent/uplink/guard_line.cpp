// The uplink's end of its line to the guard: see guard_line.h.
#include "agent/uplink/guard_line.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/command_id.h"
#include "core/base/fixed_text.h"
#include "platform/files/passing.h"
#include "weir/v1/agent.pb.h"

namespace weir {

bool UplinkGuardLine::beat(std::uint64_t boot_ns) {
  wire::UplinkBeat beat;
  beat.boot_ns = boot_ns;
  return send_with(fd_, wire::seal(beat, sequence_), -1, MSG_NOSIGNAL);
}

namespace {

template <class Signatures, class Offer>
void copy_signatures(const Signatures& signatures, Offer& offer) {
  for (const v1::PolicySignature& signature : signatures) {
    wire::OfferedSignature& out = offer.signature[offer.signatures];
    if (signature.key_id().size() != out.key.size() ||
        signature.signature().size() != out.signature.size())
      continue;  // no Ed25519: it can't count
    std::copy(signature.key_id().begin(), signature.key_id().end(), out.key.begin());
    std::copy(signature.signature().begin(), signature.signature().end(), out.signature.begin());
    ++offer.signatures;
  }
}

Result<void> check_sizes(const char* what, std::size_t size, std::size_t most, int signatures) {
  if (size == 0 || size > most) return fail(fmt::format("{} of {} bytes: not taken", what, size));
  if (signatures > static_cast<int>(kMaxPolicySignatures))
    return fail(fmt::format("{} with {} signatures: not taken", what, signatures));
  return {};
}

}  // namespace

template <class Offer>
Result<void> UplinkGuardLine::send(Offer& offer, const std::string& bytes) {
  const Fd memory = sealed_memory("weir-offer", bytes_of(bytes));
  if (!memory) return fail(fmt::format("no memory for an offer: {}", std::strerror(errno)));
  if (!send_with(fd_, wire::seal(offer, sequence_), memory.get(), MSG_NOSIGNAL))
    return fail("the guard does not take an offer");
  return {};
}

Result<void> UplinkGuardLine::offer(const v1::SignedPolicy& policy) {
  if (auto sound = check_sizes("a policy", policy.envelope().size(), kMaxEnvelopeBytes,
                               policy.signatures_size());
      !sound)
    return sound;
  wire::OfferPolicy offer;
  offer.envelope_size = policy.envelope().size();
  copy_signatures(policy.signatures(), offer);
  return send(offer, policy.envelope());
}

Result<void> UplinkGuardLine::offer(const v1::Command& command) {
  if (auto sound = check_sizes("a command", command.body().size(), kMaxCommandBytes,
                               command.signatures_size());
      !sound)
    return sound;
  wire::OfferCommand offer;
  if (!command_id_of(command.id(), offer.id)) return fail("a command without an id: not taken");
  offer.body_size = command.body().size();
  copy_signatures(command.signatures(), offer);
  return send(offer, command.body());
}

Result<void> UplinkGuardLine::offer(const v1::SignedTrust& trust) {
  if (auto sound = check_sizes("a set of keys", trust.trust().size(), kMaxTrustSetBytes,
                               trust.signatures_size());
      !sound)
    return sound;
  wire::OfferTrust offer;
  offer.set_size = trust.trust().size();
  copy_signatures(trust.signatures(), offer);
  return send(offer, trust.trust());
}

UplinkGuardLine::Heard UplinkGuardLine::hear() {
  Heard heard;
  std::uint8_t buffer[wire::kUplinkReceiveBuffer];
  ssize_t got = 0;
  do {
    got = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return heard;
  heard.stop = true;
  if (got <= 0) return heard;
  auto message = wire::parse_to_uplink({buffer, static_cast<std::size_t>(got)});
  if (!message) return heard;
  wire::Header header;
  std::memcpy(&header, buffer, sizeof header);
  if (std::holds_alternative<wire::UplinkStop>(*message) || header.sequence != heard_++)
    return heard;
  heard.stop = false;
  heard.any = true;
  if (const auto* state = std::get_if<wire::PolicyStateMessage>(&*message)) heard.state = *state;
  if (const auto* outcome = std::get_if<wire::CommandOutcomeMessage>(&*message))
    heard.outcome = *outcome;
  if (const auto* facts = std::get_if<wire::HostFactsMessage>(&*message)) heard.facts = *facts;
  return heard;
}

namespace {

void add_reason(v1::Reason& why, std::string_view code, const std::string& words) {
  why.set_code(std::string(code));
  if (!words.empty()) why.add_args(words);
}

}  // namespace

void to_proto(const wire::PolicyStateMessage& state, v1::PolicyState& out) {
  out.set_number(state.number);
  if (std::any_of(state.digest.begin(), state.digest.end(), [](auto byte) { return byte != 0; }))
    out.set_digest(state.digest.data(), state.digest.size());
  out.set_state(static_cast<v1::PolicyState::State>(state.state));
  out.mutable_since()->set_seconds(state.since_wall_s);
  out.set_refused_number(state.refused_number);
  out.set_trust_number(state.trust_number);
  out.set_group(text_of(state.group));
  out.set_policy_group(text_of(state.policy_group));
  auto reason = static_cast<wire::Refusal>(state.reason);
  if (reason != wire::Refusal::none)
    add_reason(*out.add_why(), wire::code_of(reason), text_of(state.words));
  auto trust = static_cast<wire::TrustRefusal>(state.trust_reason);
  if (trust != wire::TrustRefusal::none)
    add_reason(*out.add_why(), wire::code_of(trust), text_of(state.trust_words));
}

void to_proto(const wire::CommandOutcomeMessage& outcome, v1::CommandResult& out) {
  out.set_id(text_of_command_id(outcome.id));
  out.set_outcome(static_cast<v1::CommandResult::Outcome>(outcome.outcome));
  auto reason = static_cast<wire::CommandRefusal>(outcome.reason);
  if (reason != wire::CommandRefusal::none)
    add_reason(*out.add_why(), wire::code_of(reason), text_of(outcome.words));
  if (outcome.again != 0) out.add_why()->set_code("command_done_before");
}

namespace {

void put_block(const wire::HostFactsMessage::Lease& held, v1::Lease& lease) {
  lease.set_action(v1::Action::block);
  if (held.person != wire::HostFactsMessage::kEverybody)
    lease.mutable_person()->mutable_user()->set_uid(held.person);
  if (held.by_name != 0)
    lease.mutable_destination()->set_name(text_of(held.to));
  else
    lease.mutable_destination()->set_address(text_of(held.to));
  lease.mutable_decision()->set_action(v1::Action::block);
  lease.mutable_decision()->set_rule("block_destination");
  v1::Reason& why = *lease.mutable_decision()->add_because();
  why.set_code("blocked");
  why.add_args(text_of(held.rule));
}

}  // namespace

void to_proto(const wire::HostFactsMessage& facts, v1::HostHealth& out) {
  out.mutable_health()->set_tier(facts.tier);
  for (std::uint32_t n = 0; n < facts.counters; ++n) {
    auto* counter = out.mutable_health()->add_counters();
    counter->set_name(text_of(facts.counter[n].name));
    counter->set_value(facts.counter[n].value);
  }
  for (std::uint32_t n = 0; n < facts.controls; ++n) {
    v1::Control& control = *out.add_controls();
    control.set_control(text_of(facts.control[n].name));
    control.set_state(static_cast<v1::Control::State>(facts.control[n].state));
    control.set_tier(facts.control[n].tier);
  }
  for (std::uint32_t n = 0; n < facts.leases; ++n) {
    const wire::HostFactsMessage::Lease& held = facts.lease[n];
    v1::Lease& lease = *out.add_leases();
    lease.set_id(text_of_command_id(held.id));
    lease.mutable_until()->set_seconds(held.until_wall_s);
    if (held.kind == wire::HostFactsMessage::kBlocks) {
      put_block(held, lease);
      continue;
    }
    if (held.kind != wire::HostFactsMessage::kExcepts) {
      const bool isolates = held.kind == wire::HostFactsMessage::kIsolates;
      const auto action = isolates ? v1::Action::isolate : v1::Action::log;
      lease.set_action(action);
      lease.mutable_decision()->set_action(action);
      const bool crashed = held.kind == wire::HostFactsMessage::kCrashed;
      lease.mutable_decision()->set_rule(isolates ? "isolate" : crashed ? "crashed" : "release");
      v1::Reason& why = *lease.mutable_decision()->add_because();
      why.set_code(isolates ? "isolated" : crashed ? "crashed_observes" : "released");
      if (crashed) continue;
      why.add_args(text_of(held.to));
      continue;
    }
    lease.set_action(v1::Action::allow);
    lease.mutable_person()->mutable_user()->set_uid(held.person);
    if (held.by_name != 0)
      lease.mutable_destination()->set_name(text_of(held.to));
    else
      lease.mutable_destination()->set_address(text_of(held.to));
    lease.mutable_decision()->set_rule(text_of(held.rule));
    lease.set_bytes(held.bytes);
    lease.set_bytes_left(held.left);
  }
}

}  // namespace weir
