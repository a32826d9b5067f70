// Exceptions of persons, as the line applies them: to whose flows, where, and until when.
#include <algorithm>
#include <utility>

#include "core/line/state.h"
#include "core/net/domain.h"
#include "core/policy/limit_table.h"

namespace weir {
namespace {

// The kernel refuses from the end on. Flows go back to their ordinary rows before that, so that
// none is stopped which they let go: two ticks, the second for what the first took to be heard.
constexpr std::int64_t kEndEarlyNs = 2 * kTickNs;

// A name is only a claim until it is proven; an address is where the packets go.
bool is_about(const Exception& exception, const Place& place) {
  const Destination& to = place.destination;
  if (exception.domain.empty()) return exception.prefix.contains(to.endpoint.address);
  return place.name_proven && within_domain(to.name, exception.domain);
}

}  // namespace

std::string where_of(const Exception& exception) {
  if (!exception.domain.empty()) return exception.domain;
  return exception.prefix.length == 128 ? exception.prefix.address.text() : exception.prefix.text();
}

const Exception* Line::State::exception_for(const Place& place, const Actor& actor) const {
  if (policy->mode != Mode::enforce || actor.person == kNoPerson) return nullptr;
  for (const HeldException& held : exceptions)
    if (!held.over && held.exception.person == actor.person && is_about(held.exception, place))
      return &held.exception;
  return nullptr;
}

void Line::State::take(const ExceptionsChanged& changed) {
  if (changed.exceptions == nullptr) return;
  take_release(changed);
  take_crashes(changed.after_crashes);
  std::vector<HeldException> next;
  std::vector<Exception> blocked;
  shut_places.clear();
  for (const Exception& exception : *changed.exceptions) {
    if (exception.bytes == 0 && !exception.domain.empty() && exception.prefix.length == 128 &&
        exception.prefix.address != IpAddress()) {
      if (shut_places.size() < kMaxShutPlaces)
        shut_places.emplace(exception.prefix.address, exception.domain);
      continue;
    }
    if (exception.bytes == 0) {  // core/policy/shuts.h
      blocked.push_back(exception);
      continue;
    }
    if (next.size() >= kMaxExceptions) break;
    const auto before = std::find_if(
        exceptions.begin(), exceptions.end(),
        [&](const HeldException& one) { return one.exception.number == exception.number; });
    next.push_back({exception, before != exceptions.end() && before->over});
  }
  exceptions = std::move(next);
  end_exceptions();
  judge_excepted();
  take_shuts(std::move(blocked));
}

bool Line::State::end_exceptions() {
  bool any = false;
  for (HeldException& held : exceptions)
    if (!held.over && held.exception.until_boot_ns - kEndEarlyNs <= at.boot_ns)
      held.over = any = true;
  return any;
}

// The account of an exception had no room: its rest is less than a packet.
// What is sent from here on is charged to the ordinary rows.
void Line::State::judge_exception_spent(const AccountSpent& spent) {
  const auto held = std::find_if(
      exceptions.begin(), exceptions.end(),
      [&](const HeldException& one) { return one.exception.number == spent.destination; });
  if (held == exceptions.end()) return;
  if (held->exception.person != spent.socket.person) return judge_stranger(spent);
  if (held->over) return;
  if (held->exception.until_boot_ns - kEndEarlyNs <= at.boot_ns) {  // its time, and no tick yet
    if (end_exceptions()) judge_excepted();
    return;
  }
  if (spent.spent + kLargestRest < held->exception.bytes) return;
  held->over = true;
  Told one = refusal_beside_rules(spent, kExceptionsRule, Action::limit);
  one.finding.detector = "limit";
  one.finding.because =
      one.decision.because = {{"exception_spent",
                               {std::to_string(held->exception.bytes), where_of(held->exception),
                                std::to_string(spent.spent)}}};
  told.push_back(std::move(one));
  judge_excepted();
}

Told Line::State::refusal_beside_rules(const AccountSpent& spent, const char* rule, Action action) {
  Flow flow;
  flow.record.key = spent.flow;
  const auto serial = serials.find(spent.flow);
  const JudgedFlow* known = serial == serials.end() ? nullptr : judged.find(serial->second);
  const Place place = known != nullptr ? known->place : destinations.place_of(*policy, flow, at);
  Told one;
  one.subject = rule;
  one.about = place.group;
  one.spent = true;
  one.finding.severity = Severity::low;
  one.finding.confidence = 100;
  one.destination = place.destination;
  one.actor = processes.actor_of(spent.socket, spent.flow.client.address);
  one.decision.action = action;
  one.decision.rule = rule;
  one.decision.policy_number = policy->number;
  one.decision.enforced = true;
  one.flow = known != nullptr ? serial->second : 0;
  return one;
}

// Whoever tried on an isolated host hears why nothing leaves.
void Line::State::tell_kept_in(const AccountSpent& spent) {
  Told one = refusal_beside_rules(spent, kIsolatedRule, Action::isolate);
  const Destination& to = one.destination;
  one.finding.detector = "policy";
  one.finding.because = one.decision.because = {
      {"kept_in", {to.name.empty() ? to.endpoint.address.text() : to.name}}};
  told.push_back(std::move(one));
}

// Refused at an account that is another person's: the flow has another owner than it was judged by,
// as one that a launcher made and handed over. It goes by the rows of its own, which tell what they
// refuse.
void Line::State::judge_stranger(const AccountSpent& spent) {
  const auto serial = serials.find(spent.flow);
  if (serial == serials.end()) return;
  JudgedFlow& flow = judged.at(serial->second);
  if (!flow.judged || flow.copy == nullptr || flow.socket.cookie != spent.socket.cookie) return;
  flow.socket = spent.socket;
  judge_anew(flow, serial->second);
}

// Rows that a finding brought stay, where an exception does not set them aside.
void Line::State::judge_anew(JudgedFlow& flow, std::uint64_t serial) {
  const std::uint64_t found = flow.found;
  const Flow copy = *flow.copy;
  judge_flow(flow, copy, serial);
  find_rows(flow, found);
}

// Exceptions came or went: flows whose own is another now are judged again, in the order in which
// they were opened.
void Line::State::judge_excepted() {
  std::vector<std::uint64_t> order = judged.keys();
  std::sort(order.begin(), order.end());
  for (std::uint64_t serial : order) {
    JudgedFlow& flow = judged.at(serial);
    if (!flow.judged || flow.copy == nullptr) continue;
    const Exception* now = exception_for(flow.place, flow.actor);
    const bool none = now == nullptr && flow.exception == 0;
    if (none || (now != nullptr && flow.exception == now->number)) continue;
    judge_anew(flow, serial);
  }
}

// Rows that wait for a finding count for this flow from here on.
void Line::State::find_rows(JudgedFlow& flow, std::uint64_t rows) {
  flow.found |= rows;
  const Exception* exception = exception_for(flow.place, flow.actor);
  std::uint64_t aside = 0;
  for (std::size_t row = 0; exception != nullptr && row < policy->limits.size(); ++row) {
    const Limit& limit = policy->limits[row];
    const bool named = std::find(exception->sets_aside.begin(), exception->sets_aside.end(),
                                 limit.rule) != exception->sets_aside.end();
    if (named && limit.liftable && row < kMaxLimits) aside |= std::uint64_t{1} << row;
  }
  const bool excepted = (rows & aside) != 0 && flow.exception == 0;
  const std::uint64_t more = rows & ~aside & ~flow.limits;
  if (more == 0 && !excepted) return;
  flow.limits |= more;
  if (excepted) flow.exception = exception->number;
  classify(flow);
}

}  // namespace weir
