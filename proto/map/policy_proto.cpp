// Policy ↔ weir.v1.Policy: see policy_proto.h.
#include "proto/map/policy_proto.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <unordered_set>

#include "core/policy/known_names.h"
#include "proto/map/enums.h"

namespace weir {
namespace {

using map::core_of;
using map::wire_of;

// ---- to the wire -----------------------------------------------------------------------------

template <class Strings, class Repeated>
void copy_strings(const Strings& from, Repeated* to) {
  for (const auto& s : from) to->Add()->assign(s);
}

void put(const IpAddress& address, std::string* out) {
  out->assign(reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size());
}

void put(const Prefix& prefix, v1::Prefix* out) {
  put(prefix.address, out->mutable_address());
  out->set_length(prefix.length);
}

void put(const Limit& limit, v1::Limit* out) {
  out->set_rule(limit.rule);
  if (limit.bytes) out->set_bytes(*limit.bytes);
  if (limit.customers) out->set_customers(*limit.customers);
  out->set_window_ns(limit.window_ns);
  out->set_per(wire_of(map::kPers, limit.per));
  out->set_labels(limit.labels);
  out->set_fixed(!limit.liftable);
}

void put(const Condition& condition, v1::Condition* out) {
  out->set_kind(wire_of(map::kConditionKinds, condition.kind));
  for (const Condition& part : condition.parts) put(part, out->add_parts());
  out->set_field(wire_of(map::kConditionFields, condition.field));
  copy_strings(condition.values, out->mutable_values());
  out->set_number(condition.number);
}

void put(const Rule& rule, v1::Rule* out) {
  out->set_id(rule.id);
  put(rule.when, out->mutable_when());
  out->set_action(wire_of(map::kActions, rule.action));
  out->set_severity(wire_of(map::kSeverities, rule.severity));
  for (std::uint32_t row : rule.limits) out->add_limits(row);
  if (rule.hold) {
    out->mutable_hold()->set_for_ns(rule.hold->for_ns);
    out->mutable_hold()->set_ask(rule.hold->ask);
    out->mutable_hold()->set_otherwise(wire_of(map::kActions, rule.hold->otherwise));
  }
  copy_strings(rule.excepts, out->mutable_excepts());
}

void put(const Label& label, v1::Label* out) {
  out->set_id(label.id);
  for (const LabelSource& source : label.any) {
    v1::LabelSource* to = out->add_any();
    to->set_kind(wire_of(map::kLabelSources, source.kind));
    to->set_what(source.what);
    to->set_unique(source.unique);
    to->set_above(source.above);
    to->set_floor(source.floor);
    to->set_bytes_per_customer(source.bytes_per_customer);
  }
  v1::Weight* weight = out->mutable_weight();
  weight->set_report(label.weight.report);
  weight->set_tighten(label.weight.tighten);
  weight->set_strict(label.weight.strict);
  weight->set_opaque_counts(label.weight.opaque_counts);
  weight->set_half_life_ns(label.weight.half_life_ns);
}

void put(const Service& service, v1::Service* out) {
  out->set_id(service.id);
  out->set_category(service.category);
  copy_strings(service.domains, out->mutable_domains());
  copy_strings(service.upload_hosts, out->mutable_upload_hosts());
  for (const Prefix& range : service.ranges) put(range, out->add_ranges());
  out->set_shared_host(service.shared_host);
  out->set_no_sni(service.no_sni);
  out->set_title(service.title);
  out->set_region(service.region);
  out->set_confidence(std::string(1, service.confidence));
}

void put(const Selector& selector, v1::Selector* out) {
  out->set_kind(wire_of(map::kSelectors, selector.kind));
  out->set_value(selector.value);
  if (selector.kind == Selector::Kind::cidr) put(selector.prefix, out->mutable_prefix());
  out->set_via(selector.via);
}

// ---- from the wire ---------------------------------------------------------------------------

// Collects the first thing that is wrong; what is read after that is discarded by the caller.
class Taker {
 public:
  const std::string& wrong() const { return wrong_; }
  void refuse(std::string what) {
    if (wrong_.empty()) wrong_ = std::move(what);
  }

