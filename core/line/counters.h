// What one line counted: what came in, what was damaged, and what a limit made it drop.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "core/net/flows.h"

namespace weir {

struct Counters {
  NetCounters net;
  std::uint64_t events = 0;
  std::uint64_t findings = 0;   // signals that detectors gave, repeats included
  std::uint64_t reports = 0;    // different reports
  std::uint64_t revisions = 0;  // reports sent, all revisions of each
  std::uint64_t lost = 0;       // events that a source lost before the line (Gap)

  std::uint64_t reports_dropped = 0;    // closed early because the report book was full
  std::uint64_t processes_dropped = 0;  // forgotten because the process table was full
  std::uint64_t detectors_dropped = 0;  // zones, flows and accounts that detectors forgot
  std::uint64_t names_dropped = 0;      // proven names forgotten before their time
  std::uint64_t accounts_dropped = 0;   // charges that found no room for a new simulated account
  std::uint64_t usage_dropped = 0;  // flows' bytes without a usage row: too many rows in an hour
  std::uint64_t spent_unknown = 0;  // refusals by a row that the policy in force does not have
};

void add(Counters& sum, const Counters& more);

// Every counter of something dropped by a limit, under the name that a Summary shows, in a fixed
// order.
std::vector<std::pair<std::string_view, std::uint64_t>> dropped_by_limit(const Counters& counters);

}  // namespace weir
