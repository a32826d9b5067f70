// Any valid policy, for properties.
#pragma once

#include <fmt/format.h>
#include <rapidcheck.h>

#include "core/policy/known_names.h"
#include "core/policy/policy.h"

namespace weir {

namespace any {

inline std::string word() {
  return *rc::gen::container<std::string>(rc::gen::inRange<char>(0x20, 0x7f));
}
inline std::vector<std::string> words() {
  std::vector<std::string> out(*rc::gen::inRange(0, 4));
  for (std::string& s : out) s = word();
  return out;
}
template <class E>
E one_of(E first, E last) {
  return static_cast<E>(*rc::gen::inRange(static_cast<int>(first), static_cast<int>(last) + 1));
}
template <class T>
T number() {
  return *rc::gen::arbitrary<T>();
}
inline std::int64_t span() {
  return *rc::gen::inRange<std::int64_t>(0, INT64_MAX);
}
inline IpAddress address() {
  IpAddress out;
  for (auto& byte : out.bytes) byte = number<std::uint8_t>();
  return out;
}
inline Prefix prefix() {
  return {address(), static_cast<std::uint8_t>(*rc::gen::inRange(0, 129))};
}
template <class T, class Make>
std::vector<T> some(Make make) {
  std::vector<T> out;
  for (int n = *rc::gen::inRange(0, 3); n > 0; --n) out.push_back(make());
  return out;
}

inline Condition condition(int depth) {
  using Kind = Condition::Kind;
  Condition out;
  out.kind = one_of(Kind::always, Kind::leaf);
  if (out.kind == Kind::leaf) {
    out.field = one_of(Condition::Field::label, Condition::Field::channel);
    out.values = words();
    out.number = number<std::uint64_t>();
  } else if (out.kind != Kind::always && depth < 4) {
    out.parts = some<Condition>([&] { return condition(depth + 1); });
  }
  return out;
}

inline Limit limit() {
  Limit out;
  out.rule = word();
  if (number<bool>()) out.bytes = number<std::uint64_t>();
  if (number<bool>()) out.customers = number<std::uint32_t>();
  out.window_ns = span();
  out.per = one_of(Per::unspecified, Per::flow);
  out.labels = number<std::uint32_t>();
  out.liftable = number<bool>();
  return out;
}

inline Rule rule(std::size_t limits) {
  Rule out;
  out.id = word();
  out.when = condition(0);
  out.action = one_of(Action::unspecified, Action::isolate);
  out.severity = one_of(Severity::unspecified, Severity::critical);
  for (std::uint32_t row = 0; row < limits; ++row) out.limits.push_back(row);
  if (number<bool>()) out.hold = Hold{span(), word(), one_of(Action::allow, Action::isolate)};
  out.excepts = words();
  return out;
}

inline Label label() {
  Label out;
  out.id = word();
  out.any = some<LabelSource>([] {
    return LabelSource{one_of(LabelSource::Kind::type, LabelSource::Kind::received_from),
                       word(),
                       number<std::uint32_t>(),
                       word(),
                       number<std::uint64_t>(),
                       number<std::uint32_t>()};
  });
  out.weight = {number<std::uint32_t>(), number<std::uint32_t>(), number<std::uint32_t>(),
                number<std::uint32_t>(), span()};
  return out;
}

inline Selector selector() {
  Selector out;
  out.kind = one_of(Selector::Kind::service, Selector::Kind::cidr);
  out.value = word();
  out.prefix = prefix();
  out.via = word();
  return out;
}

inline Policy policy() {
  Policy out;
  out.name = word();
  out.number = number<std::uint32_t>();
  out.mode = one_of(Mode::observe, Mode::enforce);
  out.on_exit = one_of(OnExit::release, OnExit::keep);
  out.defaults = {one_of(Action::allow, Action::isolate), word(), word(), number<std::uint64_t>()};
  out.defaults.other_families = one_of(OtherFamilies::detect, OtherFamilies::prevent);
  out.networks = some<Network>([] { return Network{word(), word(), some<IpAddress>(address)}; });
  out.resolvers = some<Resolver>([] { return Resolver{address(), word()}; });
  out.never_block = some<Prefix>(prefix);
  out.services = some<Service>([] {
    return Service{
        word(),         word(),         words(), words(), some<Prefix>(prefix),
        number<bool>(), number<bool>(), word(),  word(),  *rc::gen::inRange<char>('A', 'Z')};
  });
  out.indexes = some<Index>([] { return Index{word(), word()}; });
  out.labels = some<Label>(label);
  out.approved = some<Selector>(selector);
  out.known = known_text(
      some<std::string>([] { return fmt::format("a{}.example", number<std::uint32_t>()); }));
  out.limits = some<Limit>(limit);
  out.rules = some<Rule>([&] { return rule(out.limits.size()); });
  return out;
}

}  // namespace any
}  // namespace weir
