// Equality of core's plain values, member by member. Structured bindings: a member that is added to
// a value doesn't compile here until the mappings and these tests know it.
#pragma once

#include <algorithm>

#include "core/policy/policy.h"

namespace weir {

template <class T, class Same>
bool same_lists(const std::vector<T>& a, const std::vector<T>& b, Same same) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

inline bool same(const Limit& a, const Limit& b) {
  auto tie = [](const Limit& v) {
    const auto& [rule, bytes, customers, window, per, labels, liftable] = v;
    return std::tie(rule, bytes, customers, window, per, labels, liftable);
  };
  return tie(a) == tie(b);
}

inline bool same(const Condition& a, const Condition& b) {
  const auto& [kind, parts, field, values, number] = a;
  return kind == b.kind && field == b.field && values == b.values && number == b.number &&
         same_lists(parts, b.parts, [](auto& x, auto& y) { return same(x, y); });
}

inline bool same(const std::optional<Hold>& a, const std::optional<Hold>& b) {
  if (!a || !b) return !a && !b;
  const auto& [for_ns, ask, otherwise] = *a;
  return for_ns == b->for_ns && ask == b->ask && otherwise == b->otherwise;
}

inline bool same(const Rule& a, const Rule& b) {
  const auto& [id, when, action, severity, limits, hold, excepts] = a;
  return id == b.id && same(when, b.when) && action == b.action && severity == b.severity &&
         limits == b.limits && same(hold, b.hold) && excepts == b.excepts;
}

inline bool same(const LabelSource& a, const LabelSource& b) {
  auto tie = [](const LabelSource& v) {
    const auto& [kind, what, unique, above, floor, per_customer] = v;
    return std::tie(kind, what, unique, above, floor, per_customer);
  };
  return tie(a) == tie(b);
}

inline bool same(const Label& a, const Label& b) {
  const auto& [id, any, weight] = a;
  auto tie = [](const Weight& v) {
    const auto& [report, tighten, strict, opaque_counts, half_life] = v;
    return std::tie(report, tighten, strict, opaque_counts, half_life);
  };
  return id == b.id && tie(weight) == tie(b.weight) &&
         same_lists(any, b.any, [](auto& x, auto& y) { return same(x, y); });
}

inline bool same(const Service& a, const Service& b) {
  auto tie = [](const Service& v) {
    const auto& [id, category, domains, upload_hosts, ranges, shared_host, no_sni, title, region,
                 confidence] = v;
    return std::tie(id, category, domains, upload_hosts, ranges, shared_host, no_sni, title, region,
                    confidence);
  };
  return tie(a) == tie(b);
}

inline bool same(const Selector& a, const Selector& b) {
  const auto& [kind, value, prefix, via] = a;
  return kind == b.kind && value == b.value && via == b.via &&
         (kind != Selector::Kind::cidr || prefix == b.prefix);
}

inline bool same(const Defaults& a, const Defaults& b) {
  auto tie = [](const Defaults& v) {
    const auto& [on_deadline, on_uninspectable, on_full, first_flight, answers, other_families] = v;
    return std::tie(on_deadline, on_uninspectable, on_full, first_flight, answers, other_families);
  };
  return tie(a) == tie(b);
}

inline bool same(const Network& a, const Network& b) {
  const auto& [id, interface, gateways] = a;
  return id == b.id && interface == b.interface && gateways == b.gateways;
}

inline bool same(const Resolver& a, const Resolver& b) {
  const auto& [address, via] = a;
  return address == b.address && via == b.via;
}

inline bool same(const Index& a, const Index& b) {
  const auto& [id, file] = a;
  return id == b.id && file == b.file;
}

inline bool same(const Policy& a, const Policy& b) {
  const auto& [name, number, mode, on_exit, defaults, networks, resolvers, never_block, services,
               indexes, labels, approved, known, rules, limits] = a;
  auto eq = [](auto& x, auto& y) { return same(x, y); };
  return name == b.name && number == b.number && mode == b.mode && on_exit == b.on_exit &&
         same(defaults, b.defaults) && same_lists(networks, b.networks, eq) &&
         same_lists(resolvers, b.resolvers, eq) && never_block == b.never_block &&
         same_lists(services, b.services, eq) && same_lists(indexes, b.indexes, eq) &&
         same_lists(labels, b.labels, eq) && same_lists(approved, b.approved, eq) &&
         known == b.known && same_lists(rules, b.rules, eq) && same_lists(limits, b.limits, eq);
}

}  // namespace weir
