// The policy's limits as the rows of the kernel part's table (platform/linux/bpf/weir_abi.h),
// without its header: core knows no OS. Also the arithmetic of one account, as the kernel part does
// it.
#pragma once

#include <array>
#include <cstdint>

#include "core/policy/policy.h"

namespace weir {

// Values as in enum weir_per.
enum class RowPer : std::uint32_t {
  none,
  process_tree,
  person,
  host,
  person_destination,
  process_tree_destination,
  host_destination
};

inline constexpr std::uint32_t kRowObserve = 1;  // WEIR_LIMIT_OBSERVE
inline constexpr std::uint32_t kRowFixed = 2;    // WEIR_LIMIT_FIXED
inline constexpr int kMaxCharges = 8;            // WEIR_CHARGES: accounts that one packet may touch

struct LimitRow {
  std::uint64_t bytes = 0;           // total: all of it; windowed: half, what may leave at once
  std::uint64_t ns_per_byte_q4 = 0;  // windowed: refill, in 1/16 ns a byte, rounded up; 0: a total
  RowPer per = RowPer::none;         // none: the row is not used
  std::uint32_t labels = 0;          // applies only where one of them is carried; 0: always
  std::uint32_t flags = 0;
};

LimitRow limit_row(const Limit& limit, Mode mode);
std::array<LimitRow, kMaxLimits> limit_table(const Policy& policy);

// One charge of `bytes` at boot time `now_ns` against a windowed row, as the kernel part computes
// it (accounts.h there); `word` is the theoretical arrival time in 1/16 ns. True: it leaves, `word`
// moved.
bool charge_window(const LimitRow& row, std::uint64_t now_ns, std::uint64_t bytes,
                   std::uint64_t& word);

}  // namespace weir
