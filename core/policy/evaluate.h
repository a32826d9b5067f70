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
  // The name is an answer of an authenticated resolver for this address, equal to the SNI if there
  // is one. Without it a name is only a claim: it brings a flow under a rule, and never lets
  // `allow` set one aside.
  bool name_proven = false;
  // Ids of rules that an exception of the person sets aside here, as an `allow` would; their rows
  // that are not liftable count all the same. Lives as long as the call.
  const std::vector<std::string>* excepted = nullptr;
};

struct Verdict {
  Decision decision;
  std::uint64_t limits = 0;            // bit n: row n of Policy::limits counts this flow
  std::vector<std::string> matched;    // ids, in policy order
  std::vector<std::string> set_aside;  // by an allow, or an exception
  bool excepted = false;               // one by an exception
  Severity severity = Severity::unspecified;
};

// What is missing in `facts` is taken as not so. A finding that no rule matches is logged by the
// built-in default (rule ""); a flow that none matches is allowed.
Verdict evaluate(const Policy& policy, const Facts& facts);

// Every limit that could still apply to a flow of which only address and transport are known: what
// a first flight is charged to, until the flow is classified. What is missing in `facts` counts as
// possible (trust, labels, name; a known name settles service and category), except a detector: a
// finding comes after the bytes it is about, so a row that waits for one counts from then on.
// A zero address is a missing one.
std::uint64_t possible_limits(const Policy& policy, const Facts& facts);

// Every limit that could ever count for one and the same flow, findings included.
std::uint64_t most_limits(const Policy& policy);

// What this version can't enforce on this tier, one sentence per part ("rule x: hold …"). Empty:
// all.
std::vector<std::string> unenforceable(const Policy& policy);

}  // namespace weir
