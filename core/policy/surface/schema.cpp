// The table as JSON Schema (draft 2020-12), for completion and checks in editors. What only the
// builder knows (references) it leaves out.
#include <fmt/format.h>

#include <map>

#include "core/policy/surface/surface.h"
#include "core/policy/surface/table.h"

namespace weir {
namespace {

using surface::Field;
using surface::Shape;

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;  // the table has no control characters
  }
  return out + '"';
}

std::string array_of(const std::vector<std::string>& parts) {
  std::string out = "[";
  for (const auto& part : parts) out += (out.size() > 1 ? "," : "") + part;
  return out + "]";
}

std::string array_of_names(const Shape& shape, Field::Need need) {
  std::vector<std::string> names;
  for (const Field& field : shape.fields)
    if (field.need == need) names.push_back(quoted(field.name));
  return names.empty() ? "" : array_of(names);
}

// Each of these names as {"required": [name]}.
std::string one_required_each(const Shape& shape, Field::Need need) {
  std::vector<std::string> parts;
  for (const Field& field : shape.fields)
    if (field.need == need)
      parts.push_back(fmt::format("{{\"required\":[{}]}}", quoted(field.name)));
  return parts.empty() ? "" : array_of(parts);
}

class Writer {
 public:
  std::string write(const Shape& root) {
    const std::string body = inner(root);
    std::string definitions;
    for (const auto& [name, text] : definitions_)
      definitions += (definitions.empty() ? "" : ",") + quoted(name) + ":" + text;
    return fmt::format(
        "{{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"Weir policy\","
        "\"$defs\":{{{}}},{}}}",
        definitions, body.substr(1, body.size() - 2));
  }

 private:
  std::string schema(const Shape& shape) {
    if (shape.name.empty()) return inner(shape);
    const std::string name(shape.name);
    if (definitions_.try_emplace(name, "").second) {
      std::string text = inner(shape);  // may come back to this name: it is there already
      definitions_[name] = std::move(text);
    }
    return fmt::format("{{\"$ref\":\"#/$defs/{}\"}}", name);
  }

  std::string inner(const Shape& shape) {
    switch (shape.kind) {
      case Shape::Kind::scalar:
        return scalar(shape);
      case Shape::Kind::nothing:
        return R"({"anyOf":[{"type":"null"},{"type":"object","maxProperties":0}]})";
      case Shape::Kind::list:
        return fmt::format(R"({{"type":"array","minItems":1,"items":{}}})", schema(*shape.item));
      case Shape::Kind::one_or_list: {
        const std::string item = schema(*shape.item);
        return fmt::format(R"({{"anyOf":[{},{{"type":"array","minItems":1,"items":{}}}]}})", item,
                           item);
      }
      case Shape::Kind::map:
        return fmt::format(
            R"({{"type":"object","propertyNames":{{"pattern":"^[a-z0-9][a-z0-9_-]{{0,63}}$"}},)"
            R"("additionalProperties":{}}})",
            schema(*shape.item));
      case Shape::Kind::object:
        return object(shape);
    }
    return "{}";
  }

  static std::string words(const Shape& shape) {
    std::vector<std::string> parts;
    for (const auto& word : shape.words())
      // YAML reads a bare true or false as a boolean in most editors.
      parts.push_back(word == "true" || word == "false" ? word : quoted(word));
    return fmt::format("{{\"enum\":{}}}", array_of(parts));
  }

  static std::string scalar(const Shape& shape) {
    if (shape.words) return words(shape);
    std::string out = "{\"type\":";
    out += shape.number ? R"(["string","integer"])" : R"("string")";
    out += ",\"description\":" + quoted(shape.what);
    if (!shape.pattern.empty()) out += ",\"pattern\":" + quoted(shape.pattern);
    return out + "}";
  }

  std::string object(const Shape& shape) {
    std::string properties, dependent;
    for (const Field& field : shape.fields) {
      // A description beside $ref is allowed since draft 2019-09.
      std::string value = schema(*field.shape);
      value.insert(1, fmt::format("\"title\":{},", quoted(field.help)));
      properties +=
          fmt::format("{}{}:{}", properties.empty() ? "" : ",", quoted(field.name), value);
      if (!field.with.empty())
        dependent += fmt::format("{}{}:[{}]", dependent.empty() ? "" : ",", quoted(field.name),
                                 quoted(field.with));
    }
    std::string out = fmt::format(
        R"({{"type":"object","additionalProperties":false,"properties":{{{}}})", properties);
    if (const auto names = array_of_names(shape, Field::Need::required); !names.empty())
      out += ",\"required\":" + names;
    if (const auto one = one_required_each(shape, Field::Need::choice); !one.empty())
      out += ",\"oneOf\":" + one;
    if (const auto some = one_required_each(shape, Field::Need::some); !some.empty())
      out += ",\"anyOf\":" + some;
    if (!dependent.empty()) out += ",\"dependentRequired\":{" + dependent + "}";
    out += "}";
    return shape.words ? fmt::format("{{\"anyOf\":[{},{}]}}", words(shape), out) : out;
  }

  std::map<std::string, std::string> definitions_;
};

}  // namespace

std::string json_schema() {
  return Writer().write(surface::policy_shape());
}

}  // namespace weir
