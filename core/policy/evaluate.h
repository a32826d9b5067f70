// From facts about one flow to a decision. All matching rules apply, the strictest action wins,
// every limit counts; `allow` sets aside exactly the rules that it names.
// Pure: the same policy and facts give the same verdict. Thread: any (no state).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/policy/policy.h"

namespace weir {

// What is known about a flow or a finding when it is judged.
struct Facts {
  Destination destination;
  Actor actor;
  std::vector<std::string> labels;  // on the tree or person
  std::uint32_t weight = 0;         // customers, of the heaviest label
  std::uint64_t burst = 0;          // bytes of the current upload burst
  std::string detector;             // set when a finding is judged, "" for a flow
  bool approved = false;            // proven, see CONTRACT "Approved"
};

struct Verdict {
  Decision decision;
  std::uint64_t limits = 0;             // bit n: row n of Policy::limits counts this flow
  std::vector<std::string> matched;     // ids, in policy order
  std::vector<std::string> set_aside;   // by an allow
  Severity severity = Severity::unspecified;
};

Verdict evaluate(const Policy& policy, const Facts& facts);

// Every limit that could still apply to a flow of which only address and transport are known: what a
// first flight is charged to, until the flow is classified.
std::uint64_t possible_limits(const Policy& policy, const Facts& facts);

// What this version can't enforce on this tier, one sentence per part ("rule x: hold …"). Empty: all.
std::vector<std::string> unenforceable(const Policy& policy);

}  // namespace weir
