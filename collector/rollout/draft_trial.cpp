// Facts out of a report, the evaluator, and accounts as a replay has them.
#include "collector/rollout/draft_trial.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "core/line/accounts.h"
#include "core/line/destinations.h"
#include "core/net/zone.h"
#include "core/policy/catalogue.h"
#include "core/policy/evaluate.h"
#include "proto/map/enums.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

// A revision's bytes enter the accounts in at most so many lumps of at least a packet: a lump
// enters whole or not at all.
constexpr std::uint64_t kMaxLumps = 1024, kLeastLump = 1448;

std::uint64_t hash(std::uint64_t a, std::uint64_t b) {
  const std::array<std::uint64_t, 2> words = {a, b};
  return XXH3_64bits(words.data(), sizeof words);
}

// Reports of these come from rules, not from a detector.
bool is_detector(const std::string& name) {
  return !name.empty() && name != "limit" && name != "policy";
}

Destination destination_of(const v1::Destination& in) {
  Destination out;
  if (Result<IpAddress> address = IpAddress::parse(in.address())) out.endpoint.address = *address;
  out.endpoint.port = static_cast<std::uint16_t>(in.port());
  out.name = in.name();
  out.zone = in.zone();
  out.channel = in.channel();
  out.trust = map::core_of(map::kTrusts, static_cast<int>(in.trust())).value_or(Trust::unspecified);
  return out;
}

Actor actor_of(const v1::Report& report) {
  Actor out;
  out.tree = report.actor().tree();
  if (report.actor().person().user().has_uid()) out.person = report.actor().person().user().uid();
  out.program = report.actor().has_program_path() ? report.actor().program_path().raw()
                                                  : report.actor().program();
  return out;
}

// What servers of a machine answered with: no rule speaks of it.
bool is_of_answers(const v1::Report& report) {
  return report.finding().because_size() > 0 &&
         report.finding().because(0).code() == "answers_spent";
}

std::string about(const v1::Destination& to) {
  if (!to.zone().empty()) return to.zone();
  if (!to.name().empty()) return registered_domain(to.name());
  return "";
}

std::int64_t ns_of(const google::protobuf::Timestamp& time) {
  constexpr std::int64_t kMax = INT64_MAX / 1'000'000'000 - 1;
  return std::clamp<std::int64_t>(time.seconds(), 0, kMax) * 1'000'000'000 + time.nanos();
}

}  // namespace

struct DraftTrial::State {
  struct Tried {
    std::uint64_t charged = 0;  // bytes of the revisions so far
    std::uint64_t person = 0;   // hash of host and person
    std::uint32_t host = 0;
    Action action = Action::unspecified;
  };

  Policy draft;
  Destinations destinations{Catalogue::built_in()};
  std::map<std::uint32_t, Accounts> accounts;  // by host: a desk's are its own
  std::map<std::pair<std::uint32_t, std::string>, Tried> tried;
  std::map<std::pair<std::uint32_t, std::string>, v1::Report> examples;
  bool cut = false;

  Place place_of(const v1::Report& report) const;
  bool spends(const Verdict& verdict, const Place& place, const Actor& actor,
              const v1::Report& report, Tried& one);
  void show(const v1::Report& report, const Verdict& verdict, const Tried& one);
};

DraftTrial::DraftTrial(Policy draft) : state_(std::make_unique<State>()) {
  state_->draft = std::move(draft);
}

DraftTrial::~DraftTrial() = default;

// The draft's own services and approvals count, not those of the policy that held then.
Place DraftTrial::State::place_of(const v1::Report& report) const {
  Destination to = destination_of(report.destination());
  const Trust then = std::exchange(to.trust, Trust::unspecified);
  Place place = destinations.place_of(draft, std::move(to), about(report.destination()));
  if (!place.destination.zone.empty()) {
    place.destination.service = report.destination().service();
    place.destination.category = report.destination().category();
  }
  place.name_proven = true;
  place.approved = destinations.would_approve(draft, place.destination);
  if (place.approved)
    place.destination.trust = Trust::approved;
  else if (then == Trust::upload || then == Trust::infrastructure || then == Trust::undeclared_udp)
    place.destination.trust = then;
  // What was unknown then may have said its name only.
  const bool proven = then != Trust::unknown || report.destination().name_proven();
  if (place.destination.trust == Trust::unknown && proven &&
      destinations.would_know(draft, place.destination))
    place.destination.trust = Trust::known;
  return place;
}

