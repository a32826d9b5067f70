// Rows of the kernel part. With burst b = B/2 and T ns a byte, T >= W / b, no window of length W
// passes more than b + W / T <= B bytes.
#include "core/policy/limit_table.h"

#include <algorithm>

namespace weir {
namespace {

constexpr std::uint64_t kQ4 = 16;  // units of 1/16 ns

RowPer row_per(Per per) {
  switch (per) {
    case Per::process_tree:
      return RowPer::process_tree;
    case Per::person:
      return RowPer::person;
    case Per::host:
      return RowPer::host;
    case Per::destination:
      return RowPer::person_destination;
    case Per::process_tree_destination:
      return RowPer::process_tree_destination;
    case Per::host_destination:
      return RowPer::host_destination;
    case Per::flow:
      return RowPer::flow;
    case Per::unspecified:
      break;
  }
  return RowPer::none;
}

}  // namespace

LimitRow limit_row(const Limit& limit, Mode mode) {
  LimitRow row;
  if (!limit.bytes) return row;  // customers are counted by the engine, not here
  row.per = row_per(limit.per);
  row.labels = limit.labels;
  row.bytes = *limit.bytes;
  if (limit.window_ns > 0) {
    row.bytes = *limit.bytes / 2;
    // 7 d in 1/16 ns is 9.7e15: far from the end of 64 bits.
    const auto window_q4 = static_cast<std::uint64_t>(limit.window_ns) * kQ4;
    const std::uint64_t refill = std::max<std::uint64_t>(1, row.bytes);
    row.ns_per_byte_q4 = (window_q4 + refill - 1) / refill;
  }
  if (mode == Mode::observe) row.flags |= kRowObserve;
  if (!limit.liftable) row.flags |= kRowFixed;
  return row;
}

Limit answers_limit(const Policy& policy) {
  Limit limit;
  limit.rule = kAnswersRule;
  limit.bytes = policy.defaults.answers;
  limit.window_ns = 24ll * 3600 * 1'000'000'000;
  limit.per = Per::host;
  limit.liftable = false;
  return limit;
}

std::array<LimitRow, kMaxLimits> limit_table(const Policy& policy) {
  std::array<LimitRow, kMaxLimits> table{};
  for (std::size_t i = 0; i < std::min(policy.limits.size(), kMaxLimits); ++i)
    table[i] = limit_row(policy.limits[i], policy.mode);
  return table;
}

bool charge_window(const LimitRow& row, std::uint64_t now_ns, std::uint64_t bytes,
                   std::uint64_t& word) {
  if (bytes > row.bytes) return false;  // also keeps the product below 64 bits
  const std::uint64_t now = now_ns * kQ4;
  const std::uint64_t next = std::max(word, now) + bytes * row.ns_per_byte_q4;
  if (next - now > row.bytes * row.ns_per_byte_q4) return false;
  word = next;
  return true;
}

}  // namespace weir
