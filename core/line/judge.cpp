// The stage that decides: facts about flows, findings and spent accounts become verdicts, and those
// become orders to the host and things to tell.
#include <algorithm>
#include <utility>

#include "core/line/state.h"
#include "core/net/domain.h"
#include "core/policy/limit_table.h"

namespace weir {
namespace {

// A lump that waited for its flow's name is charged in packets, as the kernel part would have.
constexpr std::uint64_t kChargeSlice = 1448;

// Headers that count beside the payload: all of a datagram, nothing of a TCP segment.
std::uint64_t charged_bytes(const Observation& seen) {
  const FlowKey& key = seen.flow->record.key;
  if (seen.payload == 0 || key.transport == Transport::tcp) return seen.payload;
  return seen.payload + (key.server.address.is_v4() ? 20u : 40u) + 8u;
}

// The key of an account whose owner is only an address.
std::uint64_t owner_of(const Actor& actor, std::uint64_t id) {
  return id != 0 ? id : IpAddressHash{}(actor.address);
}

bool acts(Action action) {  // worth a report of its own, without a finding
  return action != Action::unspecified && action != Action::allow && action != Action::limit;
}

const Rule* rule_of(const Policy& policy, std::string_view id) {
  const auto found = std::find_if(policy.rules.begin(), policy.rules.end(),
                                  [&](const Rule& rule) { return rule.id == id; });
  return found == policy.rules.end() ? nullptr : &*found;
}

Facts facts_of(const Place& place, Actor actor) {
  Facts facts;
  facts.destination = place.destination;
  facts.approved = place.approved;
  facts.name_proven = place.name_proven;
  facts.actor = std::move(actor);
  return facts;
}

// What a report is about: flows and findings of one service are of one report.
std::string about(const Place& place) {
  const Destination& to = place.destination;
  return to.zone.empty() && !to.service.empty() ? to.service : place.group;
}

// The window of a report is that of its rule's limits, where they have one.
std::int64_t window_of(const Policy& policy, std::string_view id) {
  std::int64_t window = 0;
  for (const Limit& limit : policy.limits)
    if (limit.rule == id) window = std::max(window, limit.window_ns);
  return window > 0 ? window : kReportWindowNs;
}

std::string shown(const Destination& destination, const std::string& group) {
  return !destination.name.empty() ? destination.name : group;
}

}  // namespace

void Line::State::judge(const Event& event, const Observation& seen) {
  if (current != nullptr) {
    JudgedFlow& flow = *current;
    const FlowRecord& record = seen.flow->record;
    const bool settled = seen.named_now || seen.flow->named;
    const bool hopeless = std::holds_alternative<FlowUsage>(event.body) ||
                          std::holds_alternative<FlowHeld>(event.body) || seen.closed ||
                          record.bytes_out + record.bytes_in >= kHopelessBytes;
    if ((settled && !flow.named) || (hopeless && !flow.judged)) {
      flow.named = settled;
      judge_flow(flow, *seen.flow, seen.flow->serial);
    }
    if (simulated() && flow.socket.cookie != 0) {  // a log under another policy: its ledger counts
      const std::uint64_t sent = flow.bytes.out - std::exchange(flow.simulated, flow.bytes.out);
      simulate(flow, seen.flow->serial, simulate_answers(flow, seen.flow->serial, sent));
    } else if (simulated() && seen.direction == Direction::outgoing) {
      simulate(flow, seen.flow->serial, charged_bytes(seen));
    }
  }
  for (const Signal& signal : signals) judge_signal(signal, seen);
  signals.clear();
  if (const auto* spent = std::get_if<AccountSpent>(&event.body)) judge_spent(*spent);
  if (const auto* held = std::get_if<FlowHeld>(&event.body)) judge_held(*held);
  if (const auto* end = std::get_if<HoldEnded>(&event.body)) judge_hold_ended(*end);
  if (const auto* removed = std::get_if<HookRemoved>(&event.body)) judge_removed(*removed);
}

void Line::State::judge_flow(JudgedFlow& flow, const Flow& told_flow, std::uint64_t serial) {
  flow.judged = true;
  flow.place = destinations.place_of(*policy, told_flow, at);
  flow.actor = processes.actor_of(flow.socket, flow.key.client.address);
  Verdict verdict = judge_place(flow, told_flow);
  flow.limits = verdict.limits;
  flow.found = 0;
  flow.shut = shut_of(flow, told_flow);
  if (live && flow.socket.cookie != 0) {
    if (flow.copy == nullptr || flow.copy.get() != &told_flow)
      flow.copy = std::make_unique<Flow>(told_flow);
  }
  classify(flow);
  widen(flow);
  const std::uint64_t refused = std::exchange(flow.refused_rows, 0) & flow.limits;
  for (std::uint32_t row = 0; row < kMaxLimits; ++row)
    if ((refused >> row & 1) != 0) tell_spent(flow, serial, row, flow.refused_spent);
  if (!acts(verdict.decision.action)) return;
  // The kernel says when it has something to hold: most flows to such a place never wait.
  if (verdict.decision.action == Action::hold && verdict.decision.enforced && enforces()) return;
  Told one;
  one.subject = verdict.decision.rule;
  one.about = about(flow.place);
  one.finding.detector = "policy";
  one.finding.severity =
      verdict.severity == Severity::unspecified ? Severity::medium : verdict.severity;
  one.finding.confidence = 100;
  one.finding.because = verdict.decision.because;
  one.destination = flow.place.destination;
  one.destination.name_proven = flow.place.name_proven;
  one.actor = flow.actor;
  one.decision = verdict.decision;
  one.flow = serial;
  one.bytes_out = flow.bytes.out;
  one.bytes_in = flow.bytes.in;
  block(one.decision, one.actor, "", flow.place.key);
  told.push_back(std::move(one));
}

// By the name that the flow says. Where no resolver answered that name for its address, or it says
// none, the names that were answered count as well: a claim brings a flow under a rule, it never
// takes it off one. An outer name of an encrypted hello is such a claim too.
Verdict Line::State::judge_place(JudgedFlow& flow, const Flow& told_flow) {
  Facts facts = facts_of(flow.place, flow.actor);
  const Exception* exception = exception_for(flow.place, flow.actor);
  if (exception != nullptr) facts.excepted = &exception->sets_aside;
  Verdict verdict = evaluate(*policy, facts);
  flow.exception = verdict.excepted ? exception->number : 0;
  const IpAddress& address = flow.key.server.address;
  const std::vector<std::string> answered = destinations.answers().names_at(address, at);
  const std::string& said = flow.place.destination.name;
  const bool says = !told_flow.record.server_name.empty() || !told_flow.http_host.empty();
  if (says && std::find(answered.begin(), answered.end(), said) != answered.end()) return verdict;
  if (answered.empty()) return verdict;
  Flow other = told_flow;
  other.record.server_name.clear();
  other.http_host.clear();
  for (const std::string& name : answered) {
    other.resolved_name = name;
    Place place = destinations.place_of(*policy, other, at);
    place.approved = flow.place.approved;
    place.name_proven = false;  // it did not say this name
    place.via = flow.place.via;
    if (!place.approved) place.destination.trust = place.otherwise;
    Facts claimed = facts_of(place, flow.actor);
    if (exception != nullptr && exception == exception_for(place, flow.actor))
      claimed.excepted = &exception->sets_aside;
    Verdict also = evaluate(*policy, claimed);
    const std::uint64_t limits = verdict.limits | also.limits;
    const bool stricter = also.decision.action > verdict.decision.action;
    if (stricter || limits != verdict.limits) flow.place = std::move(place);
    if (stricter) verdict = std::move(also);
    verdict.limits = limits;
  }
  return verdict;
}

// A verdict that a proof made milder holds only over the network that the proof rests on.
void Line::State::classify(const JudgedFlow& flow) {
  if (!live || flow.socket.cookie == 0) return;
  Classify order{flow.socket.cookie, flow.limits, flow.place.key, flow.place.destination.trust};
  order.exception = flow.exception;
  if (flow.shut != 0) order.destination = flow.shut;
  if (flow.place.via != 0) {
    Place claimed = flow.place;
    claimed.approved = claimed.name_proven = false;
    claimed.destination.trust = claimed.otherwise;
    const std::uint64_t limits = evaluate(*policy, facts_of(claimed, flow.actor)).limits;
    if ((limits & ~flow.limits) != 0) order.via = flow.place.via;
  }
  orders.push_back(order);
}

// Where a finding's bytes went. The flow at hand says more than a detector knows: what is proven,
// whose range it is. What it said is kept for the numbers that come when the flow is gone.
Place Line::State::place_of(const Signal& signal, const JudgedFlow* flow) {
  Place place = destinations.place_of(*policy, signal.destination, signal.key);
  if (!signal.destination.zone.empty()) return place;
  const std::string key = signal.finding.detector + "\n" + signal.key + "\n" +
                          std::to_string(signal.socket.tree) + "\n" + signal.actor.address.text();
  if (flow == nullptr || !flow->judged) {
    const auto kept = signal_places.find(key);
    return kept == signal_places.end() ? place : kept->second;
  }
  const Destination& to = flow->place.destination;
  place.approved = flow->place.approved;
  place.name_proven = flow->place.name_proven;
  place.key = flow->place.key;
  place.destination.trust = to.trust;
  if (place.destination.service.empty()) place.destination.service = to.service;
  if (place.destination.category.empty()) place.destination.category = to.category;
  if (place.destination.name.empty()) place.destination.name = to.name;
  if (signal_places.size() >= kMaxSignalPlaces && !signal_places.contains(key))
    signal_places.clear();  // what comes later is judged by what its detector knows: stricter
  signal_places[key] = place;
  return place;
}

void Line::State::judge_signal(const Signal& signal, const Observation& seen) {
  JudgedFlow* flow = nullptr;
  if (current != nullptr && signal.destination.zone.empty() &&
      signal.destination.endpoint == current->key.server &&
      signal.actor.address == current->key.client.address &&
      signal.socket.tree == current->socket.tree)
    flow = current;
  const Place place = place_of(signal, flow);
  Facts facts = facts_of(place, processes.actor_of(signal.socket, signal.actor.address));
  facts.burst = signal.burst;
  facts.detector = signal.finding.detector;
  Verdict verdict = evaluate(*policy, facts);
  if (flow != nullptr && flow->judged) find_rows(*flow, verdict.limits);
  if (const Exception* exception = exception_for(place, facts.actor)) {
    facts.excepted = &exception->sets_aside;
    verdict = evaluate(*policy, facts);
  }
  // What no rule speaks of is told all the same, unless it went where it may go.
  if (verdict.decision.rule.empty() && place.approved) return;
  if (verdict.decision.action == Action::allow) verdict.decision.action = Action::log;
  Told one;
  one.subject = verdict.decision.rule.empty() ? signal.finding.detector : verdict.decision.rule;
  one.about = about(place);
  one.finding = signal.finding;
  if (verdict.severity != Severity::unspecified) one.finding.severity = verdict.severity;
  one.destination = place.destination;
  one.destination.name_proven = place.name_proven;
  one.actor = facts.actor;
  one.decision = std::move(verdict.decision);
  one.window_ns = window_of(*policy, one.decision.rule);
  one.bytes_out = signal.bytes_out;
  one.bytes_in = signal.bytes_in;
  if (flow != nullptr) one.flow = seen.flow->serial;
  block(one.decision, one.actor, signal.finding.detector, place.key);
  told.push_back(std::move(one));
}

// Says whether the decision is enforced, and orders what the kernel does not do by itself.
void Line::State::block(Decision& decision, const Actor& actor, std::string_view detector,
                        std::uint64_t destination) {
  decision.enforced = decision.enforced && enforces();
  if (!decision.enforced || decision.action < Action::block) return;
  const bool by_dns = detector == "dns_tunnel";
  if (actor.tree == 0 || (by_dns && resolver_trees.contains(actor.tree))) {
    decision.enforced = false;  // nobody to block, or one who serves everybody
    return;
  }
  Block order;
  order.tree = actor.tree;
  order.until_boot_ns = at.boot_ns + kBlockLeaseNs;
  if (decision.action == Action::isolate) {
    order.target = Block::Target::everything;
  } else if (by_dns) {
    order.target = Block::Target::dns;
  } else {
    order.target = Block::Target::destination;
    order.destination = destination;
  }
  orders.push_back(order);
}

void Line::State::judge_spent(const AccountSpent& spent) {
  if (!simulated() && spent.limit == answers_row(*policy)) {
    tell_answers(spent.flow, spent.socket, 0, spent.spent);
    return;
  }
  if (!simulated() && spent.limit == kExceptionsRow) return judge_exception_spent(spent);
  if (!simulated() && spent.limit == kIsolatedRow) return tell_kept_in(spent);
  if (!simulated() && spent.limit == kShutRow) return tell_shut(spent);
  if (!simulated() && spent.limit >= kFamilyRefused && spent.limit <= kFamilySent)
    return tell_family(spent);
  if (simulated() || spent.limit >= policy->limits.size()) {
    ++counters.spent_unknown;
    return;
  }
  const auto serial = serials.find(spent.flow);
  if (serial != serials.end() && judged.at(serial->second).socket.cookie == spent.socket.cookie) {
    // Before it is classified a refusal only delays it: told once the row is known to count.
    JudgedFlow& flow = judged.at(serial->second);
    if (!flow.judged) {
      flow.refused_rows |= std::uint64_t{1} << spent.limit;
      flow.refused_spent = spent.spent;
    } else if ((flow.limits >> spent.limit & 1) != 0) {
      tell_spent(flow, serial->second, spent.limit, spent.spent);
    }
    return;
  }
  JudgedFlow unseen;  // refused before anything of it was heard
  Flow flow;
  flow.record.key = spent.flow;
  unseen.socket = spent.socket;
  unseen.place = destinations.place_of(*policy, flow, at);
  unseen.actor = processes.actor_of(spent.socket, spent.flow.client.address);
  tell_spent(unseen, 0, spent.limit, spent.spent);
}

void Line::State::tell_spent(const JudgedFlow& flow, std::uint64_t serial, std::uint32_t row,
                             std::uint64_t spent) {
  const Limit& limit = policy->limits[row];
  const Rule* rule = rule_of(*policy, limit.rule);
  Told one;
  one.subject = limit.rule;
  one.about = about(flow.place);
  one.spent = true;
  one.finding.detector = "limit";
  one.finding.severity = rule == nullptr || rule->severity == Severity::unspecified
                             ? Severity::medium
                             : rule->severity;
  one.finding.confidence = 100;
  const std::string bytes = std::to_string(limit.bytes.value_or(0));
  const std::string where = shown(flow.place.destination, flow.place.group);
  if (limit.window_ns > 0)
    one.finding.because = {{"limit_spent",
                            {limit.rule, bytes, std::to_string(limit.window_ns / 1'000'000'000),
                             where, std::to_string(spent)}}};
  else
    one.finding.because = {{limit.per == Per::flow ? "limit_flow_spent" : "limit_total_spent",
                            {limit.rule, bytes, where, std::to_string(spent)}}};
  one.destination = flow.place.destination;
  one.destination.name_proven = flow.place.name_proven;
  one.actor = flow.actor;
  one.decision.action = Action::limit;
  one.decision.rule = limit.rule;
  one.decision.policy_number = policy->number;
  one.decision.enforced = enforces();
  one.decision.because = one.finding.because;
  one.window_ns = window_of(*policy, limit.rule);
  one.bytes_out = flow.bytes.out;
  one.bytes_in = flow.bytes.in;
  one.flow = serial;
  told.push_back(std::move(one));
}

// A server of this machine has answered others as much as it may. No rule speaks of that.
void Line::State::tell_answers(const FlowKey& key, const SocketRef& socket, std::uint64_t serial,
                               std::uint64_t spent) {
  const Limit limit = answers_limit(*policy);
  Flow flow;
  flow.record.key = key;
  const Place place = destinations.place_of(*policy, flow, at);
  Told one;
  one.subject = limit.rule;
  one.spent = true;
  one.finding.detector = "limit";
  one.finding.severity = Severity::medium;
  one.finding.confidence = 100;
  one.finding.because = {
      {"answers_spent",
       {std::to_string(*limit.bytes), std::to_string(limit.window_ns / 1'000'000'000),
        shown(place.destination, place.group), std::to_string(spent)}}};
  one.destination = place.destination;
  one.actor = processes.actor_of(socket, key.client.address);
  one.decision.action = Action::limit;
  one.decision.rule = limit.rule;
  one.decision.policy_number = policy->number;
  one.decision.enforced = enforces();
  one.decision.because = one.finding.because;
  one.window_ns = limit.window_ns;
  one.flow = serial;
  told.push_back(std::move(one));
}

// A log under another policy: what the kernel would have charged to its row of answers. A ledger
// counts a socket, not a peer, as the kernel does. Returns what counts as anything else.
std::uint64_t Line::State::simulate_answers(JudgedFlow& flow, std::uint64_t serial,
                                            std::uint64_t bytes) {
  const FlowKey& key = flow.key;
  if (key.transport != Transport::udp || !is_served_port(key.client.port)) return bytes;
  if (key.server.port == 53 || key.server.port == 853) return bytes;
  if (answers_policy.limits.empty() || key.server.address.is_loopback()) return bytes;
  Charge charge;
  charge.limits = 1;
  while (bytes > 0) {
    charge.bytes = std::min(bytes, kChargeSlice);
    if (flow.answered + charge.bytes > flow.bytes.in * kAnswerFactor) return bytes;
    if (const auto refusal = answers.charge(answers_policy, charge, at.boot_ns)) {
      if (!std::exchange(flow.told_answers, true))
        tell_answers(key, flow.socket, serial, refusal->spent);
      return bytes;
    }
    flow.answered += charge.bytes;
    bytes -= charge.bytes;
  }
  return 0;
}

// A capture has no ledger: each packet is charged to the accounts that its flow would have had.
// What is refused had left all the same when it was recorded.
void Line::State::simulate(JudgedFlow& flow, std::uint64_t serial, std::uint64_t bytes) {
  flow.waiting += bytes;
  if (!flow.judged) return;
  const Actor& actor = flow.actor;
  Charge charge;
  charge.tree = owner_of(actor, actor.tree);
  charge.person = owner_of(actor, actor.person == kNoPerson ? 0 : actor.person + std::uint64_t{1});
  charge.destination = flow.place.key;
  charge.limits = flow.key.server.address.is_loopback() ? 0 : flow.limits;
  charge.flow = &flow.charged;
  if (charge.limits == 0) flow.waiting = 0;
  while (flow.waiting > 0) {
    charge.bytes = std::min(flow.waiting, kChargeSlice);
    flow.waiting -= charge.bytes;
    const auto refusal = accounts.charge(*policy, charge, at.boot_ns);
    if (!refusal || (flow.told_rows >> refusal->limit & 1) != 0) continue;
    flow.told_rows |= std::uint64_t{1} << refusal->limit;
    tell_spent(flow, serial, refusal->limit, refusal->spent);
  }
}

// The first flight of a flow there is charged to what could still apply to any of its names.
void Line::State::judge_address(const IpAddress& address) {
  ClassifyAddress order;
  order.address = address;
  for (const std::string& name : destinations.answers().names_at(address, at)) {
    const Place place = destinations.place_of(*policy, address, name);
    Facts facts;
    facts.destination = place.destination;
    order.limits |= possible_limits(*policy, facts);
    order.destination = place.key;  // of the newest name
  }
  if (const std::uint64_t shut = shut_at(address); shut != 0) order.destination = shut;
  const auto more = widened.find(address);
  if (more != widened.end()) order.limits |= more->second;
  order.until_boot_ns = at.boot_ns + kAnswerGraceNs;
  orders.push_back(order);
}

// Anybody can let a name of their own lead to an upload service's address, and so take its first
// flights off the limits for uploads. The first flow there that comes under such a limit all the
// same puts it back.
void Line::State::widen(const JudgedFlow& flow) {
  if (!live || flow.limits == 0) return;
  const IpAddress& address = flow.key.server.address;
  std::uint64_t narrowed = 0;
  bool any = false;
  for (const std::string& name : destinations.answers().names_at(address, at)) {
    Facts facts;
    facts.destination = destinations.place_of(*policy, address, name).destination;
    narrowed |= possible_limits(*policy, facts);
    any = true;
  }
  const auto known = widened.find(address);
  if (known != widened.end()) narrowed |= known->second;
  if (!any || (flow.limits & ~narrowed) == 0) return;
  if (widened.size() >= kMaxWidened) widened.clear();
  widened[address] |= flow.limits;
  judge_address(address);
}

// Looking names up must not depend on an account for uploads or unknown places.
void Line::State::judge_resolver(const Endpoint& resolver) {
  if (resolvers_told.size() >= kMaxResolversTold) resolvers_told.clear();
  std::int64_t& again = resolvers_told[resolver.address];
  if (at.boot_ns < again) return;
  again = at.boot_ns + kAnswerGraceNs / 2;
  ClassifyAddress order;
  order.address = resolver.address;
  order.limits = limits_of_questions(*policy, resolver.address,
                                     destinations.answers().resolvers().worth(resolver.address));
  order.destination = destination_key(network_of(resolver.address));
  order.until_boot_ns = at.boot_ns + kAnswerGraceNs;
  orders.push_back(order);
}

// A new policy: what is open is judged by it at once, in the order in which it was opened.
void Line::State::judge_again() {
  resolvers_told.clear();
  widened.clear();
  std::vector<std::uint64_t> order = judged.keys();
  std::sort(order.begin(), order.end());
  for (std::uint64_t serial : order) {
    JudgedFlow& flow = judged.at(serial);
    if (!flow.judged) continue;
    flow.told_rows = 0;
    if (flow.copy == nullptr) {
      flow.judged = flow.named = false;  // judged at its next packet
      continue;
    }
    const Flow copy = *flow.copy;
    judge_flow(flow, copy, serial);
  }
}

}  // namespace weir