bool DraftTrial::State::spends(const Verdict& verdict, const Place& place, const Actor& actor,
                               const v1::Report& report, Tried& one) {
  const std::uint64_t bytes = report.bytes_out() - std::min(one.charged, report.bytes_out());
  one.charged = std::max(one.charged, report.bytes_out());
  if (verdict.limits == 0) return false;
  Charge charge;
  charge.tree = actor.tree != 0 ? actor.tree : hash(0, actor.person);
  charge.person = actor.person;
  charge.destination = place.key;
  charge.limits = verdict.limits;
  const std::uint64_t lump = std::max(kLeastLump, bytes / kMaxLumps);
  for (std::uint64_t left = bytes; left > 0; left -= charge.bytes) {
    charge.bytes = std::min(left, lump);
    if (accounts[one.host].charge(draft, charge, ns_of(report.updated()))) return true;
  }
  return false;
}

void DraftTrial::State::show(const v1::Report& report, const Verdict& verdict, const Tried& one) {
  const std::pair key{one.host, report.id()};
  const Action then =
      map::core_of(map::kActions, static_cast<int>(report.decision().action())).value_or(Action{});
  if (one.action == std::max(then, Action::allow)) {
    examples.erase(key);
    return;
  }
  if (examples.size() >= kMaxExamples && !examples.contains(key)) {
    const auto mildest = std::min_element(examples.begin(), examples.end(), [](auto& a, auto& b) {
      return a.second.decision().action() < b.second.decision().action();
    });
    if (mildest->second.decision().action() >= map::wire_of(map::kActions, one.action)) return;
    examples.erase(mildest);
  }
  v1::Report& example = examples[key] = report;
  v1::Decision& decision = *example.mutable_decision();
  decision.Clear();
  decision.set_action(map::wire_of(map::kActions, one.action));
  decision.set_rule(verdict.decision.rule);
  for (const Reason& reason : verdict.decision.because) {
    v1::Reason& out = *decision.add_because();
    out.set_code(reason.code);
    for (const std::string& arg : reason.args) out.add_args(arg);
  }
}

bool DraftTrial::on(const v1::Report& report, std::uint32_t host) {
  State& state = *state_;
  if (is_of_answers(report)) return true;
  const auto found = state.tried.find({host, report.id()});
  if (found == state.tried.end() && state.tried.size() >= kMaxTriedReports) {
    state.cut = true;
    return false;
  }
  State::Tried& one = found != state.tried.end() ? found->second : state.tried[{host, report.id()}];
  const Place place = state.place_of(report);
  Facts facts;
  facts.destination = place.destination;
  facts.approved = place.approved;
  facts.name_proven = place.name_proven;
  facts.actor = actor_of(report);
  facts.burst = report.bytes_out();
  if (is_detector(report.finding().detector())) facts.detector = report.finding().detector();
  const Verdict verdict = evaluate(state.draft, facts);
  one.host = host;
  one.person = hash(host, facts.actor.person);
  const bool spent = state.spends(verdict, place, facts.actor, report, one);
  Action action = verdict.decision.action;
  if (action == Action::limit && !spent)
    action = facts.detector.empty() ? Action::allow : Action::log;
  if (spent) action = std::max(action, Action::limit);
  one.action = std::max(one.action, action);  // what is stopped once was stopped
  state.show(report, verdict, one);
  return true;
}

void DraftTrial::result(v1::ReplayPolicyResponse& out) const {
  std::set<std::uint32_t> hosts;
  std::set<std::uint64_t> persons;
  for (const auto& [key, one] : state_->tried) {
    ++(*out.mutable_decisions())[v1::Action::Value_Name(map::wire_of(map::kActions, one.action))];
    if (one.action < Action::limit) continue;
    hosts.insert(one.host);
    persons.insert(one.person);
  }
  out.set_hosts(static_cast<std::uint32_t>(hosts.size()));
  out.set_persons(static_cast<std::uint32_t>(persons.size()));
  out.set_reports(static_cast<std::uint32_t>(state_->tried.size()));
  out.set_cut(state_->cut);
  for (const auto& [key, example] : state_->examples) *out.add_examples() = example;
  std::stable_sort(out.mutable_examples()->begin(), out.mutable_examples()->end(),
                   [](const v1::Report& a, const v1::Report& b) {
                     if (a.decision().action() != b.decision().action())
                       return a.decision().action() > b.decision().action();
                     return a.updated().seconds() > b.updated().seconds();
                   });
}

}  // namespace weir
