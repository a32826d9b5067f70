// Reads at most as much as a policy may have.
#include "agent/cli/policy_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/policy/surface/surface.h"

namespace weir {

Result<std::shared_ptr<const Policy>> read_policy_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxPolicyBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad())
    return fail(fmt::format("{}: can't be read: {}", path, std::strerror(errno)));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxPolicyBytes)
    return fail(fmt::format("{}: larger than {} bytes", path, kMaxPolicyBytes));
  auto policy = parse_policy(text, path);
  if (!policy) return tl::unexpected(policy.error());
  return std::make_shared<const Policy>(*std::move(policy));
}

}  // namespace weir
