// The walk over document and table. Its depth is bounded by the document's (kMaxPolicyDepth).
#include "core/policy/surface/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/policy/surface/surface.h"

namespace weir::surface {
namespace {

constexpr std::size_t kMaxShown = 60;  // characters of a wrong value that a message repeats

std::string shown(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, kMaxShown))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (text.size() > kMaxShown) out += "...";
  return "'" + out + "'";
}

std::string_view kind_of(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::scalar:
      return "a plain value";
    case Node::Kind::list:
      return "a list";
    case Node::Kind::map:
      return "a mapping";
  }
  return "";
}

std::vector<std::string> names_of(const Shape& shape) {
  std::vector<std::string> names;
  for (const Field& field : shape.fields) names.emplace_back(field.name);
  return names;
}

std::vector<std::string> names_of(const Shape& shape, Field::Need need) {
  std::vector<std::string> names;
  for (const Field& field : shape.fields)
    if (field.need == need) names.emplace_back(field.name);
  return names;
}

std::string allowed(const Shape& shape) {
  switch (shape.kind) {
    case Shape::Kind::scalar:
      return shape.words ? joined(shape.words()) : std::string(shape.what);
    case Shape::Kind::nothing:
      return "nothing";
    case Shape::Kind::list:
      return "a list";
    case Shape::Kind::one_or_list:
      return allowed(*shape.item) + ", or a list of such";
    case Shape::Kind::map:
      return "a mapping of ids";
    case Shape::Kind::object: {
      const std::string keys = "a mapping with " + joined(names_of(shape));
      return shape.words ? joined(shape.words()) + ", or " + keys : keys;
    }
  }
  return "";
}

bool has_word(const Shape& shape, const Node& node) {
  if (!shape.words || !node.is_scalar()) return false;
  const auto words = shape.words();
  return std::find(words.begin(), words.end(), node.text) != words.end();
}

void check_scalar(const Node& node, const Shape& shape, Errors& errors) {
  if (!node.is_scalar()) {
    errors.add(node, fmt::format("is {}; allowed: {}", kind_of(node), allowed(shape)));
  } else if (shape.words ? !has_word(shape, node) : !shape.valid(node.text)) {
    errors.add(
        node, fmt::format("{} is not allowed here; allowed: {}", shown(node.text), allowed(shape)));
  }
}

void check_needs(const Node& node, const Shape& shape, Errors& errors) {
  std::size_t choices = 0, somes = 0;
  for (const Field& field : shape.fields) {
    const bool there = get(node, field.name) != nullptr;
    if (field.need == Field::Need::required && !there)
      errors.add(node, fmt::format("'{}' is missing: {}", field.name, allowed(*field.shape)));
    if (there && !field.with.empty() && !get(node, field.with))
      errors.add(*get(node, field.name),
                 fmt::format("'{}' is only allowed beside '{}'", field.name, field.with));
    choices += there && field.need == Field::Need::choice;
    somes += there && field.need == Field::Need::some;
  }
  if (const auto names = names_of(shape, Field::Need::choice); !names.empty() && choices != 1)
    errors.add(node, fmt::format("needs exactly one of {}", joined(names)));
  if (const auto names = names_of(shape, Field::Need::some); !names.empty() && somes == 0)
    errors.add(node, fmt::format("needs at least one of {}", joined(names)));
}

void check_object(Node& node, const Shape& shape, Errors& errors) {
  if (has_word(shape, node)) return;
  if (!node.is_map()) {
    errors.add(node, node.is_scalar()
                         ? fmt::format("{} is not allowed here; allowed: {}", shown(node.text),
                                       allowed(shape))
                         : fmt::format("is {}; allowed: {}", kind_of(node), allowed(shape)));
    return;
  }
  std::set<std::string_view> seen;
  const std::string prefix = node.path.empty() ? "" : node.path + ".";
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    Node& key = node.keys[i];
    key.path = node.path;
    const auto field = std::find_if(shape.fields.begin(), shape.fields.end(),
                                    [&](const Field& f) { return f.name == key.text; });
    if (field == shape.fields.end())
      errors.add(key, fmt::format("{} is not known here; allowed: {}", shown(key.text),
                                  joined(names_of(shape))));
    else if (!seen.insert(key.text).second)
      errors.add(key, fmt::format("{} stands here twice", shown(key.text)));
    else
      check(node.items[i], *field->shape, prefix + key.text, errors);
  }
  check_needs(node, shape, errors);
}

