// Reads at most as much as a policy may have.
#include "agent/cli/policy_file.h"

#include <fmt/format.h>

#include "agent/guard/compiled.h"
#include "agent/run/collector.h"
#include "core/policy/known_names.h"
#include "core/policy/surface/surface.h"
#include "platform/files/lists.h"
#include "platform/input/input.h"
#include "proto/map/envelope_proto.h"
#include "proto/map/policy_proto.h"

namespace weir {

Result<std::shared_ptr<const Policy>> read_policy_file(const std::string& path) {
  Result<std::string> text = read_input(path, kMaxPolicyBytes);
  if (!text) return tl::unexpected(text.error());
  if (text->size() > kMaxPolicyBytes)
    return fail(fmt::format("{}: larger than {} bytes", path, kMaxPolicyBytes));
  auto policy = parse_policy(*text, path, read_beside(path, lists_of(*text), kMaxListBytes));
  if (!policy) return tl::unexpected(policy.error());
  return std::make_shared<const Policy>(*std::move(policy));
}

std::optional<PushedPolicy> read_pushed_policy(const std::string& state_dir) {
  if (!is_enrolled(state_dir)) return std::nullopt;
  Result<std::string> file = read_input(state_dir + "/policy", kMaxKeptBytes);
  if (!file) return std::nullopt;
  Result<KeptView> kept = read_kept(bytes_of(*file));
  if (!kept) return std::nullopt;
  Result<Envelope> envelope = envelope_from_bytes(kept->envelope);
  if (!envelope) return std::nullopt;
  Result<Policy> policy = policy_from_bytes(bytes_of(envelope->policy));
  if (!policy) return std::nullopt;
  Result<std::string> text = read_input(state_dir + "/trust", kMaxTrustBytes);
  Result<PolicyTrust> trust = text ? read_trust(*text) : tl::unexpected(text.error());
  return PushedPolicy{std::make_shared<const Policy>(*std::move(policy)), envelope->expires_wall_s,
                      envelope->target, trust ? trust->group : ""};
}

}  // namespace weir
