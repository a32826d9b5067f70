// What a policy file may say: shapes of values and fields of objects. Everything that knows a key
// or an allowed value reads this table: the check, its messages, the builder and the JSON Schema.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::surface {

struct Shape;

struct Field {
  // choice: exactly one of an object's choices; some: at least one of them.
  enum class Need : std::uint8_t { optional, required, choice, some };
  std::string_view name;
  const Shape* shape;
  Need need;
  std::string_view help;       // for the schema: what it does, with units
  std::string_view with = {};  // only beside this field
};

struct Shape {
  enum class Kind : std::uint8_t { scalar, nothing, list, one_or_list, map, object };
  Kind kind = Kind::scalar;
  std::string_view what = {};                 // scalar: "a size such as 64KiB"
  bool (*valid)(std::string_view) = nullptr;  // scalar
  std::vector<std::string> (*words)() =
      nullptr;                         // scalar: all that is allowed; object: short forms
  std::string_view pattern = {};       // scalar: for the schema
  bool number = false;                 // scalar: the schema takes a number too
  const Shape* item = nullptr;         // list, one_or_list, map (values)
  std::span<const Field> fields = {};  // object
  std::string_view name = {};          // definition in the schema, where it recurs
};

const Shape& policy_shape();

std::string joined(const std::vector<std::string>& words);  // "a, b or c"

}  // namespace weir::surface
