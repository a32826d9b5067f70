// The built-in default.
#include "core/policy/default_policy.h"

namespace weir {

std::shared_ptr<const Policy> default_policy() {
  static const auto policy = [] {
    auto built = std::make_shared<Policy>();
    built->name = "built-in default";
    built->mode = Mode::observe;
    return std::shared_ptr<const Policy>(std::move(built));
  }();
  return policy;
}

}  // namespace weir
