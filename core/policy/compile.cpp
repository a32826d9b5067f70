// Checks of a whole policy. Each problem names its rule; the YAML surface adds the place.
#include "core/policy/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>

#include "core/policy/evaluate.h"
#include "core/policy/limit_table.h"
#include "core/policy/resolvers.h"
#include "core/policy/units.h"

namespace weir {
namespace {

using Kind = Condition::Kind;
using Field = Condition::Field;

// Labels of which at least one must be carried for `condition` to hold; 0: it may hold without.
std::uint32_t required_labels(const Policy& policy, const Condition& condition) {
  std::uint32_t mask = 0;
  if (condition.kind == Kind::leaf && condition.field == Field::label) {
    for (std::size_t i = 0; i < policy.labels.size() && i < kMaxLabels; ++i)
      if (std::find(condition.values.begin(), condition.values.end(), policy.labels[i].id) !=
          condition.values.end())
        mask |= std::uint32_t{1} << i;
  } else if (condition.kind == Kind::all) {
    for (const auto& part : condition.parts)
      if (mask == 0) mask = required_labels(policy, part);
  } else if (condition.kind == Kind::any) {
    for (const auto& part : condition.parts) {
      const std::uint32_t one = required_labels(policy, part);
      if (one == 0) return 0;
      mask |= one;
    }
  }
  return mask;
}

class Check {
 public:
  explicit Check(const Policy& policy) : policy_(policy) {}

  std::vector<Problem> run() {
    if (policy_.rules.size() > kMaxRules)
      add("", fmt::format("has {} rules; at most {} are allowed", policy_.rules.size(), kMaxRules));
    if (policy_.labels.size() > kMaxLabels)
      add("",
          fmt::format("has {} labels; at most {} are allowed", policy_.labels.size(), kMaxLabels));
    const auto first = policy_.defaults.first_flight;
    if (first < kMinFirstFlight || first > kMaxFirstFlight)
      add("", "defaults.first_flight must be from 2KiB to 1MiB");
    if (policy_.networks.size() > kMaxNetworks)
      add("", fmt::format("has {} networks; at most {} are allowed", policy_.networks.size(),
                          kMaxNetworks));
    if (policy_.resolvers.size() > kMaxResolvers)
      add("", fmt::format("has {} resolvers; at most {} are allowed", policy_.resolvers.size(),
                          kMaxResolvers));
    never_block();
    for (const Network& network : policy_.networks)
      if (network.interface.empty() || network.interface.size() > kMaxInterfaceName)
        add("", fmt::format("network '{}' needs the name of an interface, at most {} characters",
                            network.id, kMaxInterfaceName));
    gateways();
    limits();
    std::set<std::string_view> ids;
    for (const Rule& rule : policy_.rules) {
      if (rule.id.empty()) add("", "a rule has no id");
      if (!ids.insert(rule.id).second) add(rule.id, "another rule has this id");
      one(rule);
    }
    return std::move(problems_);
  }

 private:
  // An isolated host sends there what it likes: no half of the Internet.
  void never_block() {
    if (policy_.never_block.size() > kMaxNeverBlock)
      add("", fmt::format("never_block has {} ranges; at most {} are allowed",
                          policy_.never_block.size(), kMaxNeverBlock));
    for (const Prefix& range : policy_.never_block) {
      const int v4 = range.address.is_v4() ? 96 : 0;
      if (range.length < v4 + (v4 != 0 ? kShortestNeverBlockV4 : kShortestNeverBlockV6))
        add("", fmt::format("never_block: {} is wider than a /{} or, in IPv6, a /{}", range.text(),
                            kShortestNeverBlockV4, kShortestNeverBlockV6));
    }
  }

  void gateways() {
    std::size_t all = 0;
    for (const Network& network : policy_.networks) all += network.gateways.size();
    if (all > kMaxGateways)
      add("", fmt::format("networks have {} gateways; at most {} are allowed", all, kMaxGateways));
  }

  void add(std::string_view rule, std::string sentence) {
    problems_.push_back({std::string(rule), std::move(sentence)});
  }

  void limits() {
    if (policy_.limits.size() > kMaxLimits)
      add(policy_.limits[kMaxLimits].rule,
          fmt::format("this is limit {} of the policy; the kernel part holds {}", kMaxLimits + 1,
                      kMaxLimits));
    // The kernel part refuses a packet that would touch more accounts than it can charge in one
    // step, in observe too: such a policy would stop what it is not about.
    std::uint64_t held = 0;  // they charge nothing
    for (std::size_t n = 0; n < policy_.limits.size() && n < kMaxLimits; ++n)
      if (is_hold(policy_.limits[n])) held |= std::uint64_t{1} << n;
    if (std::popcount(held) > static_cast<int>(kMaxHolds))
      add("", fmt::format("{} rules hold; at most {} are allowed", std::popcount(held), kMaxHolds));
    const int at_once = std::popcount(most_limits(policy_) & ~held);
    if (at_once > kMaxCharges)
      add("",
          fmt::format("{} limits could count for one and the same new flow, whose name and program "
                      "are not known yet; at most {} can be charged at once: merge some",
                      at_once, kMaxCharges));
    for (const Limit& limit : policy_.limits) {
      if (is_hold(limit) && !is_of_hold(limit))
        add(limit.rule, "a limit needs bytes, customers or both");
      if (limit.per == Per::unspecified) add(limit.rule, "a limit needs per");
      const auto window = limit.window_ns;
      if (window != 0 && window != kHour_ns && window != 24 * kHour_ns &&
          window != 7 * 24 * kHour_ns)
        add(limit.rule, "a window is 1h, 24h or 7d");
      if (window != 0 && limit.per == Per::flow)
        add(limit.rule,
            "a limit per flow has no window, since a flow's account ends with the flow; leave it "
            "out, or say per: person for what leaves in that time");
      if (limit.bytes && *limit.bytes == 0)
        add(limit.rule, "a limit of 0 bytes lets nothing leave; say block instead");
      else if (limit.bytes && window != 0 && *limit.bytes < kMinWindowedBytes)
        add(limit.rule,
            "a windowed limit below 4KiB would not even let a TLS hello leave (half of it is sent "
            "at "
            "once); say block, or raise it");
      else if (limit.bytes && *limit.bytes > kMaxSize)
        add(limit.rule, "a limit above 1 PiB bounds nothing");
    }
  }

