// What a host says of itself: see agent_told.h.
#include "collector/fleet/agent_told.h"

#include "collector/base/clocks.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

void note_policy(const AgentDoor::Parts& parts, std::uint32_t host, const v1::PolicyState& state) {
  parts.hosts.set_policy_state(host, state.SerializeAsString());
  parts.rollout.settle_group(host, wall_s());
}

}  // namespace

void note_hello(const AgentDoor::Parts& parts, std::uint32_t host, const v1::Hello& hello) {
  parts.hosts.connected(host, hello.version(), hello.hostname(), hello.tier(), wall_s());
  note_policy(parts, host, hello.policy());
}

void note_told(const AgentDoor::Parts& parts, std::uint32_t host, const v1::ConnectRequest& told) {
  if (told.has_policy_state()) note_policy(parts, host, told.policy_state());
  if (told.has_health()) parts.hosts.set_health(host, told.health().SerializeAsString());
  if (told.has_command_result()) parts.commands.answered(host, told.command_result(), wall_s());
}

std::optional<Desired> policy_for(const AgentDoor::Parts& parts, std::uint32_t number) {
  std::optional<HostView> host = parts.hosts.find(number, wall_s());
  if (!host || (!host->policy.group.empty() && host->policy.group != host->row.group))
    return std::nullopt;
  std::optional<Desired> desired = parts.rollout.desired(host->row.group);
  if (desired && runs_by(host->policy, *desired, host->row.group)) return std::nullopt;
  return desired;
}

}  // namespace weir
