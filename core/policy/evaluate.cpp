// Conditions in three values, and what all matching rules together say.
#include "core/policy/evaluate.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/policy/host_patterns.h"
#include "core/policy/words.h"

namespace weir {
namespace {

using Field = Condition::Field;
using Kind = Condition::Kind;

enum class Truth : std::uint8_t { no, unknown, yes };

Truth known(bool is) {
  return is ? Truth::yes : Truth::no;
}

// How the missing is taken: in a verdict it is not so; before a verdict it is open.
struct View {
  const Policy& policy;
  const Facts& facts;
  bool missing_is_open = false;
  bool names_need_proof = false;  // in the condition of an allow
  bool findings_are_open = false;

  Truth missing() const { return missing_is_open ? Truth::unknown : Truth::no; }
};

bool one_of(const std::vector<std::string>& values, std::string_view value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool names_host(const std::vector<std::string>& patterns, const std::string& host) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return host_matches(pattern, host); });
}

// The policy's own services are matched here, so that a flow counts however it was named.
bool is_own_service(const View& view, const std::vector<std::string>& ids, bool* by_address) {
  const Destination& to = view.facts.destination;
  for (const Service& service : view.policy.services) {
    if (!one_of(ids, service.id)) continue;
    if (std::any_of(service.ranges.begin(), service.ranges.end(),
                    [&](const Prefix& range) { return range.contains(to.endpoint.address); })) {
      *by_address = true;
      return true;
    }
    if (names_host(service.domains, to.name) || names_host(service.upload_hosts, to.name))
      return true;
  }
  return false;
}

Truth by_name(const View& view, bool is) {
  const Destination& to = view.facts.destination;
  if (view.names_need_proof && !view.facts.name_proven) return Truth::unknown;
  if (is) return Truth::yes;
  return to.name.empty() && to.service.empty() ? view.missing() : Truth::no;
}

Truth test_destination(const View& view, const Condition& leaf) {
  const Destination& to = view.facts.destination;
  const auto& values = leaf.values;
  switch (leaf.field) {
    case Field::destination_domain:
      return by_name(view, std::any_of(values.begin(), values.end(), [&](const auto& domain) {
                       return (host_matches(domain, to.name)) || (host_matches(domain, to.zone));
                     }));
    case Field::destination_service: {
      bool by_address = false;
      if (is_own_service(view, values, &by_address) && by_address) return Truth::yes;
      return by_name(view, one_of(values, to.service) || is_own_service(view, values, &by_address));
    }
    case Field::destination_category:
      return by_name(view, one_of(values, to.category));
    case Field::upload_to:
      return by_name(view, one_of(values, to.category) || one_of(values, to.service));
    case Field::destination_cidr:
      if (to.endpoint.address == IpAddress{}) return view.missing();
      return known(std::any_of(values.begin(), values.end(), [&](const std::string& text) {
        const auto prefix = Prefix::parse(text);
        return prefix && prefix->contains(to.endpoint.address);
      }));
    case Field::destination_approved:
      if (view.facts.approved || to.trust == Trust::approved) return Truth::yes;
      return to.trust == Trust::unspecified ? view.missing() : Truth::no;
    default:
      return Truth::no;
  }
}

bool is_program(const std::vector<std::string>& values, const std::string& program) {
  const std::string_view base = std::string_view(program).substr(program.rfind('/') + 1);
  return std::any_of(values.begin(), values.end(), [&](const std::string& value) {
    return value.find('/') == std::string::npos ? value == base : value == program;
  });
}

Truth test_leaf(const View& view, const Condition& leaf) {
  const Facts& facts = view.facts;
  switch (leaf.field) {
    case Field::label:
      for (const auto& label : facts.labels)
        if (one_of(leaf.values, label)) return Truth::yes;
      return view.missing();  // a tree can be labelled at any time
    case Field::weight:
      return facts.weight >= leaf.number ? Truth::yes : view.missing();
    case Field::burst:
      return facts.burst >= leaf.number ? Truth::yes : view.missing();
    case Field::trust: {
      const Trust trust = facts.approved ? Trust::approved : facts.destination.trust;
      if (trust == Trust::unspecified) return view.missing();
      return known(one_of(leaf.values, trust_name(trust)));
    }
    case Field::detector:
      if (view.findings_are_open) return Truth::unknown;
      return known(!facts.detector.empty() && one_of(leaf.values, facts.detector));
    case Field::program:
      if (facts.actor.program.empty()) return view.missing();
      return known(is_program(leaf.values, facts.actor.program));
    case Field::person:
      if (facts.actor.person == kNoPerson) return view.missing();
      return known(one_of(leaf.values, fmt::format("{}", facts.actor.person)));
    case Field::channel:
      if (one_of(leaf.values, facts.destination.channel)) return Truth::yes;
      return view.missing();  // tcp becomes tls when the hello is seen
    default:
      return test_destination(view, leaf);
  }
}

Truth test(const View& view, const Condition& condition) {
  switch (condition.kind) {
    case Kind::always:
      return Truth::yes;
    case Kind::leaf:
      return test_leaf(view, condition);
    case Kind::all: {
      Truth all = Truth::yes;
      for (const auto& part : condition.parts) all = std::min(all, test(view, part));
      return all;
    }
    case Kind::any:
    case Kind::none: {
      Truth any = Truth::no;
      for (const auto& part : condition.parts) any = std::max(any, test(view, part));
      if (condition.kind == Kind::any || any == Truth::unknown) return any;
      return known(any == Truth::no);
    }
  }
  return Truth::no;
}

