// See control_judge.h.
#include "agent/guard/control_judge.h"

#include <algorithm>

#include "core/base/fixed_text.h"

namespace weir {

CanaryAnswer answer_of(const std::vector<TriedControl>& tried) {
  CanaryAnswer answer;
  for (const TriedControl& one : tried) {
    if (answer.count == CanaryAnswer::kMost) break;
    CanaryAnswer::One& to = answer.all[answer.count++];
    to.state = static_cast<std::uint32_t>(one.state);
    put_name(to.program, one.program);
    put_name(to.detail, one.detail);
  }
  return answer;
}

std::optional<std::vector<TriedControl>> tried_of(const CanaryAnswer& answer) {
  if (answer.count > CanaryAnswer::kMost) return std::nullopt;
  std::vector<TriedControl> tried;
  for (std::size_t n = 0; n < answer.count; ++n) {
    const CanaryAnswer::One& one = answer.all[n];
    if (one.state > static_cast<std::uint32_t>(TriedControl::State::untried)) return std::nullopt;
    tried.push_back(
        {text_of(one.program), static_cast<TriedControl::State>(one.state), text_of(one.detail)});
  }
  return tried;
}

std::vector<ControlChanged> ControlJudge::judge(const std::vector<TriedControl>& tried) {
  std::vector<ControlChanged> changed;
  for (const TriedControl& one : tried) {
    if (one.state == TriedControl::State::untried) continue;
    const bool works = one.state == TriedControl::State::works;
    const bool suspected = std::erase(suspected_, one.program) > 0;
    const bool told = std::find(failed_.begin(), failed_.end(), one.program) != failed_.end();
    if (works && told) {
      std::erase(failed_, one.program);
      changed.push_back({one.program, one.detail, true});
    }
    if (works || told) continue;
    (suspected ? failed_ : suspected_).push_back(one.program);
    if (suspected) changed.push_back({one.program, one.detail, false});
  }
  return changed;
}

}  // namespace weir
