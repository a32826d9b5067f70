// The stage that knows who and where: tables learn from an event, packets and ledgers become flows.
#include <type_traits>

#include "core/line/state.h"
#include "core/policy/limit_table.h"

namespace weir {
namespace {

// Tiers 1 to 3 hold accounts in the kernel; 4 only watches (HostStarted::tier).
constexpr std::uint8_t kLastEnforcingTier = 3;

}  // namespace

Observation Line::State::enrich(const EventBody& body) {
  return std::visit(
      [this](const auto& event) -> Observation {
        using T = std::decay_t<decltype(event)>;
        Observation seen;
        if constexpr (std::is_same_v<T, Packet> || std::is_same_v<T, FlowUsage> ||
                      std::is_same_v<T, FlowHeld>) {
          if constexpr (std::is_same_v<T, FlowHeld>)
            seen =
                flows.on(FlowUsage{event.socket, event.flow, event.bytes_out, event.bytes_in}, at);
          else
            seen = flows.on(event, at);
          if (seen.flow == nullptr) return seen;
          current = &known(seen);
          current->bytes = {seen.flow->record.bytes_out, seen.flow->record.bytes_in};
          if constexpr (std::is_same_v<T, Packet>) {
            note_resolver(event, seen);
          }
          learn(seen);
        } else if constexpr (std::is_same_v<T, ProcessStarted> ||
                             std::is_same_v<T, ProcessExited>) {
          processes.on(event);
        } else if constexpr (std::is_same_v<T, PolicyChanged> ||
                             std::is_same_v<T, ExceptionsChanged>) {
          take(event);
        } else if constexpr (std::is_same_v<T, HostStarted>) {
          live = event.tier >= 1 && event.tier <= kLastEnforcingTier;
          destinations.answers().be_live(live);
        } else if constexpr (std::is_same_v<T, InterfaceSeen>) {
          destinations.answers().on(event);
        } else if constexpr (std::is_same_v<T, Gap>) {
          counters.lost += event.lost;
        }
        return seen;  // AccountSpent, HookRemoved, HoldEnded: judge.cpp. Session: recorded by the
                      // log, judged by nothing yet.
      },
      body);
}

void Line::State::take(const PolicyChanged& changed) {
  if (changed.policy == nullptr) return;
  policy = changed.policy;
  destinations.answers().take(*policy);
  accounts.clear();
  answers.clear();
  answers_policy.mode = policy->mode;
  answers_policy.limits.clear();
  if (policy->defaults.answers > 0 && !policy->limits.empty())
    answers_policy.limits.push_back(answers_limit(*policy));
  judge_again();
  renew_shuts();  // their addresses' prefixes went with the policy
}

JudgedFlow& Line::State::known(const Observation& seen) {
  JudgedFlow& flow = judged[seen.flow->serial];
  if (flow.socket.cookie == 0) flow.socket = seen.flow->socket;
  if (flow.key != seen.flow->record.key) {
    flow.key = seen.flow->record.key;
    if (flow.socket.cookie != 0) serials[flow.key] = seen.flow->serial;
  }
  return flow;
}

// Answers name addresses, and tell the kernel early which limits can't be about a flow to them.
void Line::State::learn(const Observation& seen) {
  if (live && seen.dns != nullptr && destinations.is_resolver_flow(*seen.flow))
    judge_resolver(seen.flow->record.key.server);
  for (std::size_t i = 0; seen.dns != nullptr && i < seen.dns_count; ++i)
    for (const IpAddress& address : destinations.answers().learn(seen, seen.dns[i], at))
      if (live) judge_address(address);
}

// Who gets queries from others serves them: a tunnel through it is not its doing.
void Line::State::note_resolver(const Packet& packet, const Observation& seen) {
  if (seen.dns == nullptr || seen.dns->response || packet.direction != Direction::incoming) return;
  if (packet.socket.tree != 0 && resolver_trees.size() < kMaxResolverTrees)
    resolver_trees.insert(packet.socket.tree);
}

}  // namespace weir
