// A draft tried on what was reported: what it would have done with it, report by report, in the
// order in which they came. Pure. Thread: one.
//
// Nothing but reports is known of the past. So names and networks count as proven, an upload's
// bytes as one burst, labels are not looked at, and accounts start empty. What nobody reported is
// not seen.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/policy/policy.h"

namespace weir {

namespace v1 {
class Report;
class ReplayPolicyResponse;
}  // namespace v1

inline constexpr std::uint32_t kMaxTriedReports = 200'000;  // 100 bytes each; a week of a big group
inline constexpr std::size_t kMaxExamples = 100;

class DraftTrial {
 public:
  explicit DraftTrial(Policy draft);
  ~DraftTrial();
  // A revision, of the host with this number. Its bytes beyond those of the revision before are
  // charged. False: it is of one report more than are tried; it was left out.
  bool on(const v1::Report& report, std::uint32_t host);
  // Counts and the examples: what would be decided otherwise, strictest first.
  void result(v1::ReplayPolicyResponse& out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir
