// Sums of counters, and the list of those that tell of a limit.
#include "core/line/counters.h"

namespace weir {

void add(Counters& sum, const Counters& more) {
  sum.net.packets += more.net.packets;
  sum.net.bytes += more.net.bytes;
  sum.net.flows += more.net.flows;
  for (std::size_t i = 0; i < sum.net.malformed.size(); ++i)
    sum.net.malformed[i] += more.net.malformed[i];
  sum.net.flows_dropped += more.net.flows_dropped;
  sum.net.reassembly_dropped += more.net.reassembly_dropped;
  sum.net.fragments_dropped += more.net.fragments_dropped;
  sum.net.names_dropped += more.net.names_dropped;
  sum.net.ledgers_dropped += more.net.ledgers_dropped;
  sum.events += more.events;
  sum.findings += more.findings;
  sum.reports += more.reports;
  sum.revisions += more.revisions;
  sum.lost += more.lost;
  sum.reports_dropped += more.reports_dropped;
  sum.processes_dropped += more.processes_dropped;
  sum.detectors_dropped += more.detectors_dropped;
  sum.names_dropped += more.names_dropped;
  sum.accounts_dropped += more.accounts_dropped;
  sum.usage_dropped += more.usage_dropped;
  sum.spent_unknown += more.spent_unknown;
}

std::vector<std::pair<std::string_view, std::uint64_t>> dropped_by_limit(const Counters& counters) {
  return {{"flows", counters.net.flows_dropped},
          {"reassembly_bytes", counters.net.reassembly_dropped},
          {"fragments", counters.net.fragments_dropped},
          {"names", counters.net.names_dropped},
          {"ledgers", counters.net.ledgers_dropped},
          {"events_lost", counters.lost},
          {"reports", counters.reports_dropped},
          {"processes", counters.processes_dropped},
          {"detector_state", counters.detectors_dropped},
          {"proven_names", counters.names_dropped},
          {"accounts", counters.accounts_dropped},
          {"usage_rows", counters.usage_dropped},
          {"refusals_of_unknown_rows", counters.spent_unknown}};
}

}  // namespace weir
