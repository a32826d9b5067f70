// The JSON Schema: what it accepts and refuses agrees with the parser, and the table is complete.
// The schema is read by yaml-cpp (JSON is YAML) and applied by the few keywords that it uses.
#include <yaml-cpp/yaml.h>

#include <functional>
#include <regex>
#include <set>

#include "core/policy/surface/table.h"
#include "tests/core/policy/sample.h"

namespace weir {
namespace {

class Schema {
 public:
  explicit Schema(const std::string& text) : root_(YAML::Load(text)) {}
  bool accepts(const YAML::Node& value) const { return accepts(root_, value); }

 private:
  static bool is_integer(const std::string& text) {
    return std::regex_match(text, std::regex("-?[0-9]+"));
  }

  bool type(const std::string& name, const YAML::Node& value) const {
    if (name == "object") return value.IsMap();
    if (name == "array") return value.IsSequence();
    if (name == "null") return value.IsNull();
    if (name == "integer") return value.IsScalar() && is_integer(value.Scalar());
    return value.IsScalar();
  }

  bool accepts(const YAML::Node& schema, const YAML::Node& value) const {
    for (const auto& entry : schema)
      if (!keyword(schema, entry.first.as<std::string>(), entry.second, value)) return false;
    return true;
  }

  bool keyword(const YAML::Node& schema, const std::string& key, const YAML::Node& rule,
               const YAML::Node& value) const {
    const auto each = [&](const YAML::Node& list) {
      int count = 0;
      for (const auto& one : list) count += accepts(one, value);
      return count;
    };
    if (key == "$ref") return accepts(root_["$defs"][rule.as<std::string>().substr(8)], value);
    if (key == "anyOf") return each(rule) > 0;
    if (key == "oneOf") return each(rule) == 1;
    if (key == "type") {
      if (rule.IsScalar()) return type(rule.as<std::string>(), value);
      return std::any_of(rule.begin(), rule.end(), [&](const auto& name) {
        return type(name.template as<std::string>(), value);
      });
    }
    if (key == "enum")
      return value.IsScalar() && std::any_of(rule.begin(), rule.end(), [&](const auto& word) {
               return word.template as<std::string>() == value.Scalar();
             });
    if (key == "pattern")
      return !value.IsScalar() ||
             std::regex_search(value.Scalar(), std::regex(rule.as<std::string>()));
    if (key == "minItems") return value.IsSequence() && value.size() >= rule.as<std::size_t>();
    if (key == "maxProperties") return value.size() <= rule.as<std::size_t>();
    if (key == "items")
      return std::all_of(value.begin(), value.end(),
                         [&](const auto& item) { return accepts(rule, item); });
    if (key == "required")
      return std::all_of(rule.begin(), rule.end(), [&](const auto& name) {
        return value.IsMap() && value[name.template as<std::string>()];
      });
    return members(schema, key, rule, value);
  }

  bool members(const YAML::Node& schema, const std::string& key, const YAML::Node& rule,
               const YAML::Node& value) const {
    if (!value.IsMap()) return true;
    for (const auto& member : value) {
      const std::string name = member.first.as<std::string>();
      const YAML::Node known = schema["properties"] ? schema["properties"][name] : YAML::Node();
      const bool declared = known.IsDefined() && known.IsMap();
      if (key == "properties" && declared && !accepts(known, member.second)) return false;
      if (key == "additionalProperties" && !declared &&
          (rule.IsScalar() || !accepts(rule, member.second)))
        return false;
      if (key == "propertyNames" &&
          !std::regex_search(name, std::regex(rule["pattern"].as<std::string>())))
        return false;
      if (key == "dependentRequired" && rule[name])
        for (const auto& other : rule[name])
          if (!value[other.as<std::string>()]) return false;
    }
    return true;
  }

  YAML::Node root_;
};

TEST(json_schema, accepts_what_the_parser_accepts) {
  const Schema schema(json_schema());
  EXPECT_TRUE(schema.accepts(YAML::Load(read_tree_file("data/policies/support-desk.yaml"))));
  for (const char* rule :
       {"{id: a, then: log}", "{id: a, then: {log: }}", "{id: a, then: {warn: {}, severity: low}}",
        "{id: a, then: {limit: {bytes: 5, per: host}}}",
        "{id: a, then: {limit: [{customers: 5, window: 7d, per: [person, destination]}]}}",
        "{id: a, when: {not: {any: [{person: 5}, {trust: [known]}]}}, then: {hold: {for: 45s}}}",
        "{id: a, when: {destination: {not: {not: approved}}}, then: block}"}) {
    const std::string yaml = with_rules(std::string("  - ") + rule + "\n");
    EXPECT_TRUE(parse_policy(yaml, "p")) << rule;
    EXPECT_TRUE(schema.accepts(YAML::Load(yaml))) << rule;
  }
}

TEST(json_schema, refuses_what_the_parser_refuses_by_the_table) {
  const Schema schema(json_schema());
  for (const char* rule :
       {"{id: a, then: allow}", "{id: a, then: {log: loud}}", "{id: a, then: {log: , warn: }}",
        "{id: a, then: {severity: low}}", "{id: a, then: {limit: {per: host}}}",
        "{id: a, then: {limit: {bytes: 5}}}", "{id: a, then: {limit: []}}",
        "{id: a, then: {limit: {bytes: 5KB, per: host}}}", "{id: a, when: {}, then: log}",
        "{id: a, when: {odd: 1}, then: log}", "{id: a, when: {detector: odd}, then: log}",
        "{id: a, when: {not: {any: []}}, then: log}", "{id: A, then: log}", "{id: a}",
        "{id: a, when: {destination: anywhere}, then: log}"}) {
    const std::string yaml = with_rules(std::string("  - ") + rule + "\n");
    EXPECT_FALSE(parse_policy(yaml, "p")) << rule;
    EXPECT_FALSE(schema.accepts(YAML::Load(yaml))) << rule;
  }
  const std::string head = "apiVersion: weir/v1\nname: p\nrules: [{id: a, then: log}]\n";
  for (const char* part :
       {"mode: on", "odd: 1", "labels: {a: {any: [{unique: 5, path: /a}]}}",
        "services: {a: {category: paste}}", "services: {A b: {domains: a.example}}",
        "destinations: {approved: [{via: x}]}"}) {
    EXPECT_FALSE(parse_policy(head + part, "p")) << part;
    EXPECT_FALSE(schema.accepts(YAML::Load(head + part))) << part;
  }
}

TEST(table, every_field_is_read_by_the_builder_and_explained) {
  const std::string builder = read_tree_file("core/policy/surface/build.cpp");
  std::set<const surface::Shape*> seen;
  std::size_t fields = 0;
  const std::function<void(const surface::Shape&)> walk = [&](const surface::Shape& shape) {
    if (!seen.insert(&shape).second) return;
    if (shape.item) walk(*shape.item);
    for (const surface::Field& field : shape.fields) {
      ++fields;
      EXPECT_NE(builder.find("\"" + std::string(field.name) + "\""), std::string::npos)
          << field.name << " is in the table, and nothing reads it";
      EXPECT_FALSE(field.help.empty()) << field.name;
      walk(*field.shape);
    }
  };
  walk(surface::policy_shape());
  EXPECT_GT(fields, 60u);
}

}  // namespace
}  // namespace weir
