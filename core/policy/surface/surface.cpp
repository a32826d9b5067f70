// Text to Policy in three steps: YAML to a tree, the tree against the table, the tree to a value.
#include "core/policy/surface/surface.h"

#include "core/policy/surface/build.h"
#include "core/policy/surface/check.h"
#include "core/policy/surface/node.h"

namespace weir {

std::vector<std::string> lists_of(std::string_view yaml) {
  surface::Errors errors;
  auto root = surface::read_yaml(yaml);
  if (!root) return {};
  surface::check(*root, surface::policy_shape(), "", errors);
  return errors.empty() ? surface::named_lists(*root) : std::vector<std::string>();
}

Result<Policy> parse_policy(std::string_view yaml, const std::string& file_name,
                            const ListTexts& lists) {
  surface::Errors errors;
  auto root = surface::read_yaml(yaml);
  if (!root) {
    errors.add(root.error());
    return fail(errors.text(file_name));
  }
  surface::check(*root, surface::policy_shape(), "", errors);
  if (!errors.empty()) return fail(errors.text(file_name));
  Policy policy = surface::build_policy(*root, lists, errors);
  if (!errors.empty()) return fail(errors.text(file_name));
  return policy;
}

}  // namespace weir