// By rule, in policy order: does it apply, and which allow sets it aside (-1: none).
struct Outcome {
  std::vector<Truth> applies;
  std::vector<int> aside;
};

Outcome judge(const Policy& policy, const Facts& facts, bool missing_is_open,
              bool findings_are_open = false) {
  Outcome out;
  out.aside.assign(policy.rules.size(), -1);
  for (const Rule& rule : policy.rules)
    out.applies.push_back(
        test({policy, facts, missing_is_open, rule.action == Action::allow, findings_are_open},
             rule.when));
  for (std::size_t i = 0; i < policy.rules.size(); ++i) {
    const Rule& allow = policy.rules[i];
    if (allow.action != Action::allow || out.applies[i] != Truth::yes) continue;
    for (std::size_t j = 0; j < policy.rules.size(); ++j)
      if (out.aside[j] < 0 && policy.rules[j].action != Action::allow &&
          one_of(allow.excepts, policy.rules[j].id))
        out.aside[j] = static_cast<int>(i);
  }
  return out;
}

std::uint64_t rows_of(const Rule& rule) {
  std::uint64_t rows = 0;
  for (std::uint32_t row : rule.limits)
    if (row < kMaxLimits) rows |= std::uint64_t{1} << row;
  return rows;
}

std::uint64_t fixed_rows_of(const Policy& policy, const Rule& rule) {
  std::uint64_t rows = 0;
  for (std::uint32_t row : rule.limits)
    if (row < kMaxLimits && row < policy.limits.size() && !policy.limits[row].liftable)
      rows |= std::uint64_t{1} << row;
  return rows;
}

void explain_rule(const Policy& policy, const Rule& rule, Decision& decision) {
  decision.because.push_back({"rule_matched", {rule.id}});
  for (std::uint32_t row : rule.limits) {
    if (row >= policy.limits.size()) continue;
    const Limit& limit = policy.limits[row];
    if (limit.bytes && limit.window_ns > 0)
      decision.because.push_back(
          {"limit_window",
           {rule.id, fmt::format("{}", *limit.bytes), std::string(per_name(limit.per)),
            fmt::format("{}", limit.window_ns / 1'000'000'000)}});
    else if (limit.bytes)
      decision.because.push_back(
          {"limit_total",
           {rule.id, fmt::format("{}", *limit.bytes), std::string(per_name(limit.per))}});
    if (limit.customers)
      decision.because.push_back(
          {"limit_customers",
           {rule.id, fmt::format("{}", *limit.customers), std::string(per_name(limit.per))}});
  }
}

}  // namespace

Verdict evaluate(const Policy& policy, const Facts& facts) {
  Verdict verdict;
  const Outcome outcome = judge(policy, facts, false);
  const Rule* winner = nullptr;
  for (std::size_t i = 0; i < policy.rules.size(); ++i) {
    const Rule& rule = policy.rules[i];
    if (outcome.applies[i] != Truth::yes) continue;
    verdict.matched.push_back(rule.id);
    if (outcome.aside[i] >= 0) {
      verdict.set_aside.push_back(rule.id);
      verdict.decision.because.push_back(
          {"rule_set_aside",
           {rule.id, policy.rules[static_cast<std::size_t>(outcome.aside[i])].id}});
      continue;
    }
    if (facts.excepted != nullptr && rule.action != Action::allow &&
        one_of(*facts.excepted, rule.id)) {
      verdict.set_aside.push_back(rule.id);
      verdict.excepted = true;
      verdict.limits |= fixed_rows_of(policy, rule);
      verdict.decision.because.push_back({"rule_excepted", {rule.id}});
      continue;
    }
    if (rule.action != Action::allow) explain_rule(policy, rule, verdict.decision);
    verdict.limits |= rows_of(rule);
    verdict.severity = std::max(verdict.severity, rule.severity);
    if (!winner || rule.action > winner->action) winner = &rule;
  }
  Decision& decision = verdict.decision;
  decision.policy_number = policy.number;
  if (winner) {
    decision.rule = winner->id;
    decision.action = winner->action;
  } else if (!facts.detector.empty()) {
    decision.action = Action::log;
    decision.because.push_back({"no_rule_matched", {}});
  } else {
    decision.action = Action::allow;
  }
  if (decision.action >= Action::limit) {
    decision.enforced = policy.mode == Mode::enforce;
    if (!decision.enforced) decision.because.push_back({"observe_only", {}});
  }
  return verdict;
}

namespace {

std::uint64_t open_rows(const Policy& policy, const Outcome& outcome) {
  std::uint64_t rows = 0;
  for (std::size_t i = 0; i < policy.rules.size(); ++i)
    if (outcome.applies[i] != Truth::no && outcome.aside[i] < 0) rows |= rows_of(policy.rules[i]);
  return rows;
}

}  // namespace

std::uint64_t possible_limits(const Policy& policy, const Facts& facts) {
  return open_rows(policy, judge(policy, facts, true));
}

std::uint64_t most_limits(const Policy& policy) {
  return open_rows(policy, judge(policy, Facts{}, true, true));
}

}  // namespace weir
