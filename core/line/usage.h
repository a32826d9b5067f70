// Usage rows: what each person's programs sent where, by the hour. The raw material of baselines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "core/base/keyed_table.h"
#include "core/event/report.h"
#include "core/line/destinations.h"

namespace weir {

// Rows of one hour. A desk has about 300; a scan over a large network must not fill the memory.
inline constexpr std::size_t kMaxUsageRows = 16384;

class Usage {
 public:
  using Send = std::function<void(const UsageRow&)>;
  explicit Usage(Send send) : send_(std::move(send)) {}

  // Adds to the row of the hour that is open. `opened`: the flow counts in this row for the first
  // time.
  void add(const Actor& actor, const Place& place, std::uint64_t out, std::uint64_t in,
           bool opened);
  // True if `wall_ns` lies in a later hour than the open one: the caller adds what it still has,
  // then calls close().
  bool is_over(std::int64_t wall_ns) const { return wall_ns / kHourNs > hour_; }
  void close(std::int64_t wall_ns);  // sends the rows in order of their keys; opens that hour
  std::uint64_t dropped() const { return dropped_; }

 private:
  static constexpr std::int64_t kHourNs = 3'600'000'000'000;
  UsageRow* row_of(const Actor& actor, const std::string& destination);

  Send send_;
  std::int64_t hour_ = 0;
  KeyedTable<UsageRow> rows_;  // by a hash of person, program and destination
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
