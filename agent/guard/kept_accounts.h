// What accounts have spent, on the disk before it is spent: which of them STATE/accounts lists,
// with how much, and how far each may get by that (docs/decisions/0030). Pure: the table of the
// kernel comes in, what is to be written and to be told to the kernel goes out. Thread: one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "platform/linux/kernel_part.h"

namespace weir {

// The file: as many accounts as the kernel's table has room for.
inline constexpr std::size_t kMaxKeptAccounts = WEIR_ACCOUNTS;
inline constexpr std::size_t kMaxAccountsFile = 32 + kMaxKeptAccounts * sizeof(KeptAccount);

std::vector<std::uint8_t> write_kept_accounts(std::span<const KeptAccount> accounts);
// An Error: it is not whole, or not what this version writes.
Result<std::vector<KeptAccount>> read_kept_accounts(Bytes file);

// Of a policy's rows those that the disk vouches for. Trees don't outlive a boot, and a row that
// only observes refuses nothing.
void mark_kept_rows(std::span<weir_limit> rows);

class AccountKeeping {
 public:
  struct Plan {
    std::vector<KeptAccount> listed;  // what the file is to say
    std::vector<weir_keep> now;       // less than the file of before says: at once
    std::vector<weir_keep> written;   // more: once the file is written
  };
  // Whoever sends may get this far beyond what is spent before the disk has to be written again: a
  // sixteenth of its number, and not less than the largest packet.
  static constexpr std::uint64_t kAheadShare = 16, kLeastAhead = 64 << 10;
  // One that nobody charged for so long gives back what was reserved for it and not used.
  static constexpr std::uint64_t kIdleNs = 60'000'000'000;

  Plan plan(std::span<const weir_limit> rows, std::span<const KernelAccount> accounts,
            std::uint64_t now_boot_ns);

 private:
  struct Seen {
    std::uint64_t charged = 0, asked_ns = 0, since_ns = 0;
  };
  using Name = std::tuple<std::uint32_t, std::uint32_t, std::uint64_t, std::uint64_t>;
  std::map<Name, Seen> seen_;  // bounded by the kernel's table
};

}  // namespace weir
