// The builder: one function for each object of the table.
#include "core/policy/surface/build.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "core/net/zone.h"
#include "core/policy/catalogue.h"
#include "core/policy/compile.h"
#include "core/policy/known_names.h"
#include "core/policy/resolvers.h"
#include "core/policy/units.h"
#include "core/policy/words.h"

namespace weir::surface {
namespace {

using Leaf = Condition::Field;

std::string text(const Node* node, std::string_view fallback = "") {
  return node ? node->text : std::string(fallback);
}
std::uint32_t count(const Node* node, std::uint32_t fallback) {
  if (node) std::from_chars(node->text.data(), node->text.data() + node->text.size(), fallback);
  return fallback;
}
std::uint64_t size(const Node* node, std::uint64_t fallback) {
  return node ? *parse_size(node->text) : fallback;
}
std::int64_t duration(const Node* node, std::int64_t fallback) {
  return node ? *parse_duration_ns(node->text) : fallback;
}
std::vector<std::string> texts(const Node* node) {
  std::vector<std::string> out;
  for (const Node* item : each(node)) out.push_back(item->text);
  return out;
}

template <class T>
std::vector<std::string> ids_of(const std::vector<T>& things) {
  std::vector<std::string> ids;
  for (const auto& thing : things) ids.push_back(thing.id);
  return ids;
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

class Builder {
 public:
  Builder(const ListTexts& lists, Errors& errors) : lists_(lists), errors_(errors) {}

  Policy build(const Node& root) {
    policy_.name = text(get(root, "name"));
    WEIR_CHECK(get(root, "apiVersion"));  // the table allows one value
    policy_.mode = text(get(root, "mode")) == "enforce" ? Mode::enforce : Mode::observe;
    policy_.on_exit = text(get(root, "on_exit")) == "keep" ? OnExit::keep : OnExit::release;
    if (const Node* node = get(root, "defaults")) defaults(*node);
    if (const Node* node = get(root, "networks")) networks(*node);
    for (const Node* node : each(get(root, "resolvers"))) resolver(*node);
    for (const std::string& range : texts(get(root, "never_block")))
      policy_.never_block.push_back(*Prefix::parse(range));
    if (const Node* node = get(root, "services")) services(*node);
    if (const Node* node = get(root, "indexes"))
      for (std::size_t i = 0; i < node->keys.size(); ++i)
        policy_.indexes.push_back({node->keys[i].text, node->items[i].text});
    if (const Node* node = get(root, "labels")) labels(*node);
    if (const Node* node = get(root, "destinations")) {
      for (const Node* one : each(get(*node, "approved"))) selector(*one);
      if (const Node* known = get(*node, "known")) known_places(*known);
    }
    for (const Node* node : each(get(root, "rules"))) rule(*node);
    add_rows_of_holds();
    derive(policy_);
    if (!errors_.empty()) return std::move(policy_);
    for (const Problem& problem : check_policy(policy_)) place(root, problem);
    if (policy_.mode == Mode::enforce) refuse_unprovable(root);
    return std::move(policy_);
  }

 private:
  // After the limits, so that their numbers are those of the text.
  void add_rows_of_holds() {
    for (Rule& rule : policy_.rules) {
      if (!rule.hold) continue;
      rule.limits.push_back(static_cast<std::uint32_t>(policy_.limits.size()));
      Limit& row = policy_.limits.emplace_back();
      row.rule = rule.id;
      row.per = Per::process_tree_destination;
    }
  }

  void place(const Node& root, const Problem& problem) {
    const auto at = rules_.find(problem.rule);
    if (at == rules_.end())
      errors_.add(root, problem.sentence);
    else
      errors_.add(*at->second, fmt::format("rule '{}': {}", problem.rule, problem.sentence));
  }

  // In observe it is told by `weir doctor`; in enforce such a rule would silently never hold.
  void refuse_unprovable(const Node& root) {
    const std::vector<const Node*> rules = each(get(root, "rules"));
    for (const Unprovable& one : unprovable(policy_))
      errors_.add(one.where == Unprovable::Where::approved ? *approved_[one.index]
                  : one.where == Unprovable::Where::known
                      ? *get(*get(root, "destinations"), "known")
                      : *rules[one.index],
                  one.sentence);
  }

  void refer(const Node& at, const std::vector<std::string>& known, std::string_view what) {
    if (contains(known, at.text)) return;
    errors_.add(at, known.empty()
                        ? fmt::format("'{}' is no {} of this policy, which has none", at.text, what)
                        : fmt::format("'{}' is no {} of this policy; allowed: {}", at.text, what,
                                      joined(known)));
  }
  void refer_service(const Node& at) {
    if (contains(ids_of(policy_.services), at.text) || Catalogue::built_in().find_id(at.text))
      return;
    errors_.add(
        at, fmt::format("'{}' is neither a service of this policy nor of the catalogue; allowed: "
                        "{}",
                        at.text,
                        policy_.services.empty()
                            ? "an id of data/catalogue.txt such as dropbox"
                            : joined(ids_of(policy_.services)) +
                                  ", or an id of data/catalogue.txt such as dropbox"));
  }
  void refer_upload(const Node& at) {
    if (contains(Catalogue::built_in().categories(), at.text)) return;
    if (contains(ids_of(policy_.services), at.text) || Catalogue::built_in().find_id(at.text))
      return;
    errors_.add(at,
                fmt::format("'{}' is neither a category nor a service; allowed: {}, or a service",
                            at.text, joined(Catalogue::built_in().categories())));
  }

  void defaults(const Node& node) {
    Defaults& out = policy_.defaults;
    out.on_deadline = *action_of(text(get(node, "on_deadline"), "allow"));
    out.on_uninspectable = text(get(node, "on_uninspectable"), out.on_uninspectable);
    out.on_full = text(get(node, "on_full"), out.on_full);
    out.first_flight = size(get(node, "first_flight"), out.first_flight);
    out.answers = size(get(node, "answers"), out.answers);
    if (text(get(node, "other_families")) == "prevent") out.other_families = OtherFamilies::prevent;
  }

  void networks(const Node& node) {
    for (std::size_t i = 0; i < node.keys.size(); ++i) {
      Network out{node.keys[i].text, text(get(node.items[i], "interface"))};
      for (const std::string& gateway : texts(get(node.items[i], "gateway")))
        out.gateways.push_back(*IpAddress::parse(gateway));
      policy_.networks.push_back(std::move(out));
    }
  }

  void resolver(const Node& node) {
    Resolver out{*IpAddress::parse(text(get(node, "address"))), text(get(node, "via"))};
    if (const Node* via = get(node, "via")) refer(*via, ids_of(policy_.networks), "network");
    policy_.resolvers.push_back(std::move(out));
  }

  void services(const Node& node) {
    for (std::size_t i = 0; i < node.keys.size(); ++i) {
      const Node& from = node.items[i];
      Service out;
      out.id = node.keys[i].text;
      out.domains = texts(get(from, "domains"));
      out.upload_hosts = texts(get(from, "upload_hosts"));
      for (const Node* range : each(get(from, "ranges")))
        out.ranges.push_back(*Prefix::parse(range->text));
      out.category = text(get(from, "category"));
      out.no_sni = text(get(from, "no_sni")) == "true";
      if (Catalogue::built_in().find_id(out.id))
        errors_.add(
            node.keys[i],
            fmt::format("'{}' is a service of the catalogue already; take another id", out.id));
      policy_.services.push_back(std::move(out));
    }
  }

  void labels(const Node& node) {
    for (std::size_t i = 0; i < node.keys.size(); ++i) {
      Label out;
      out.id = node.keys[i].text;
      for (const Node* source : each(get(node.items[i], "any")))
        out.any.push_back(label_source(*source));
      if (const Node* weight = get(node.items[i], "weight")) out.weight = label_weight(*weight);
      policy_.labels.push_back(std::move(out));
    }
  }

  LabelSource label_source(const Node& node) {
    LabelSource out;
    if (const Node* type = get(node, "type")) {
      out.kind = LabelSource::Kind::type;
      out.what = type->text;
      out.unique = count(get(node, "unique"), 1);
    } else if (const Node* index = get(node, "exact_match")) {
      out.kind = LabelSource::Kind::exact_match;
      out.what = index->text;
      out.unique = count(get(node, "rows"), 1);
      refer(*index, ids_of(policy_.indexes), "index");
    } else if (const Node* path = get(node, "path")) {
      out.kind = LabelSource::Kind::path;
      out.what = path->text;
    } else if (const Node* service = get(node, "received_from")) {
      out.kind = LabelSource::Kind::received_from;
      out.what = service->text;
      out.above = text(get(node, "above"));
      out.floor = size(get(node, "floor"), 0);
      out.bytes_per_customer = count(get(node, "bytes_per_customer"), 0);
      refer_service(*service);
    }
    return out;
  }

  Weight label_weight(const Node& node) {
    Weight out;
    out.report = count(get(node, "report"), out.report);
    out.tighten = count(get(node, "tighten"), out.tighten);
    out.strict = count(get(node, "strict"), out.strict);
    out.opaque_counts = count(get(node, "opaque_counts"), out.opaque_counts);
    out.half_life_ns = duration(get(node, "half_life"), out.half_life_ns);
    if (out.report > out.tighten || out.tighten > out.strict)
      errors_.add(node, "report, tighten and strict must not fall in this order");
    return out;
  }

  void selector(const Node& node) {
    Selector out;
    if (const Node* service = get(node, "service")) {
      out.kind = Selector::Kind::service;
      out.value = service->text;
      refer_service(*service);
    } else if (const Node* domain = get(node, "domain")) {
      out.kind = Selector::Kind::domain;
      out.value = domain->text;
    } else if (const Node* cidr = get(node, "cidr")) {
      out.kind = Selector::Kind::cidr;
      out.value = cidr->text;
      out.prefix = *Prefix::parse(cidr->text);
      if (!get(node, "via"))
        errors_.add(
            node,
            "a range alone proves nothing (every hotspot has a 10.0.0.0/8): 'via' must name "
            "the network over which it is reached");
    }
    out.via = text(get(node, "via"));
    if (const Node* via = get(node, "via")) refer(*via, ids_of(policy_.networks), "network");
    approved_.push_back(&node);
    policy_.approved.push_back(std::move(out));
  }

  void known_places(const Node& node) {
    std::vector<std::string> domains;
    for (const Node* one : each(&node)) {
      if (const Node* list = get(*one, "list")) {
        known_list(*list, domains);
        continue;
      }
      const Node& domain = *get(*one, "domain");
      if (!is_customers_domain(domain.text))
        errors_.add(domain, fmt::format("'{}' can't be registered by somebody: name a whole "
                                        "registered domain such as example.com",
                                        domain.text));
      domains.push_back(domain.text);
    }
    policy_.known = known_text(std::move(domains));
    if (policy_.known.size() > kMaxKnownBytes)
      errors_.add(node,
                  fmt::format("{} domains of {} bytes; at most {} bytes (some 50,000) are "
                              "allowed: shorten the lists",
                              known_count(policy_.known), policy_.known.size(), kMaxKnownBytes));
  }

  void known_list(const Node& node, std::vector<std::string>& domains) {
    named_.insert(node.text);
    if (named_.size() > kMaxLists)
      return errors_.add(node, fmt::format("at most {} lists are allowed", kMaxLists));
    const auto found = lists_.find(node.text);
    if (found == lists_.end())
      return errors_.add(node, fmt::format("the file '{}' was not given", node.text));
    if (!found->second) return errors_.add(node, found->second.error().sentence);
    Result<std::vector<std::string>> list = read_known_list(*found->second, node.text);
    if (!list) return errors_.add(node, list.error().sentence);
    domains.insert(domains.end(), list->begin(), list->end());
  }

  // ---- conditions -----------------------------------------------------------------------------

  static void leaf(std::vector<Condition>& parts, Leaf field, std::vector<std::string> values,
                   std::uint64_t number = 0) {
    Condition out;
    out.kind = Condition::Kind::leaf;
    out.field = field;
    out.values = std::move(values);
    out.number = number;
    parts.push_back(std::move(out));
  }

  static Condition group(Condition::Kind kind, std::vector<Condition> parts) {
    if (kind == Condition::Kind::all && parts.size() == 1) return std::move(parts[0]);
    Condition out;
    out.kind = kind;
    out.parts = std::move(parts);
    return out;
  }

  void leaves(std::vector<Condition>& parts, const Node& node, std::string_view key, Leaf field) {
    if (const Node* value = get(node, key)) leaf(parts, field, texts(value));
  }

  Condition condition(const Node& node) {
    std::vector<Condition> parts;
    leaves(parts, node, "label", Leaf::label);
    for (const Node* label : each(get(node, "label")))
      refer(*label, ids_of(policy_.labels), "label");
    if (const Node* weight = get(node, "weight"))
      leaf(parts, Leaf::weight, {}, customers(*weight, texts(get(node, "label"))));
    leaves(parts, node, "trust", Leaf::trust);
    leaves(parts, node, "upload_to", Leaf::upload_to);
    for (const Node* target : each(get(node, "upload_to"))) refer_upload(*target);
    if (const Node* burst = get(node, "burst")) leaf(parts, Leaf::burst, {}, size(burst, 0));
    if (const Node* to = get(node, "destination")) parts.push_back(destination(*to));
    leaves(parts, node, "detector", Leaf::detector);
    leaves(parts, node, "program", Leaf::program);
    if (const Node* person = get(node, "person")) {
      std::vector<std::string> uids;
      for (const Node* uid : each(person)) uids.push_back(fmt::format("{}", count(uid, 0)));
      leaf(parts, Leaf::person, std::move(uids));
    }
    leaves(parts, node, "channel", Leaf::channel);
    if (const Node* all = get(node, "all"))
      parts.push_back(group(Condition::Kind::all, conditions(*all)));
    if (const Node* any = get(node, "any"))
      parts.push_back(group(Condition::Kind::any, conditions(*any)));
    if (const Node* none = get(node, "not"))
      parts.push_back(group(Condition::Kind::none, one_part(condition(*none))));
    return group(Condition::Kind::all, std::move(parts));
  }

  std::vector<Condition> conditions(const Node& list) {
    std::vector<Condition> parts;
    for (const Node* node : each(&list)) parts.push_back(condition(*node));
    return parts;
  }

  static std::vector<Condition> one_part(Condition part) {
    std::vector<Condition> parts;
    parts.push_back(std::move(part));
    return parts;
  }

  Condition destination(const Node& node) {
    std::vector<Condition> parts;
    if (node.is_scalar()) {  // the table allows one word: approved
      leaf(parts, Leaf::destination_approved, {});
      return group(Condition::Kind::all, std::move(parts));
    }
    leaves(parts, node, "domain", Leaf::destination_domain);
    leaves(parts, node, "service", Leaf::destination_service);
    for (const Node* service : each(get(node, "service"))) refer_service(*service);
    leaves(parts, node, "cidr", Leaf::destination_cidr);
    leaves(parts, node, "category", Leaf::destination_category);
    if (const Node* none = get(node, "not"))
      parts.push_back(group(Condition::Kind::none, one_part(destination(*none))));
    return group(Condition::Kind::all, std::move(parts));
  }

  // A level becomes the number that the labels beside it give it, the lowest if there are several.
  std::uint64_t customers(const Node& level, const std::vector<std::string>& beside) {
    if (level.text != "report" && level.text != "tighten" && level.text != "strict")
      return count(&level, 1);
    std::optional<std::uint32_t> lowest;
    for (const Label& label : policy_.labels) {
      if (!beside.empty() && !contains(beside, label.id)) continue;
      const std::uint32_t value = level.text == "report"    ? label.weight.report
                                  : level.text == "tighten" ? label.weight.tighten
                                                            : label.weight.strict;
      lowest = std::min(lowest.value_or(value), value);
    }
    if (!lowest)
      errors_.add(level, fmt::format("'{}' needs a label that says what it is", level.text));
    return lowest.value_or(1);
  }

  // ---- rules ----------------------------------------------------------------------------------

  void rule(const Node& node) {
    Rule out;
    out.id = text(get(node, "id"));
    if (!rules_.emplace(out.id, &node).second)
      errors_.add(*get(node, "id"), fmt::format("'{}' is the id of an earlier rule, on line {}",
                                                out.id, rules_[out.id]->line));
    if (const Node* when = get(node, "when")) out.when = condition(*when);
    then(*get(node, "then"), out);
    policy_.rules.push_back(std::move(out));
  }

  void then(const Node& node, Rule& out) {
    if (node.is_scalar()) {
      out.action = *action_of(node.text);
      return;
    }
    for (const char* name : {"allow", "log", "warn", "limit", "hold", "block", "isolate"})
      if (get(node, name)) out.action = *action_of(name);
    if (const Node* severity = get(node, "severity")) out.severity = *severity_of(severity->text);
    if (const Node* allow = get(node, "allow")) out.excepts = texts(get(*allow, "excepts"));
    for (const Node* one : each(get(node, "limit"))) {
      out.limits.push_back(static_cast<std::uint32_t>(policy_.limits.size()));
      policy_.limits.push_back(limit(*one, out.id));
    }
    if (const Node* hold = get(node, "hold"))
      out.hold = Hold{duration(get(*hold, "for"), 0), text(get(*hold, "ask")),
                      *action_of(text(get(*hold, "otherwise"), "block"))};
  }

  Limit limit(const Node& node, const std::string& rule) {
    Limit out;
    out.rule = rule;
    if (const Node* bytes = get(node, "bytes")) out.bytes = size(bytes, 0);
    if (const Node* customers = get(node, "customers")) out.customers = count(customers, 0);
    if (const Node* window = get(node, "window")) out.window_ns = *parse_window_ns(window->text);
    out.per = per(*get(node, "per"));
    return out;
  }

  Per per(const Node& node) {
    static const std::map<std::vector<std::string>, Per> kForms = {
        {{"process_tree"}, Per::process_tree},
        {{"person"}, Per::person},
        {{"host"}, Per::host},
        {{"destination"}, Per::destination},
        {{"person", "destination"}, Per::destination},
        {{"process_tree", "destination"}, Per::process_tree_destination},
        {{"host", "destination"}, Per::host_destination},
        {{"flow"}, Per::flow}};
    const auto form = kForms.find(texts(&node));
    if (form != kForms.end()) return form->second;
    errors_.add(
        node,
        "a pair is [process_tree, destination], [person, destination] or [host, destination]");
    return Per::unspecified;
  }

  const ListTexts& lists_;
  Errors& errors_;
  Policy policy_;
  std::set<std::string> named_;  // lists
  std::map<std::string, const Node*> rules_;
  std::vector<const Node*> approved_;
};

}  // namespace

Policy build_policy(const Node& root, const ListTexts& lists, Errors& errors) {
  return Builder(lists, errors).build(root);
}

std::vector<std::string> named_lists(const Node& root) {
  std::vector<std::string> names;
  const Node* destinations = get(root, "destinations");
  for (const Node* one : each(destinations ? get(*destinations, "known") : nullptr))
    if (const Node* list = get(*one, "list"); list && !contains(names, list->text))
      if (names.size() < kMaxLists) names.push_back(list->text);
  return names;
}

}  // namespace weir::surface
