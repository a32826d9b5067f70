// The guard: what an administrator asks of this host is done, or refused and why; policy keys that
// follow others. See guard.h.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "agent/guard/guard.h"
#include "core/base/command_id.h"
#include "core/base/fixed_text.h"
#include "core/policy/explain.h"

namespace weir {
namespace {

std::string sentence_of(std::string_view code, const std::string& words) {
  Reason reason;
  reason.code = code;
  if (!words.empty()) reason.args.push_back(words);
  return explain(reason, Language::english);
}

std::string said_of(const CommandEnded& ended) {
  std::string text;
  if (ended.outcome == wire::CommandOutcome::done)
    text = ended.again ? "was done before" : "is done";
  if (ended.why == wire::CommandRefusal::none) return text;
  return text + (text.empty() ? "" : ". ") + sentence_of(wire::code_of(ended.why), ended.words);
}

constexpr std::uint32_t kEffective = 1, kUnavailable = 2;  // Control.State of report.proto
constexpr std::uint32_t kTierBpf = 1, kTierLsm = 2;

}  // namespace

void Guard::hear_command(Spawner& spawner, const wire::OfferCommand& offer,
                         Result<SealedMemory> body, std::uint64_t now) {
  // Memory that is not sealed, or none: the same words as for another size.
  SealedMemory bytes = body ? std::move(*body) : SealedMemory();
  if (auto ended = commands_->begin(offer, std::move(bytes), offers_->trust(), spawner, now))
    carry_out(*ended);
}

void Guard::take_command(int status, std::uint64_t now) {
  if (!commands_ || !commands_->reads()) return;
  const auto next = [this, now](const CommandReading& command, wire::CommandRefusal refused) {
    return next_of(command, refused, now);
  };
  if (auto ended = commands_->read(status, offers_->trust(), wall_s(), now, next))
    carry_out(*ended);
}

CommandNext Guard::next_of(const CommandReading& command, wire::CommandRefusal refused,
                           std::uint64_t now) const {
  if (command.verb == kJoinVerb) {
    if (refused != wire::CommandRefusal::none) return {.why = refused};
    NextGroup next = next_group(offers_->trust(), command, group_policy(), wall_s());
    return {.why = next.why, .trust = std::move(next.trust)};
  }
  if (command.verb == kKillVerb) {
    if (refused != wire::CommandRefusal::none) return {.why = refused};
    return next_kill(command.tree);
  }
  if (command.verb == kBlockVerb) {
    if (refused != wire::CommandRefusal::none) return {.why = refused};
    return next_block(command, now);
  }
  NextTable next =
      next_exceptions(*exceptions_, command, policy_.flat, {wall_s(), now, boot_}, refused);
  return {next.why, std::move(next.words), std::move(next.table), std::nullopt, next.note};
}

// It stands in STATE/trust. What was refused before was of the group before.
void Guard::join(const PolicyTrust& next) {
  fmt::print(stderr,
             "weir-guard: this host is in the group {} now (before: {}); policy {} stays "
             "until the next one of that group, from number {}\n",
             next.group, offers_->trust().group, policy_.flat.header->policy_number,
             next.least_number());
  offers_->take(next);
  refused_ = {};
  tell_policy_state();
}

void Guard::hear_keeper(std::uint64_t now) {
  if (release_ && release_->line.waits()) return hear_release_kept(now);
  if (commands_ && commands_->busy() && !commands_->reads())
    if (auto ended = commands_->kept(
            now, [this](const ExceptionTable& next) { return take_exceptions(next); },
            *exceptions_))
      carry_out(*ended);
  if (!rotation_ || !rotation_->busy() || rotation_->reads()) return;
  std::optional<RotationOutcome> outcome = rotation_->kept(now);
  if (!outcome) return;
  if (!*outcome) return refuse(outcome->error());
  if (policy_.accepted) keep_policy();  // by whose keys it was taken, before those count no longer
  offers_->take(std::move(**outcome));
  trust_refused_ = {};
  fmt::print(stderr, "weir-guard: policy keys number {} count from now on: {} of {} sign\n",
             offers_->trust().number, offers_->trust().threshold, offers_->trust().keys.size());
  tell_policy_state();
}

// It is remembered on the disk, and in the kernel. What the guard itself is to do beside, it does
// here.
void Guard::carry_out(const CommandEnded& ended) {
  const bool now = ended.outcome == wire::CommandOutcome::done && !ended.again;
  if (!now && !ended.again && ended.exceptions) take_answers(*ended.exceptions);
  if (!ended.again && ended.exceptions) tell_host_facts();
  if (now && ended.trust) join(*ended.trust);
  if (now && ended.tree != 0) return tell_ended(kill_tree(ended));
  tell_ended(ended);
}

void Guard::tell_ended(const CommandEnded& ended) {
  const bool now = ended.outcome == wire::CommandOutcome::done && !ended.again;
  if (now && doer_of(ended.verb) == Doer::uplink) tell_host_facts();
  wire::CommandOutcomeMessage message;
  message.id = ended.id;
  message.verb = ended.verb;
  message.outcome = static_cast<std::uint32_t>(ended.outcome);
  message.reason = static_cast<std::uint32_t>(ended.why);
  message.again = ended.again ? 1 : 0;
  put_text(message.words, ended.words);
  uplink_.tell(message);
  fmt::print(stderr, "weir-guard: command {} ({}): {}\n", text_of_command_id(ended.id),
             ended.verb != 0 ? name_of_verb(ended.verb) : "not read", said_of(ended));
  record(ended);
}

// For the audit lane. What is told again only because an answer was lost stands there already.
void Guard::record(const CommandEnded& ended) {
  if (ended.again) return;
  wire::CommandTold told;
  told.id = ended.id;
  told.verb = ended.verb;
  told.outcome = static_cast<std::uint32_t>(ended.outcome);
  told.reason = static_cast<std::uint32_t>(ended.why);
  const PolicyTrust& trust = offers_->trust();
  for (std::size_t n = 0; n < trust.keys.size() && n < kMaxTrustedKeys; ++n)
    if (ended.keys.test(n)) told.key[told.keys++] = trust.keys[n].id;
  put_text(told.asked, ended.asked);
  put_text(told.words, ended.words);
  if (to_record_.size() >= kMaxToRecord) {  // no engine answers; what is lost is counted
    ++counters_.commands_unrecorded;
    return;
  }
  to_record_.push_back(told);
  tell_commands();
}

void Guard::tell_commands() {
  while (!to_record_.empty() && tell(to_record_.front())) to_record_.pop_front();
}

// ---- policy keys --------------------------------------------------------------------------------

void Guard::hear_trust(Spawner& spawner, const wire::OfferTrust& offer, Result<SealedMemory> set,
                       std::uint64_t now) {
  SealedMemory bytes = set ? std::move(*set) : SealedMemory();
  if (auto refused = rotation_->begin(offer, std::move(bytes), offers_->trust(), spawner, now))
    refuse(*refused);
}

void Guard::take_trust(int status, std::uint64_t now) {
  if (!rotation_ || !rotation_->reads()) return;
  if (auto refused = rotation_->read(status, offers_->trust(), wall_s(), now)) refuse(*refused);
}

void Guard::refuse(const TrustRefused& refused) {
  trust_refused_ = refused;
  fmt::print(stderr, "weir-guard: {}\n", sentence_of(wire::code_of(refused.why), refused.words));
  tell_policy_state();
}

// ---- what the collector is told of this host ----------------------------------------------------

void Guard::tell_host_facts() {
  wire::HostFactsMessage facts;
  facts.tier =
      kernel_.has_lsm() ? kTierLsm : kTierBpf;  // without BPF no guard gets here (observer.h)
  for (const KernelProgram& program : kernel_.programs()) {
    if (facts.controls >= facts.control.size()) break;
    wire::HostFactsMessage::Control& control = facts.control[facts.controls++];
    put_text(control.name, program.name);
    control.state = program.attached ? kEffective : kUnavailable;
    control.tier = program.name == kLsmProgram ? kTierLsm : kTierBpf;
  }
  const std::array<std::uint64_t, WEIR_COUNTERS> kernel = kernel_.counters();
  const std::pair<const char*, std::uint64_t> counters[] = {
      {"sockets_destroyed", counters_.destroyed},
      {"verdicts", counters_.classified},
      {"verdicts_without_room", counters_.not_classified},
      {"blocks", counters_.blocks},
      {"engines_started", counters_.engines},
      {"engines_silent", counters_.silent},
      {"uplinks_started", uplink_.counters().started},
      {"policies_taken", counters_.policies},
      {"policies_refused", counters_.refusals},
      {"commands_done", commands_ ? commands_->counters().done : 0},
      {"commands_refused", commands_ ? commands_->counters().refused : 0},
      {"commands_unrecorded", counters_.commands_unrecorded},
      {"releases", counters_.releases},
      {"processes_killed", counters_.killed},
      {"releases_refused", counters_.releases_refused},
      {"packets_charged", kernel[WEIR_COUNT_CHARGED_PACKETS]},
      {"packets_refused", kernel[WEIR_COUNT_REFUSED_PACKETS]},
      {"packets_unattributed", kernel[WEIR_COUNT_UNATTRIBUTED]},
      {"bytes_unattributed", kernel_.wire().unattributed},
      {"ring_lost", kernel[WEIR_COUNT_RING_LOST]},
      {"told_lost", kernel[WEIR_COUNT_TOLD_LOST]},
      {"tasks_full", kernel[WEIR_COUNT_TASKS_FULL]},
      {"accounts_full", kernel[WEIR_COUNT_ACCOUNTS_FULL]},
      {"storage_full", kernel[WEIR_COUNT_STORAGE_FULL]},
      {"kept_in", kernel[WEIR_COUNT_ISOLATED]},
      {"kept_from_blocked", kernel[WEIR_COUNT_SHUT]}};
  static_assert(std::size(counters) <= wire::kMaxFacts);
  for (const auto& [name, value] : counters) {
    wire::HostFactsMessage::Counter& counter = facts.counter[facts.counters++];
    put_text(counter.name, name);
    counter.value = value;
  }
  put_leases(facts);
  uplink_.tell(facts);
}

}  // namespace weir
