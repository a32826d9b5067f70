// Reads at most as much as a policy may have.
#include "agent/cli/policy_file.h"

#include <fmt/format.h>

#include "core/policy/surface/surface.h"
#include "platform/input/input.h"

namespace weir {

Result<std::shared_ptr<const Policy>> read_policy_file(const std::string& path) {
  Result<std::string> text = read_input(path, kMaxPolicyBytes);
  if (!text) return tl::unexpected(text.error());
  if (text->size() > kMaxPolicyBytes)
    return fail(fmt::format("{}: larger than {} bytes", path, kMaxPolicyBytes));
  auto policy = parse_policy(*text, path);
  if (!policy) return tl::unexpected(policy.error());
  return std::make_shared<const Policy>(*std::move(policy));
}

}  // namespace weir
