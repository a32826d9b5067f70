// The line itself: Line::on is the product on one page.
#include "core/line/line.h"

#include <algorithm>

#include "core/line/state.h"
#include "core/policy/default_policy.h"

namespace weir {

Answer Line::on(const Event& event) {
  State& s = *state_;
  ++s.counters.events;
  s.advance(event.at);
  const Observation seen = s.enrich(event.body);
  s.detect(seen);
  s.judge(event, seen);
  s.enforce();
  s.report(seen);
  return {};  // no source asks yet
}

Line::Line(Outlet& outlet) : state_(std::make_unique<State>(outlet)) {}
Line::~Line() = default;
void Line::finish() {
  state_->finish();
}

const Counters& Line::counters() const {
  State& s = *state_;
  s.counters.net = s.flows.counters();
  s.counters.reports = s.reports.reports();
  s.counters.revisions = s.reports.revisions();
  s.counters.reports_dropped = s.reports.dropped();
  s.counters.processes_dropped = s.processes.dropped();
  s.counters.detectors_dropped = 0;
  for (const auto& detector : s.detectors) s.counters.detectors_dropped += detector->dropped();
  s.counters.names_dropped = s.destinations.answers().dropped();
  s.counters.accounts_dropped = s.accounts.dropped();
  s.counters.usage_dropped = s.usage.dropped();
  return s.counters;
}

Line::State::State(Outlet& to)
    : outlet(to),
      policy(default_policy()),
      flows([this](Flow&& flow) { ended.push_back(std::move(flow)); }),
      destinations(Catalogue::built_in()),
      usage([this](const UsageRow& row) { outlet.usage(row); }),
      reports([this](const Report& report) { outlet.report(report); }),
      detectors(make_detectors(Catalogue::built_in())) {}

// Time moves with the events: once a second of it, whatever waits for time is looked at. Boot time
// never runs backwards here, whatever a source says.
void Line::State::advance(const Stamp& now) {
  at = {now.wall_ns, std::max(now.boot_ns, at.boot_ns)};
  if (usage.is_over(at.wall_ns)) {
    std::vector<std::uint64_t> order = judged.keys();
    std::sort(order.begin(), order.end());
    for (std::uint64_t serial : order) {
      add_usage(judged.at(serial));
      judged.at(serial).in_usage = false;
    }
    usage.close(at.wall_ns);
  }
  if (at.boot_ns < next_tick_ns) return;
  next_tick_ns = at.boot_ns + kTickNs;
  if (end_exceptions()) judge_excepted();
  if (!shuts.empty() && at.boot_ns >= renew_shuts_ns) renew_shuts();
  if (released_until_ns != 0 && at.boot_ns >= released_until_ns) end_release();
  flows.expire(at);
  for (auto& detector : detectors) detector->tick(at, signals);
  reports.tick(at);
}

void Line::State::detect(const Observation& seen) {
  if (seen.flow != nullptr)
    for (auto& detector : detectors) detector->on(seen, at, signals);
  counters.findings += signals.size();
}

void Line::State::enforce() {
  for (const Order& order : orders) outlet.enforce(order);
  orders.clear();
}

void Line::State::report(const Observation& seen) {
  for (const Told& one : told) reports.tell(one, at);
  told.clear();
  if (current != nullptr && seen.flow != nullptr)
    reports.follow(seen.flow->serial, current->bytes, false, at);
  current = nullptr;
  for (const Flow& flow : ended) settle(flow);
  ended.clear();
}

// A flow is over: its record, its last bytes in reports and usage.
void Line::State::settle(const Flow& flow) {
  outlet.flow(flow.record);
  JudgedFlow* const found = judged.find(flow.serial);
  if (found == nullptr) return;
  JudgedFlow& known = *found;
  known.bytes = {flow.record.bytes_out, flow.record.bytes_in};
  reports.follow(flow.serial, known.bytes, true, at);
  add_usage(known);
  const auto key = serials.find(known.key);
  if (key != serials.end() && key->second == flow.serial) serials.erase(key);
  judged.erase(flow.serial);
}

void Line::State::add_usage(JudgedFlow& known) {
  const FlowBytes& now = known.bytes;
  if (now.out == known.usage.out && now.in == known.usage.in) return;
  usage.add(known.actor, known.place, now.out - known.usage.out, now.in - known.usage.in,
            !known.in_usage);
  known.usage = now;
  known.in_usage = true;
}

void Line::State::finish() {
  for (auto& detector : detectors) detector->finish(signals);
  counters.findings += signals.size();
  judge({at, Tick{}}, {});
  enforce();
  flows.finish();
  report({});
  usage.close(at.wall_ns);
  reports.finish(at);
}

}  // namespace weir
