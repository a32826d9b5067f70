// What becomes a report although nothing was sent: somebody took away what holds the bound. No rule
// speaks of it, and none can keep it from being told.
#include <string>
#include <utility>

#include "core/line/state.h"

namespace weir {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
// Each removal is a report of its own, of one group with those before it.
constexpr std::int64_t kWindowNs = 1;

Reason what_happened(const HookRemoved& removed) {
  const std::string name(removed.name);
  const std::string seconds = std::to_string((removed.open_ns + kSecondNs - 1) / kSecondNs);
  const std::string sent = std::to_string(removed.sent);
  switch (removed.what) {
    case HookRemoved::What::hook:
      if (removed.open_ns == 0) return {"hook_missing", {name}};
      return {"hook_removed", {name, seconds, sent}};
    case HookRemoved::What::program:
      return {"program_replaced", {name, seconds, sent}};
    case HookRemoved::What::pins:
      return {"pins_removed", {std::to_string(removed.count), name, seconds}};
    case HookRemoved::What::silent:
      if (removed.restored) return {"control_works_again", {name}};
      return {"control_silent", {name, std::string(removed.problem)}};
    case HookRemoved::What::more:
      break;
  }
  return {"more_removed", {std::to_string(removed.count)}};
}

}  // namespace

void Line::State::judge_removed(const HookRemoved& removed) {
  Told one;
  one.subject = one.finding.detector = "tampering";
  one.about = removed.name;
  one.finding.severity = removed.restored ? Severity::high : Severity::critical;
  one.finding.confidence = 100;
  one.finding.attack = {"T1562.001"};  // Impair Defenses: Disable or Modify Tools
  one.finding.because = {what_happened(removed)};
  if (removed.what != HookRemoved::What::more && removed.what != HookRemoved::What::silent) {
    Reason now{removed.restored ? "hook_restored" : "hook_not_restored", {}};
    if (!removed.restored) now.args.emplace_back(removed.problem);
    one.finding.because.push_back(std::move(now));
  }
  one.decision.action = Action::log;
  one.decision.policy_number = policy->number;
  one.window_ns = kWindowNs;
  told.push_back(std::move(one));
}

}  // namespace weir