  template <class Core, class Wire, std::size_t N>
  Core pick(const map::Pairs<Core, Wire, N>& pairs, int value, std::string_view field) {
    if (std::optional<Core> core = core_of(pairs, value)) return *core;
    refuse(fmt::format("{} has the value {}, which this version does not know", field, value));
    return pairs[0].first;
  }

  template <class Repeated>
  const Repeated& bounded(const Repeated& list, std::string_view field) {
    static const Repeated kNone;
    if (static_cast<std::size_t>(list.size()) <= kMaxPolicyEntries) return list;
    refuse(
        fmt::format("{} has {} entries; the limit is {}", field, list.size(), kMaxPolicyEntries));
    return kNone;
  }

  template <class Repeated>
  std::vector<std::string> strings(const Repeated& list, std::string_view field) {
    const Repeated& taken = bounded(list, field);
    return {taken.begin(), taken.end()};
  }

  std::int64_t span_ns(std::int64_t value, std::string_view field) {
    if (value < 0)
      refuse(fmt::format("{} is {} ns; a length of time is not negative", field, value));
    return value;
  }

  IpAddress address(const std::string& bytes, std::string_view field) {
    if (bytes.size() == 16) return IpAddress::v6(bytes_of(bytes));
    refuse(fmt::format("{} has {} bytes; an address has 16", field, bytes.size()));
    return {};
  }

  Prefix prefix(const v1::Prefix& in, std::string_view field) {
    Prefix out{address(in.address(), field), 128};
    if (in.length() > 128) {
      refuse(fmt::format("{} has the length {}; a prefix has 0 to 128 bits", field, in.length()));
    } else {
      out.length = static_cast<std::uint8_t>(in.length());
    }
    return out;
  }

  Condition condition(const v1::Condition& in, int depth);
  Rule rule(const v1::Rule& in, std::size_t limits);
  Limit limit(const v1::Limit& in);
  Label label(const v1::Label& in);
  Service service(const v1::Service& in);
  Selector selector(const v1::Selector& in);