void check_map(Node& node, const Shape& shape, Errors& errors) {
  if (!node.is_map()) {
    errors.add(node, fmt::format("is {}; allowed: {}", kind_of(node), allowed(shape)));
    return;
  }
  static const Shape& id = *policy_shape().fields[1].shape;  // name: an id
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    Node& key = node.keys[i];
    key.path = node.path;
    if (!id.valid(key.text))
      errors.add(key, fmt::format("{} is not allowed here; allowed: {}", shown(key.text), id.what));
    else if (!seen.insert(key.text).second)
      errors.add(key, fmt::format("{} stands here twice", shown(key.text)));
    else
      check(node.items[i], *shape.item, node.path + "." + key.text, errors);
  }
}

void check_list(Node& node, const Shape& shape, Errors& errors) {
  if (!node.is_list()) {
    errors.add(node, fmt::format("is {}; allowed: {}", kind_of(node), allowed(shape)));
    return;
  }
  if (node.items.empty()) errors.add(node, "the list is empty; leave it out instead");
  for (std::size_t i = 0; i < node.items.size(); ++i)
    check(node.items[i], *shape.item, fmt::format("{}[{}]", node.path, i), errors);
}

}  // namespace

void Errors::add(const Node& at, std::string_view what) {
  list_.push_back({at.line, at.column,
                   at.path.empty() ? std::string(what) : fmt::format("{}: {}", at.path, what)});
}

std::string Errors::text(std::string_view file) const {
  std::vector<Trouble> sorted = list_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Trouble& a, const Trouble& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  std::string out;
  std::size_t lines = 0;
  for (const Trouble& trouble : sorted) {
    if (lines++ == kMaxPolicyErrors) {
      out += fmt::format("\n{}: and {} more", file, sorted.size() - kMaxPolicyErrors);
      break;
    }
    if (!out.empty()) out += '\n';
    out += fmt::format("{}:{}:{}: {}", file, trouble.line, trouble.column, trouble.sentence);
  }
  return out;
}

void check(Node& node, const Shape& shape, std::string path, Errors& errors) {
  node.path = std::move(path);
  node.shape = &shape;
  switch (shape.kind) {
    case Shape::Kind::scalar:
      return check_scalar(node, shape, errors);
    case Shape::Kind::nothing:
      if (node.kind != Node::Kind::null && !(node.is_map() && node.keys.empty()))
        errors.add(node, fmt::format("takes no value, but has {}", kind_of(node)));
      return;
    case Shape::Kind::list:
      return check_list(node, shape, errors);
    case Shape::Kind::one_or_list:
      if (node.is_list()) return check_list(node, shape, errors);
      check(node, *shape.item, node.path, errors);
      node.shape = &shape;
      return;
    case Shape::Kind::map:
      return check_map(node, shape, errors);
    case Shape::Kind::object:
      return check_object(node, shape, errors);
  }
}

const Node* get(const Node& object, std::string_view field) {
  const Shape* shape = object.shape;
  if (shape->kind == Shape::Kind::one_or_list) shape = shape->item;
  WEIR_CHECK(std::any_of(shape->fields.begin(), shape->fields.end(),
                         [&](const Field& f) { return f.name == field; }));
  for (std::size_t i = 0; i < object.keys.size(); ++i)
    if (object.keys[i].text == field) return &object.items[i];
  return nullptr;
}

std::vector<const Node*> each(const Node* node) {
  std::vector<const Node*> nodes;
  if (!node) return nodes;
  if (!node->is_list()) return {node};
  for (const Node& item : node->items) nodes.push_back(&item);
  return nodes;
}

}  // namespace weir::surface
