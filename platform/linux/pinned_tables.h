// What a running or a former guard has pinned, read only: for `weir status` and
// `weir my-events`. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "platform/linux/kernel_part.h"

namespace weir {

struct PinnedTables {
  std::vector<weir_limit> limits;  // all WEIR_LIMITS rows
  std::vector<KernelAccount> accounts;
  std::array<std::uint64_t, WEIR_COUNTERS> counters{};
  std::uint64_t isolated_until_boot_ns = 0;                    // 0: it is not
  std::uint64_t observed_until_boot_ns = 0;                    // 0: it refuses as its policy says
  WireBytes wire;                                              // as of the guard's last look
  std::array<std::uint64_t, WEIR_SHUTS> shut_until_boot_ns{};  // of each slot; 0: not blocked
  bool attached = false;  // the egress program's link is pinned: the bound holds
  bool lsm = false;       // so is that of tier 2
};

// Nothing pinned there: an error that says so.
Result<PinnedTables> read_pinned(const std::string& pin_dir);

// Processes that the kernel part knows, and whose trees they are.
Result<std::vector<KernelTask>> read_tasks(const std::string& pin_dir);

// The accounts of these exceptions, of which person and number count; zero (which ended) where
// there is none.
Result<std::vector<weir_account>> read_grants(const std::string& pin_dir,
                                              std::span<const KernelException> exceptions);

// Flows that wait for an answer, by the tables that are pinned there; none: none are.
std::vector<KernelHold> read_holds(const std::string& pin_dir);

// Bytes of the row that are spent now: of a window, of its burst.
std::uint64_t spent_now(const weir_limit& row, const weir_account& account,
                        std::uint64_t now_boot_ns);

}  // namespace weir
