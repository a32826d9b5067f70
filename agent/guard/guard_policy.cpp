// The guard: a policy that a collector offers comes into force, or is refused and why. See guard.h.
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "agent/guard/descriptors.h"
#include "agent/guard/guard.h"
#include "core/base/fixed_text.h"
#include "core/base/sha256.h"
#include "core/policy/explain.h"
#include "platform/files/passing.h"
#include "platform/linux/boot_clock.h"

namespace weir {
namespace {

using State = wire::PolicyStateMessage::State;

constexpr int kSend = MSG_DONTWAIT | MSG_NOSIGNAL;

std::vector<std::pair<Prefix, weir_prefix>> prefixes_of(const FlatPolicy& policy) {
  std::vector<std::pair<Prefix, weir_prefix>> prefixes;
  for (const FlatPrefix& row : policy.prefixes) {
    Prefix prefix;
    std::copy_n(row.key.address, prefix.address.bytes.size(), prefix.address.bytes.begin());
    prefix.length = static_cast<std::uint8_t>(row.key.length);
    prefixes.emplace_back(prefix, row.value);
  }
  return prefixes;
}

}  // namespace

void Guard::hear_uplink(Spawner& spawner, std::uint64_t now) {
  std::optional<UplinkLink::Offer> offer = uplink_.hear(spawner, now);
  if (!offer) return;
  if (const auto* command = std::get_if<wire::OfferCommand>(&offer->message))
    return hear_command(spawner, *command, std::move(offer->bytes), now);
  if (const auto* trust = std::get_if<wire::OfferTrust>(&offer->message))
    return hear_trust(spawner, *trust, std::move(offer->bytes), now);
  const auto& policy = std::get<wire::OfferPolicy>(offer->message);
  offered_ns_ = now;
  if (!offer->bytes) {
    wire::Refusal why = policy.envelope_size > kMaxEnvelopeBytes ? wire::Refusal::too_large
                                                                 : wire::Refusal::damaged;
    return refuse({why, 0, offer->bytes.error().sentence});
  }
  if (auto refused = offers_->begin(policy, std::move(*offer->bytes), spawner, now))
    refuse(*refused);
}

void Guard::take_compiled(int status, std::uint64_t) {
  if (!offers_ || !offers_->busy()) return;
  OfferOutcome outcome = offers_->ended(status, group_policy());
  if (!outcome) return refuse(outcome.error());
  const std::uint32_t number = outcome->view.header->number;
  if (crashed_ && sha256(outcome->envelope.bytes()) == crashed_->digest)
    return refuse({wire::Refusal::crashed, number, ""});
  if (auto can = check_host(outcome->view.flat, host_has()); !can)
    return refuse({wire::Refusal::host_lacks, number, can.error().sentence});
  if (auto swapped = swap(std::move(*outcome)); !swapped)
    return refuse({wire::Refusal::failed, number, swapped.error().sentence});
  ++counters_.policies;
  refused_ = {};
  floor_told_ = false;
  end_after_crashes();
  since_wall_s_ = wall_s();
  expired_ = false;
  fmt::print(stderr, "weir-guard: policy {} is in force, {:.1f} ms after it was offered\n", number,
             static_cast<double>(boot_now_ns() - offered_ns_) / 1e6);
  keep_policy();
  tell_policy_state();
}

HostHas Guard::host_has() const {
  return {kernel_.programs(), has_floor_, keeps_, floor_problem_};
}

// A device came whose frames nothing counts, or it is gone, or holds now: the policy in force asks
// for more than the host has, which is told as of any policy that does.
void Guard::tell_floor() {
  const bool lacks = !floor_problem_.empty() && needs_floor(policy_.flat);
  if (!lacks && !floor_told_) return;
  if (refused_.why != wire::Refusal::none && !floor_told_) return;  // that is told, and stands
  floor_told_ = lacks;
  refused_ = {};
  if (auto can = check_host(policy_.flat, host_has()); !can)
    refused_ = {wire::Refusal::host_lacks, policy_.flat.header->policy_number,
                can.error().sentence};
  tell_policy_state();
}

Result<void> Guard::swap(AcceptedPolicy accepted) {
  const FlatPolicy& next = accepted.view.flat;
  const std::vector<std::pair<Prefix, weir_prefix>> prefixes = prefixes_of(next);
  weir_state state = next.header->state;
  if (auto set = kernel_.set_refuges(refuges_of(next)); !set) return set;
  if (!session_ || !session_->ready()) state.verdict_wait_ns = 0;
  hear_told(boot_now_ns());  // refusals under the rows of before
  const std::vector<weir_limit> rows = rows_of(next);
  if (auto replaced = kernel_.replace({rows, prefixes, state}); !replaced) return replaced;
  if (kept_) kept_->due = true;  // accounts at another pace are listed anew
  state_ = kernel_.state();
  *leases_ = AddressLeases();  // their prefixes are gone
  policy_.flat = next;
  lease_places(boot_now_ns());  // but for these
  adopt_holds(boot_now_ns());
  watch_interfaces();
  policy_.policy_fd = accepted.policy.fd();
  policy_.accepted = std::move(accepted);
  if (running_ && session_) {
    session_->give(next.header->policy_number, policy_.flat.rows());
    to_give_ = true;
    give_policy();
  }
  return {};
}

void Guard::give_policy() {
  if (engine_ < 0 || !session_ || !session_->ready()) return;
  wire::PolicyGiven message;
  message.number = policy_.flat.header->policy_number;
  message.size = static_cast<std::uint32_t>(policy_.accepted->policy.bytes().size());
  Bytes bytes = wire::seal(message, sequence_);
  to_give_ = !send_with(engine_, bytes, policy_.policy_fd, kSend);
  if (to_give_) --sequence_;  // its queue is full: in a moment
}

GroupPolicy Guard::group_policy() const {
  if (!policy_.accepted) return {};
  return {std::string(policy_.accepted->view.target()), policy_.flat.header->policy_number};
}

// `weir run` writes it to the disk. One that could not be kept is in force until the guard ends.
void Guard::keep_policy() {
  KeptPolicy kept;
  kept.magic = kKeptMagic;
  kept.keep_on_exit = policy_.flat.header->keep;
  kept.offer = policy_.accepted->offer;
  kept.trust_number = offers_->trust().number;
  kept.number = policy_.flat.header->policy_number;
  kept.digest = sha256(policy_.accepted->envelope.bytes());
  if (!send_with(fds::kKeep, {reinterpret_cast<const std::uint8_t*>(&kept), sizeof kept},
                 policy_.accepted->envelope.fd(), kSend))
    fmt::print(stderr, "weir-guard: policy {} could not be handed over to be kept\n",
               policy_.flat.header->policy_number);
}

void Guard::refuse(const OfferRefused& refused) {
  ++counters_.refusals;
  floor_told_ = false;
  refused_ = refused;
  Reason reason;
  reason.code = wire::code_of(refused.why);
  if (!refused.words.empty()) reason.args.push_back(refused.words);
  fmt::print(stderr, "weir-guard: an offered policy is refused ({}): {}\n",
             refused.number != 0 ? fmt::format("number {}", refused.number) : "number unknown",
             explain(reason, Language::english));
  tell_policy_state();
}

void Guard::tell_policy_state() {
  wire::PolicyStateMessage message;
  State state = policy_.accepted ? State::effective : State::built_in;
  if (expired_) state = State::expired;
  if (refused_.why != wire::Refusal::none) state = State::refused;
  message.state = static_cast<std::uint32_t>(state);
  message.number = policy_.flat.header->policy_number;
  message.since_wall_s = since_wall_s_;
  message.refused_number = refused_.number;
  message.reason = static_cast<std::uint32_t>(refused_.why);
  put_words(message.words, refused_.words);
  if (offers_) {
    message.trust_number = offers_->trust().number;
    put_text(message.group, offers_->trust().group);
    put_text(message.policy_group, group_policy().group);
  }
  message.trust_reason = static_cast<std::uint32_t>(trust_refused_.why);
  put_text(message.trust_words, trust_refused_.words);
  if (policy_.accepted) message.digest = policy_.accepted->view.header->digest;
  uplink_.tell(message);
}

// A lease must not take the policy's own row with it when it ends.
bool Guard::is_policys_own(const Prefix& prefix) const {
  return std::any_of(
      policy_.flat.prefixes.begin(), policy_.flat.prefixes.end(), [&](const FlatPrefix& row) {
        return row.key.length == prefix.length &&
               std::memcmp(row.key.address, prefix.address.bytes.data(), sizeof row.key.address) ==
                   0;
      });
}

}  // namespace weir