  bool is_of_hold(const Limit& limit) const {
    return limit.per == Per::process_tree_destination && limit.window_ns == 0 &&
           std::any_of(policy_.rules.begin(), policy_.rules.end(), [&](const Rule& rule) {
             return rule.id == limit.rule && rule.action == Action::hold;
           });
  }

  void one(const Rule& rule) {
    parts_ = 0;
    condition(rule, rule.when, 1);
    if (rule.action == Action::unspecified) add(rule.id, "does nothing: 'then' names no action");
    // A hold without its row comes from a version that could not enforce it.
    if (rule.action == Action::hold ? rule.limits.size() > 1
                                    : (rule.action == Action::limit) != !rule.limits.empty())
      add(rule.id, "limits and the action limit belong together");
    for (std::uint32_t row : rule.limits)
      if (row >= policy_.limits.size() || policy_.limits[row].rule != rule.id)
        add(rule.id, fmt::format("limit row {} isn't its own", row));
    const bool stops = rule.action == Action::block || rule.action == Action::hold ||
                       rule.action == Action::isolate;
    if (stops && rule.when.kind == Kind::always)
      add(rule.id,
          "without 'when' it would stop all that this host sends, its name look-ups, its clock "
          "and its way to the collector included; say what it is about");
    if ((rule.action == Action::hold) != rule.hold.has_value())
      add(rule.id, "hold and the action hold belong together");
    if (rule.hold && (rule.hold->for_ns <= 0 || rule.hold->for_ns > kMaxHold_ns))
      add(rule.id, "a hold lasts at most 5m: servers close a waiting request sooner");
    excepts(rule);
  }

  void excepts(const Rule& rule) {
    if (rule.action != Action::allow) {
      if (!rule.excepts.empty()) add(rule.id, "only allow takes excepts");
      return;
    }
    if (rule.excepts.empty())
      add(rule.id, "allow needs excepts: the ids of the rules that it sets aside");
    for (const auto& id : rule.excepts) {
      const auto other = std::find_if(policy_.rules.begin(), policy_.rules.end(),
                                      [&](const Rule& r) { return r.id == id; });
      if (other == policy_.rules.end())
        add(rule.id, fmt::format("excepts '{}', but no rule has this id", id));
      else if (other->action == Action::allow)
        add(rule.id, fmt::format("excepts '{}', which is an allow itself", id));
    }
  }

  void condition(const Rule& rule, const Condition& when, std::size_t depth) {
    parts_ += 1 + when.values.size();
    if (parts_ == 0 || parts_ > kMaxConditionParts || depth > kMaxConditionDepth) {
      if (!std::exchange(too_big_, true)) add(rule.id, "its condition is too large or too deep");
      return;
    }
    const bool group = when.kind == Kind::all || when.kind == Kind::any || when.kind == Kind::none;
    if (group == when.parts.empty()) add(rule.id, "its condition has an empty or misplaced group");
    if (when.kind == Kind::leaf) leaf(rule, when);
    for (const auto& part : when.parts) condition(rule, part, depth + 1);
  }

  void leaf(const Rule& rule, const Condition& leaf) {
    const bool counts = leaf.field == Field::weight || leaf.field == Field::burst;
    if (leaf.field == Field::unspecified) add(rule.id, "its condition tests an unknown field");
    if (counts && leaf.number == 0)
      add(rule.id, "its condition compares with 0, which always holds");
    if (!counts && leaf.field != Field::destination_approved && leaf.values.empty())
      add(rule.id, "its condition compares with nothing");
    if (leaf.field == Field::destination_cidr)
      for (const auto& value : leaf.values)
        if (!Prefix::parse(value)) add(rule.id, fmt::format("'{}' is no address range", value));
  }

  const Policy& policy_;
  std::vector<Problem> problems_;
  std::size_t parts_ = 0;
  bool too_big_ = false;
};

}  // namespace

void derive(Policy& policy) {
  std::set<std::string_view> set_aside;
  for (const Rule& rule : policy.rules) set_aside.insert(rule.excepts.begin(), rule.excepts.end());
  for (const Rule& rule : policy.rules) {
    const bool always = rule.when.kind == Kind::always && !set_aside.contains(rule.id);
    for (std::uint32_t row : rule.limits) {
      if (row >= policy.limits.size()) continue;
      policy.limits[row].labels = required_labels(policy, rule.when);
      policy.limits[row].liftable = !always;
    }
  }
}

std::vector<Problem> check_policy(const Policy& policy) {
  return Check(policy).run();
}

}  // namespace weir
