// One open hour of rows.
#include "core/line/usage.h"

#include <algorithm>

namespace weir {

void Usage::add(const Actor& actor, const std::string& destination, Trust trust, std::uint64_t out,
                std::uint64_t in, bool opened) {
  const Key key{actor.person, actor.program, destination};
  auto found = rows_.find(key);
  if (found == rows_.end()) {
    if (rows_.size() >= kMaxUsageRows) {
      ++dropped_;
      return;
    }
    found = rows_.emplace(key, UsageRow{}).first;
    found->second.person = actor.person;
    found->second.program = actor.program;
    found->second.destination = destination;
    found->second.hour = hour_;
  }
  UsageRow& row = found->second;
  row.trust = trust;  // the newest: a flow is often named after its first bytes
  row.bytes_out += out;
  row.bytes_in += in;
  row.flows += opened ? 1 : 0;
}

void Usage::close(std::int64_t wall_ns) {
  for (const auto& [key, row] : rows_) send_(row);
  rows_.clear();
  hour_ = std::max(hour_, wall_ns / kHourNs);
}

}  // namespace weir
