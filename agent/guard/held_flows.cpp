// Flows that wait for an answer: see held_flows.h.
#include "agent/guard/held_flows.h"

#include <algorithm>

namespace weir {
namespace {

bool is_at(const HeldFlow& flow, const HeldPlace& place) {
  return flow.account == place.account && flow.tree == place.tree &&
         flow.destination == place.destination;
}

}  // namespace

HeldFlows::Taken HeldFlows::add(const HeldFlow& flow) {
  std::size_t of_person = 0;
  for (const HeldFlow& one : flows_) {
    if (one.cookie == flow.cookie) return Taken::known;
    of_person += one.person == flow.person ? 1 : 0;
  }
  if (of_person >= kMaxHeldOfPerson || flows_.size() >= kMax) return Taken::too_many;
  flows_.push_back(flow);
  return Taken::yes;
}

bool HeldFlows::remove(std::uint64_t cookie) {
  return std::erase_if(flows_, [&](const HeldFlow& one) { return one.cookie == cookie; }) > 0;
}

std::optional<HeldFlow> HeldFlows::take_due(std::uint64_t now_ns) {
  const auto due = std::ranges::min_element(flows_, {}, &HeldFlow::until_ns);
  if (due == flows_.end() || due->until_ns > now_ns) return std::nullopt;
  const HeldFlow taken = *due;
  flows_.erase(due);
  return taken;
}

std::optional<HeldFlow> HeldFlows::take_at(const HeldPlace& place) {
  const auto found =
      std::ranges::find_if(flows_, [&](const HeldFlow& one) { return is_at(one, place); });
  if (found == flows_.end()) return std::nullopt;
  const HeldFlow taken = *found;
  flows_.erase(found);
  return taken;
}

const HeldFlow* HeldFlows::find(const HeldPlace& place) const {
  const auto found =
      std::ranges::find_if(flows_, [&](const HeldFlow& one) { return is_at(one, place); });
  return found == flows_.end() ? nullptr : &*found;
}

std::optional<std::uint64_t> HeldFlows::next_due_ns() const {
  const auto due = std::ranges::min_element(flows_, {}, &HeldFlow::until_ns);
  if (due == flows_.end()) return std::nullopt;
  return due->until_ns;
}

}  // namespace weir