 private:
  std::string wrong_;
  std::size_t nodes_ = 0;
};

Condition Taker::condition(const v1::Condition& in, int depth) {
  Condition out;
  if (depth > kMaxConditionDepth) {
    refuse(fmt::format("a condition is nested deeper than {} levels", kMaxConditionDepth));
    return out;
  }
  if (++nodes_ > kMaxConditionNodes) {
    refuse(fmt::format("the rules have more than {} conditions", kMaxConditionNodes));
    return out;
  }
  out.kind = pick(map::kConditionKinds, in.kind(), "condition.kind");
  out.field = pick(map::kConditionFields, in.field(), "condition.field");
  bool is_leaf = out.kind == Condition::Kind::leaf;
  if (is_leaf != (out.field != Condition::Field::unspecified)) {
    refuse("a condition has a field exactly if it is a leaf; one is not so");
  }
  if (in.parts_size() > 0 && (is_leaf || out.kind == Condition::Kind::always)) {
    refuse("a condition without parts by its kind has parts");
  }
  for (const v1::Condition& part : bounded(in.parts(), "condition.parts")) {
    if (!wrong_.empty()) break;
    out.parts.push_back(condition(part, depth + 1));
  }
  out.values = strings(in.values(), "condition.values");
  out.number = in.number();
  return out;
}

Rule Taker::rule(const v1::Rule& in, std::size_t limits) {
  Rule out;
  out.id = in.id();
  if (in.has_when()) out.when = condition(in.when(), 1);
  out.action = pick(map::kActions, in.action(), "rule.action");
  out.severity = pick(map::kSeverities, in.severity(), "rule.severity");
  for (std::uint32_t row : bounded(in.limits(), "rule.limits")) {
    if (row >= limits) {
      refuse(fmt::format("rule \"{}\" names limit {}, but there are {}", in.id(), row, limits));
    }
    out.limits.push_back(row);
  }
  if (in.has_hold()) {
    out.hold = Hold{span_ns(in.hold().for_ns(), "hold.for_ns"), in.hold().ask(),
                    pick(map::kActions, in.hold().otherwise(), "hold.otherwise")};
  }
  out.excepts = strings(in.excepts(), "rule.excepts");
  return out;
}

Limit Taker::limit(const v1::Limit& in) {
  Limit out;
  out.rule = in.rule();
  if (in.has_bytes()) out.bytes = in.bytes();
  if (in.has_customers()) out.customers = in.customers();
  out.window_ns = span_ns(in.window_ns(), "limit.window_ns");
  out.per = pick(map::kPers, in.per(), "limit.per");
  out.labels = in.labels();
  out.liftable = !in.fixed();
  return out;
}

Label Taker::label(const v1::Label& in) {
  Label out;
  out.id = in.id();
  for (const v1::LabelSource& source : bounded(in.any(), "label.any")) {
    out.any.push_back({pick(map::kLabelSources, source.kind(), "label.any.kind"), source.what(),
                       source.unique(), source.above(), source.floor(),
                       source.bytes_per_customer()});
  }
  if (in.has_weight()) {
    const v1::Weight& w = in.weight();
    out.weight = {w.report(), w.tighten(), w.strict(), w.opaque_counts(),
                  span_ns(w.half_life_ns(), "weight.half_life_ns")};
  }
  return out;
}

Service Taker::service(const v1::Service& in) {
  Service out;
  out.id = in.id();
  out.category = in.category();
  out.domains = strings(in.domains(), "service.domains");
  out.upload_hosts = strings(in.upload_hosts(), "service.upload_hosts");
  for (const v1::Prefix& range : bounded(in.ranges(), "service.ranges")) {
    out.ranges.push_back(prefix(range, "service.ranges"));
  }
  out.shared_host = in.shared_host();
  out.no_sni = in.no_sni();
  out.title = in.title();
  out.region = in.region();
  if (in.confidence().size() > 1) refuse("service.confidence is more than one letter");
  if (!in.confidence().empty()) out.confidence = in.confidence()[0];
  return out;
}

Selector Taker::selector(const v1::Selector& in) {
  Selector out;
  out.kind = pick(map::kSelectors, in.kind(), "approved.kind");
  out.value = in.value();
  if (in.has_prefix() != (out.kind == Selector::Kind::cidr)) {
    refuse("an approved destination has a prefix exactly if it is a cidr; one is not so");
  }
  if (in.has_prefix()) out.prefix = prefix(in.prefix(), "approved.prefix");
  out.via = in.via();
  return out;
}

// Fields that this version does not know, anywhere below. The depth is bounded by the parser's
// recursion limit or, for a message that came otherwise, here.
bool has_unknown_fields(const google::protobuf::Message& message, int depth = 0) {
  const auto* reflection = message.GetReflection();
  if (!reflection->GetUnknownFields(message).empty()) return true;
  if (depth > kMaxConditionDepth + 2) return false;  // refused by depth later
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      if (has_unknown_fields(reflection->GetMessage(message, field), depth + 1)) return true;
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      if (has_unknown_fields(reflection->GetRepeatedMessage(message, field, i), depth + 1)) {
        return true;
      }
    }
  }
  return false;
}

Defaults defaults_from(const v1::Defaults& in, Taker& take) {
  Defaults out;
  out.on_deadline = take.pick(map::kActions, in.on_deadline(), "defaults.on_deadline");
  out.on_uninspectable = in.on_uninspectable();
  out.on_full = in.on_full();
  out.first_flight = in.first_flight();
  if (in.has_answers()) out.answers = in.answers();
  if (in.other_families() != v1::OtherFamilies::OTHER_FAMILIES_UNSPECIFIED)
    out.other_families =
        take.pick(map::kOtherFamilies, in.other_families(), "defaults.other_families");
  return out;
}

void take_lists(const v1::Policy& in, Taker& take, Policy& out) {
  for (const auto& n : take.bounded(in.networks(), "networks")) {
    Network network{n.id(), n.interface()};
    for (const auto& gateway : take.bounded(n.gateways(), "networks.gateways"))
      network.gateways.push_back(take.address(gateway, "networks.gateways"));
    out.networks.push_back(std::move(network));
  }
  for (const auto& r : take.bounded(in.resolvers(), "resolvers")) {
    out.resolvers.push_back({take.address(r.address(), "resolvers.address"), r.via()});
  }
  for (const auto& range : take.bounded(in.never_block(), "never_block")) {
    out.never_block.push_back(take.prefix(range, "never_block"));
  }
  for (const auto& s : take.bounded(in.services(), "services")) {
    out.services.push_back(take.service(s));
  }
  for (const auto& i : take.bounded(in.indexes(), "indexes")) {
    out.indexes.push_back({i.id(), i.file()});
  }
  for (const auto& l : take.bounded(in.labels(), "labels")) out.labels.push_back(take.label(l));
  for (const auto& s : take.bounded(in.approved(), "approved")) {
    out.approved.push_back(take.selector(s));
  }
  out.known = in.known();
  if (!is_known_text(out.known)) take.refuse("known is no sorted text of domains, or too long");
  for (const auto& l : take.bounded(in.limits(), "limits")) out.limits.push_back(take.limit(l));
  for (const auto& r : take.bounded(in.rules(), "rules")) {
    out.rules.push_back(take.rule(r, out.limits.size()));
  }
}

}  // namespace

