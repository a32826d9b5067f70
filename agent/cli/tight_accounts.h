// The accounts of the kernel's tables, as `weir status` tells them. Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/policy/policy.h"
#include "platform/linux/pinned_tables.h"

namespace weir {

struct TightAccount {
  weir_account_key key;
  weir_limit row;
  std::uint64_t charged = 0, spent = 0, refused = 0;
  double fill = 0;                    // of what may leave at once: 1 is spent
  std::int64_t refilled_wall_ns = 0;  // 0: never by itself
  std::uint64_t bytes = 0;  // what the rule allows; the kernel's row has half, for a window
  std::int64_t window_ns = 0;
};

bool is_a_persons(const weir_account_key& key);

// The fullest first, kMostTight of them at most; the names of `policy`'s rules and their numbers.
// `persons`: theirs alone; empty: everybody's, those of trees and of the host.
inline constexpr std::size_t kMostTight = 64;  // Status.accounts in report.proto
std::vector<TightAccount> tight_accounts(const PinnedTables& tables, const Policy& policy,
                                         std::span<const std::uint32_t> persons = {});

}  // namespace weir
