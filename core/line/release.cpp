// A host that was released (docs/decisions/0032): nothing is refused until then, which is told, and
// what was let go meanwhile is judged again at its end.
#include <string>
#include <utility>

#include "core/line/state.h"

namespace weir {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kWindowNs = 1;  // each is a report of its own

Told told_of(Severity severity, Reason because, const Policy& policy) {
  Told one;
  one.subject = one.finding.detector = one.about = "release";
  one.finding.severity = severity;
  one.finding.confidence = 100;
  one.finding.because = {std::move(because)};
  one.decision.action = Action::log;
  one.decision.policy_number = policy.number;
  one.window_ns = kWindowNs;
  return one;
}

}  // namespace

bool Line::State::enforces() const {
  return live && policy->mode == Mode::enforce && at.boot_ns >= released_until_ns &&
         after_crashes != ExceptionsChanged::AfterCrashes::observes;
}

void Line::State::take_release(const ExceptionsChanged& changed) {
  const std::int64_t until = changed.released_until_boot_ns;
  if (until == released_until_ns) return;
  if (until <= at.boot_ns) {
    if (released_until_ns != 0) end_release();
    return;
  }
  released_until_ns = until;
  const std::string seconds = std::to_string((until - at.boot_ns + kSecondNs - 1) / kSecondNs);
  told.push_back(told_of(Severity::high,
                         {"host_released", {seconds, std::string(changed.released_by)}}, *policy));
}

// Also where the engine that would have told it crashed: the next one does.
void Line::State::take_crashes(ExceptionsChanged::AfterCrashes now) {
  using After = ExceptionsChanged::AfterCrashes;
  if (now == after_crashes) return;
  const After before = after_crashes;
  after_crashes = now;
  if (now == After::before)
    told.push_back(told_of(Severity::high, {"crashed_before", {}}, *policy));
  if (now == After::observes)
    told.push_back(told_of(Severity::critical, {"crashed_observes", {}}, *policy));
  if (now == After::none) told.push_back(told_of(Severity::low, {"crashed_over", {}}, *policy));
  if (before == After::observes) judge_again();
}

// By its time, or before. Flows that a rule would have stopped go on until somebody looks again.
void Line::State::end_release() {
  released_until_ns = 0;
  told.push_back(told_of(Severity::low, {"host_release_over", {}}, *policy));
  judge_again();
}

}  // namespace weir
