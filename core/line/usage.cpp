// One open hour of rows.
#include "core/line/usage.h"

#include <xxhash.h>

#include <algorithm>
#include <tuple>

namespace weir {

// The row, made if there is room for it.
UsageRow* Usage::row_of(const Actor& actor, const std::string& destination) {
  std::uint64_t key =
      XXH3_64bits_withSeed(actor.program.data(), actor.program.size(), actor.person);
  key = XXH3_64bits_withSeed(destination.data(), destination.size(), key);
  for (;; ++key) {  // two rows of one hash stand side by side
    key = std::max<std::uint64_t>(key, 1);
    UsageRow* const row = rows_.find(key);
    if (row == nullptr) break;
    if (row->person == actor.person && row->program == actor.program &&
        row->destination == destination)
      return row;
  }
  if (rows_.size() >= kMaxUsageRows) return nullptr;
  UsageRow& row = rows_[key];
  row.person = actor.person;
  row.program = actor.program;
  row.destination = destination;
  row.hour = hour_;
  return &row;
}

void Usage::add(const Actor& actor, const Place& place, std::uint64_t out, std::uint64_t in,
                bool opened) {
  UsageRow* const found = row_of(actor, place.group);
  if (found == nullptr) {
    ++dropped_;
    return;
  }
  UsageRow& row = *found;
  row.trust = place.destination.trust;  // the newest: a flow is often named after its first bytes
  row.name_proven = row.name_proven || place.name_proven;
  row.bytes_out += out;
  row.bytes_in += in;
  row.flows += opened ? 1 : 0;
}

void Usage::close(std::int64_t wall_ns) {
  std::vector<const UsageRow*> ordered;  // the same events give the same order
  for (const std::uint64_t key : rows_.keys()) ordered.push_back(&rows_.at(key));
  const auto order = [](const UsageRow* row) {
    return std::tie(row->person, row->program, row->destination);
  };
  std::sort(ordered.begin(), ordered.end(),
            [&](const UsageRow* a, const UsageRow* b) { return order(a) < order(b); });
  for (const UsageRow* row : ordered) send_(*row);
  rows_ = {};
  hour_ = std::max(hour_, wall_ns / kHourNs);
}

}  // namespace weir
