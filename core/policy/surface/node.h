// A YAML document as a plain tree with places, and nothing of yaml-cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace weir::surface {

struct Shape;

struct Node {
  enum class Kind : std::uint8_t { null, scalar, list, map };
  Kind kind = Kind::null;
  int line = 1, column = 1;      // counted from 1
  std::string text;              // scalar
  std::vector<Node> keys;        // map: scalars, as many as items
  std::vector<Node> items;       // list, map
  std::string path;              // rules[2].then.limit; set by the check against the table
  const Shape* shape = nullptr;  // likewise

  bool is_scalar() const { return kind == Kind::scalar; }
  bool is_list() const { return kind == Kind::list; }
  bool is_map() const { return kind == Kind::map; }
};

struct Trouble {  // what is wrong, and where
  int line = 1, column = 1;
  std::string sentence;
};

// Bounded in size, depth and documents (one); no aliases, anchors or tags.
tl::expected<Node, Trouble> read_yaml(std::string_view yaml);

}  // namespace weir::surface
