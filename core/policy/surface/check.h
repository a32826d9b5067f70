// Compares a document with the table. After a check without errors the builder may rely on shapes.
#pragma once

#include <string>
#include <vector>

#include "core/policy/surface/node.h"
#include "core/policy/surface/table.h"

namespace weir::surface {

class Errors {
 public:
  void add(const Node& at, std::string_view what);  // "where: what", at the node's place
  void add(Trouble trouble) { list_.push_back(std::move(trouble)); }
  bool empty() const { return list_.empty(); }
  // Sorted by place, each once, at most kMaxPolicyErrors: "FILE:LINE:COLUMN: …", one a line.
  std::string text(std::string_view file) const;

 private:
  std::vector<Trouble> list_;
};

// Sets path and shape of every node that fits.
void check(Node& node, const Shape& shape, std::string path, Errors& errors);

// The value of a field, or null if it is absent. The field must be in the table.
const Node* get(const Node& object, std::string_view field);

// A one_or_list as nodes; empty for null.
std::vector<const Node*> each(const Node* node);

}  // namespace weir::surface
