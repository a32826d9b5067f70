// Flows that wait for an answer: what is told of them, when they begin to and when they end. That
// they wait, and that it ends, is the kernel's and the guard's doing.
#include <algorithm>
#include <string>
#include <vector>

#include "core/line/state.h"

namespace weir {
namespace {

Reason what_happened(const HoldEnded& ended) {
  switch (ended.how) {
    case HoldEnded::How::answered:
      return {"hold_answered", {std::to_string(ended.by), std::string(ended.because)}};
    case HoldEnded::How::let_go:
      return {"hold_let_go", {}};
    case HoldEnded::How::too_many:
      return {"hold_too_many", {std::to_string(kMaxHeldOfPerson)}};
    case HoldEnded::How::closed:
      break;
  }
  return {"hold_closed", {}};
}

}  // namespace

// One that its verdict has taken off the row meanwhile, or whose verdict was lost, is told it
// again.
void Line::State::judge_held(const FlowHeld& held) {
  if (current == nullptr || !current->judged) return;
  const auto serial = serials.find(current->key);
  if (held.limit >= policy->limits.size() || (current->limits >> held.limit & 1) == 0)
    return classify(*current);
  tell_hold(*current, serial == serials.end() ? 0 : serial->second, held.limit, {});
}

void Line::State::judge_hold_ended(const HoldEnded& end) {
  if (end.limit >= policy->limits.size() || !is_hold(policy->limits[end.limit])) return;
  const std::vector<Reason> more{what_happened(end)};
  const auto serial = serials.find(end.flow);
  if (serial != serials.end()) {
    const JudgedFlow& flow = judged.at(serial->second);
    if (flow.judged && flow.socket.cookie == end.socket.cookie)
      return tell_hold(flow, serial->second, end.limit, more);
  }
  // Closed before its end was heard of, or of an engine before this one: by what was told of it.
  const auto before = held_flows.find(end.socket.cookie);
  if (before != held_flows.end()) return tell_hold(before->second, 0, end.limit, more);
  JudgedFlow unseen;
  Flow flow;
  flow.record.key = end.flow;
  unseen.key = end.flow;
  unseen.socket = end.socket;
  unseen.place = destinations.place_of(*policy, flow, at);
  unseen.actor = processes.actor_of(end.socket, end.flow.client.address);
  tell_hold(unseen, 0, end.limit, more);
}

void Line::State::tell_hold(const JudgedFlow& flow, std::uint64_t serial, std::uint32_t row,
                            const std::vector<Reason>& more) {
  const Limit& limit = policy->limits[row];
  const auto rule = std::find_if(policy->rules.begin(), policy->rules.end(),
                                 [&](const Rule& one) { return one.id == limit.rule; });
  if (rule == policy->rules.end() || !rule->hold) return;
  const Destination& to = flow.place.destination;
  Told one;
  one.subject = limit.rule;
  one.about = to.zone.empty() && !to.service.empty() ? to.service : flow.place.group;
  one.at_once = !more.empty();
  one.finding.detector = "policy";
  one.finding.severity =
      rule->severity == Severity::unspecified ? Severity::medium : rule->severity;
  one.finding.confidence = 100;
  one.finding.because = more;
  one.finding.because.push_back(
      {rule->hold->otherwise == Action::allow ? "held_then_goes" : "held_then_closed",
       {limit.rule, to.name.empty() ? flow.place.group : to.name,
        std::to_string(rule->hold->for_ns / 1'000'000'000)}});
  one.destination = to;
  one.destination.name_proven = flow.place.name_proven;
  one.actor = flow.actor;
  one.decision.action = Action::hold;
  one.decision.rule = limit.rule;
  one.decision.policy_number = policy->number;
  one.decision.enforced = enforces();
  one.decision.because = one.finding.because;
  one.bytes_out = flow.bytes.out;
  one.bytes_in = flow.bytes.in;
  one.flow = serial;
  told.push_back(std::move(one));
  if (!more.empty()) {
    held_flows.erase(flow.socket.cookie);
  } else if (held_flows.size() < kMaxHeldFlows) {
    JudgedFlow& kept = held_flows[flow.socket.cookie];
    kept.key = flow.key;
    kept.socket = flow.socket;
    kept.place = flow.place;
    kept.actor = flow.actor;
    kept.bytes = flow.bytes;
  }
}

}  // namespace weir
