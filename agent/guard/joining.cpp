// A host that is put into another group: see joining.h.
#include "agent/guard/joining.h"

#include <algorithm>
#include <string_view>

namespace weir {
namespace {

using wire::CommandRefusal;

// The highest number that was in force here of the group that is left: should the host come back,
// what was replaced then is not taken again. The policy in force is always the last, so that a
// restart before the next one finds whose it is.
void remember(PolicyTrust& trust, const GroupPolicy& in_force) {
  if (in_force.group.empty()) return;
  GroupPolicy highest = in_force;
  std::erase_if(trust.had, [&](const GroupPolicy& one) {
    if (one.group != in_force.group) return false;
    highest.number = std::max(highest.number, one.number);
    return true;
  });
  if (trust.had.size() >= kMaxGroupsHad) trust.had.erase(trust.had.begin());
  trust.had.push_back(highest);
}

}  // namespace

NextGroup next_group(const PolicyTrust& now, const CommandReading& command,
                     const GroupPolicy& in_force, std::int64_t wall_s) {
  const JoinReading& join = command.join;
  const std::string_view group = join.group.data();
  if (join.decided_wall_ms / 1'000 > wall_s + kCommandSlackS)
    return {CommandRefusal::not_yet, std::nullopt};
  // The same one once more, after a guard that died before its id was on the disk, changes nothing.
  if (join.decided_wall_ms < now.joined_wall_ms ||
      (join.decided_wall_ms == now.joined_wall_ms && group != now.group))
    return {CommandRefusal::superseded, std::nullopt};
  NextGroup next{CommandRefusal::none, now};
  next.trust->group = group;
  next.trust->least = join.least_number;
  next.trust->joined_wall_ms = join.decided_wall_ms;
  remember(*next.trust, in_force);
  return next;
}

}  // namespace weir
