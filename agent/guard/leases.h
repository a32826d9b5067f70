// Address leases and the blocks that the engine asked for, with their ends: a fixed table, because
// the guard allocates nothing in its loop. Thread: one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/event/address.h"

namespace weir {

// Prefixes that were put into the kernel's table for a while. Full: the one that ends first goes,
// so that its flows wait for their verdict again; nothing is loosened by that. So those that shut
// something are the last to go.
class AddressLeases {
 public:
  static constexpr std::size_t kMax = 8192;  // names of a day's browsing; the kernel holds 65,536

  // `replaced`, if set, has to leave the kernel's table now. `shuts`: its name is blocked.
  void put(const Prefix& prefix, std::uint64_t until_ns, bool shuts,
           std::optional<Prefix>& replaced);
  std::optional<Prefix> take_ended(std::uint64_t now_ns);
  std::size_t size() const { return count_; }

 private:
  struct Lease {
    Prefix prefix;
    bool shuts = false;
    std::uint64_t until_ns = 0;
  };
  std::array<Lease, kMax> leases_{};
  std::size_t count_ = 0;
  std::uint64_t first_end_ns_ = ~0ull;  // no lease ends before
};

}  // namespace weir
