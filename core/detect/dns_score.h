// The scorecard of a zone: points for what tunnels do and honest names do not, each with its
// reason.
#pragma once

#include <vector>

#include "core/detect/zone_ledger.h"
#include "core/event/report.h"

namespace weir {

struct DnsScore {
  int points = 0;
  bool two_way = false;         // answers carry data as well
  std::vector<Reason> because;  // of the points, strongest first
};

// `flows_seen`: the actor opened flows of other kinds than DNS, so that a zone that nothing ever
// connected to says something.
DnsScore score_of(const ZoneEvidence& evidence, bool flows_seen);
int points_of(const ZoneEvidence& evidence, bool flows_seen);  // the same without the reasons

// The level that the zone has reached.
struct DnsLevel {
  bool reached = false;
  bool week = false;        // over 7 days, not 24 hours
  bool repeats = false;     // by choosing among known names
  std::uint64_t bytes = 0;  // that were told within that window, at most
};

DnsLevel level_of(Zone& zone, int points, std::int64_t now_ns);

}  // namespace weir
