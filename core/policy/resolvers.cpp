// Resolvers and what can be proven by them: see resolvers.h.
#include "core/policy/resolvers.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/policy/evaluate.h"

namespace weir {
namespace {

using Field = Condition::Field;

constexpr std::uint16_t kDnsPort = 53;
constexpr std::string_view kNoResolver =
    "no resolver of this policy can prove a name; add one, with the network that it is reached "
    "over: resolvers: [{address: …, via: …}]";

bool tests(const Condition& when, Field field) {
  if (when.kind == Condition::Kind::leaf) return when.field == field;
  return std::any_of(when.parts.begin(), when.parts.end(),
                     [&](const Condition& part) { return tests(part, field); });
}

// Does the condition hold only where something is approved? `not` turns it round.
bool needs_approval(const Condition& when) {
  switch (when.kind) {
    case Condition::Kind::leaf:
      return when.field == Field::destination_approved ||
             (when.field == Field::trust && when.values == std::vector<std::string>{"approved"});
    case Condition::Kind::all:
      return std::any_of(when.parts.begin(), when.parts.end(), needs_approval);
    case Condition::Kind::any:
      return std::all_of(when.parts.begin(), when.parts.end(), needs_approval);
    default:
      return false;
  }
}

bool tests_a_name(const Condition& when) {
  return tests(when, Field::destination_domain) || tests(when, Field::destination_service) ||
         tests(when, Field::destination_category) || tests(when, Field::upload_to);
}

}  // namespace

Resolvers::Resolvers(const Policy& policy, const std::vector<IpAddress>& host)
    : named_(!policy.resolvers.empty()) {
  for (const Resolver& resolver : policy.resolvers) {
    if (all_.size() >= kMaxResolvers) break;  // check_policy refuses more
    KnownResolver known{resolver.address, Worth::narrows, resolver.via, ""};
    known.interface = interface_of(policy, resolver.via);
    if (!known.interface.empty()) known.worth = Worth::proves;
    all_.push_back(std::move(known));
  }
  for (const IpAddress& address : host)
    if (all_.size() < 2 * kMaxResolvers &&
        std::none_of(all_.begin(), all_.end(),
                     [&](const KnownResolver& r) { return r.address == address; }))
      all_.push_back({address, std::max(Worth::asked, worth(address)), "", ""});
}

Worth Resolvers::worth(const IpAddress& address) const {
  Worth best = !named_ && address.is_private() ? Worth::narrows : Worth::nothing;
  for (const KnownResolver& known : all_)
    if (known.address == address) best = std::max(best, known.worth);
  return best;
}

bool Resolvers::proves_over(const IpAddress& address, std::string_view interface) const {
  return std::any_of(all_.begin(), all_.end(), [&](const KnownResolver& known) {
    return known.worth == Worth::proves && known.address == address && known.interface == interface;
  });
}

bool Resolvers::any_proves() const {
  return std::any_of(all_.begin(), all_.end(),
                     [](const KnownResolver& known) { return known.worth == Worth::proves; });
}

std::uint64_t limits_of_questions(const Policy& policy, const IpAddress& resolver, Worth worth) {
  Facts facts;
  facts.destination.endpoint = {resolver, kDnsPort};
  facts.destination.channel = "dns";
  facts.destination.name = resolver.text();  // the name of nothing else
  if (worth >= Worth::narrows) facts.destination.trust = Trust::infrastructure;
  return possible_limits(policy, facts);
}

std::string_view interface_of(const Policy& policy, std::string_view network) {
  for (const Network& known : policy.networks)
    if (!network.empty() && known.id == network) return known.interface;
  return "";
}

std::vector<Unprovable> unprovable(const Policy& policy) {
  std::vector<Unprovable> found;
  const bool names = Resolvers(policy).any_proves();
  for (std::size_t i = 0; i < policy.approved.size(); ++i) {
    const Selector& selector = policy.approved[i];
    const bool by_name = selector.kind != Selector::Kind::cidr;
    if (by_name && !names)
      found.push_back(
          {Unprovable::Where::approved, i,
           fmt::format("'{}' is approved by its name, but {}", selector.value, kNoResolver)});
    else if ((!by_name || !selector.via.empty()) && interface_of(policy, selector.via).empty())
      found.push_back(
          {Unprovable::Where::approved, i,
           fmt::format("'{}' is approved over a network, but 'via' names none of this policy",
                       selector.value)});
  }
  if (!policy.known.empty() && !names)
    found.push_back({Unprovable::Where::known, 0,
                     fmt::format("what stands here is known by its name, but {}", kNoResolver)});
  for (std::size_t i = 0; i < policy.rules.size(); ++i) {
    const Rule& rule = policy.rules[i];
    if (policy.approved.empty() && needs_approval(rule.when))
      found.push_back({Unprovable::Where::rule, i,
                       "it holds only for what is approved, but this policy approves nothing; add "
                       "destinations: {approved: […]}"});
    if (rule.action == Action::allow && tests_a_name(rule.when) && !names)
      found.push_back({Unprovable::Where::rule, i,
                       fmt::format("allow sets rules aside by a name, which must be proven, but {}",
                                   kNoResolver)});
  }
  return found;
}

}  // namespace weir
