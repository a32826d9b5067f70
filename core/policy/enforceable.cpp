// What this version can't enforce on tier 1, part by part. A part that does nothing must be known
// to the person who switches a policy to enforce.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/policy/evaluate.h"
#include "core/policy/resolvers.h"
#include "core/policy/words.h"

namespace weir {
namespace {

using Field = Condition::Field;
using Kind = Condition::Kind;

class Missing {
 public:
  explicit Missing(const Policy& policy) : policy_(policy) {}

  std::vector<std::string> run() {
    whole();
    for (const Rule& rule : policy_.rules) one(rule);
    return std::move(sentences_);
  }

 private:
  void add(const std::string& sentence) {
    if (std::find(sentences_.begin(), sentences_.end(), sentence) == sentences_.end())
      sentences_.push_back(sentence);
  }
  void add(const Rule& rule, std::string_view part) {
    add(fmt::format("rule {}: {}", rule.id, part));
  }

  void whole() {
    const Defaults usual;
    if (policy_.defaults.on_deadline != usual.on_deadline)
      add("defaults: on_deadline: this version answers no file opening");
    if (policy_.defaults.on_uninspectable != usual.on_uninspectable)
      add("defaults: on_uninspectable: this version inspects no content");
    if (policy_.defaults.on_full != usual.on_full)
      add("defaults: on_full: a full table is always answered by the stricter side");
    for (const Label& label : policy_.labels)
      add(fmt::format("labels: {}: this version gives nothing a label", label.id));
    for (const Index& index : policy_.indexes)
      add(fmt::format("indexes: {}: this version has no exact matching", index.id));
    for (const Unprovable& one : unprovable(policy_))
      if (one.where == Unprovable::Where::approved)
        add(fmt::format("destinations: approved: {}", one.sentence));
      else if (one.where == Unprovable::Where::known)
        add(fmt::format("destinations: known: {}", one.sentence));
      else
        add(policy_.rules[one.index], one.sentence);
  }

  // Fields that the condition tests, and the detectors among its values.
  static void collect(const Condition& when, std::set<Field>& fields,
                      std::set<std::string>& detectors) {
    if (when.kind == Kind::leaf) fields.insert(when.field);
    if (when.field == Field::detector) detectors.insert(when.values.begin(), when.values.end());
    for (const auto& part : when.parts) collect(part, fields, detectors);
  }

  // Does the condition only hold for a finding?
  static bool about_finding(const Condition& when) {
    if (when.kind == Kind::leaf) return when.field == Field::detector;
    if (when.kind == Kind::all)
      return std::any_of(when.parts.begin(), when.parts.end(), about_finding);
    if (when.kind == Kind::any)
      return std::all_of(when.parts.begin(), when.parts.end(), about_finding);
    return false;
  }

  void one(const Rule& rule) {
    std::set<Field> fields;
    std::set<std::string> detectors;
    collect(rule.when, fields, detectors);
    for (const auto& id : detectors) {
      const auto names = detector_names();
      const auto name =
          std::find_if(names.begin(), names.end(), [&](auto& n) { return n.id == id; });
      if (name == names.end() || !name->built)
        add(rule, fmt::format("detector {}: not built in this version", id));
    }
    if (fields.contains(Field::label)) add(rule, "label: this version gives nothing a label");
    if (fields.contains(Field::weight)) add(rule, "weight: this version counts no customers");
    if (fields.contains(Field::burst) && !about_finding(rule.when))
      add(rule, "burst: only known of a finding; add a detector to the condition");
    action(rule);
  }

  void hold(const Rule& rule) {
    if (about_finding(rule.when))
      add(rule,
          "hold: a finding comes when its bytes have left; say where it goes (upload_to, "
          "destination, trust) or who sends, without a detector");
    if (!rule.hold || rule.hold->for_ns < kShortestHold_ns || rule.hold->for_ns > kLongestHold_ns)
      add(rule, "hold: for is from 1s to 45s: servers close what is silent for a minute");
    if (rule.limits.empty())
      add(rule, "hold: made by a version that could not hold; publish the policy again");
  }

  void action(const Rule& rule) {
    switch (rule.action) {
      case Action::hold:
        hold(rule);
        break;
      case Action::isolate:
        add(rule, "isolate: this version can't cut a host off");
        break;
      case Action::block:
        if (!about_finding(rule.when))
          add(rule,
              "block: only a finding can be blocked; add a detector to the condition, or use "
              "limit");
        break;
      case Action::warn:
        add(rule, "warn: this version reports it, but shows the person no notice; use log");
        break;
      case Action::limit:
        for (std::uint32_t row : rule.limits)
          if (row < policy_.limits.size() && policy_.limits[row].customers)
            add(rule, "limit customers: this version counts no customers; use bytes");
        break;
      default:
        break;
    }
  }

  const Policy& policy_;
  std::vector<std::string> sentences_;
};

}  // namespace

std::vector<std::string> unenforceable(const Policy& policy) {
  return Missing(policy).run();
}

}  // namespace weir