void to_proto(const Policy& policy, v1::Policy& out) {
  out.Clear();
  out.set_name(policy.name);
  out.set_number(policy.number);
  out.set_mode(wire_of(map::kModes, policy.mode));
  out.set_on_exit(wire_of(map::kOnExits, policy.on_exit));
  v1::Defaults* defaults = out.mutable_defaults();
  defaults->set_on_deadline(wire_of(map::kActions, policy.defaults.on_deadline));
  defaults->set_on_uninspectable(policy.defaults.on_uninspectable);
  defaults->set_on_full(policy.defaults.on_full);
  defaults->set_first_flight(policy.defaults.first_flight);
  defaults->set_answers(policy.defaults.answers);
  if (policy.defaults.other_families !=
      OtherFamilies::detect)  // agents before it know no such field
    defaults->set_other_families(wire_of(map::kOtherFamilies, policy.defaults.other_families));
  for (const Network& network : policy.networks) {
    v1::Network* to = out.add_networks();
    to->set_id(network.id);
    to->set_interface(network.interface);
    for (const IpAddress& gateway : network.gateways) put(gateway, to->add_gateways());
  }
  for (const Resolver& resolver : policy.resolvers) {
    v1::Resolver* to = out.add_resolvers();
    put(resolver.address, to->mutable_address());
    to->set_via(resolver.via);
  }
  for (const Prefix& range : policy.never_block) put(range, out.add_never_block());
  for (const Service& service : policy.services) put(service, out.add_services());
  for (const Index& index : policy.indexes) {
    v1::Index* to = out.add_indexes();
    to->set_id(index.id);
    to->set_file(index.file);
  }
  for (const Label& label : policy.labels) put(label, out.add_labels());
  for (const Selector& selector : policy.approved) put(selector, out.add_approved());
  out.set_known(policy.known);
  for (const Rule& rule : policy.rules) put(rule, out.add_rules());
  for (const Limit& limit : policy.limits) put(limit, out.add_limits());
}

Result<Policy> from_proto(const v1::Policy& in) {
  if (has_unknown_fields(in)) {
    return fail("the policy has a part that this version does not know; update the agent first");
  }
  Taker take;
  Policy out;
  out.name = in.name();
  out.number = in.number();
  out.mode = take.pick(map::kModes, in.mode(), "mode");
  out.on_exit = take.pick(map::kOnExits, in.on_exit(), "on_exit");
  if (in.has_defaults()) out.defaults = defaults_from(in.defaults(), take);
  if (static_cast<std::size_t>(in.limits_size()) > kMaxLimits) {
    take.refuse(fmt::format("limits has {} rows; the limit is {}", in.limits_size(), kMaxLimits));
  }
  if (take.wrong().empty()) take_lists(in, take, out);
  if (!take.wrong().empty()) return fail("the policy can't be used: " + take.wrong());
  return out;
}

std::string policy_bytes(const Policy& policy) {
  v1::Policy message;
  to_proto(policy, message);
  return message.SerializeAsString();
}

Result<Policy> policy_from_bytes(Bytes bytes) {
  if (bytes.size() > kMaxCompiledBytes) {
    return fail(
        fmt::format("the policy has {} bytes; the limit is {}", bytes.size(), kMaxCompiledBytes));
  }
  google::protobuf::io::CodedInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  stream.SetRecursionLimit(kMaxConditionDepth + 2);  // policy, rule, then the conditions
  v1::Policy message;
  if (!message.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage()) {
    return fail("the policy's bytes are cut, damaged or nested too deeply");
  }
  return from_proto(message);
}

}  // namespace weir
