// Address leases and their ends: see leases.h.
#include "agent/guard/leases.h"

#include <algorithm>

namespace weir {

void AddressLeases::put(const Prefix& prefix, std::uint64_t until_ns, bool shuts,
                        std::optional<Prefix>& replaced) {
  first_end_ns_ = std::min(first_end_ns_, until_ns);
  std::size_t soonest = 0;
  for (std::size_t n = 0; n < count_; ++n) {
    if (leases_[n].prefix == prefix) {
      leases_[n].shuts = shuts;
      leases_[n].until_ns = until_ns;
      return;
    }
    const Lease &one = leases_[n], &first = leases_[soonest];
    if (one.shuts != first.shuts ? first.shuts : one.until_ns < first.until_ns) soonest = n;
  }
  if (count_ < kMax) {
    leases_[count_++] = {prefix, shuts, until_ns};
    return;
  }
  replaced = leases_[soonest].prefix;
  leases_[soonest] = {prefix, shuts, until_ns};
}

std::optional<Prefix> AddressLeases::take_ended(std::uint64_t now_ns) {
  if (now_ns < first_end_ns_) return std::nullopt;
  std::uint64_t first = ~0ull;
  for (std::size_t n = 0; n < count_; ++n) {
    if (leases_[n].until_ns <= now_ns) {
      Prefix ended = leases_[n].prefix;
      leases_[n] = leases_[--count_];
      return ended;  // first_end_ns_ stays: the next call looks again
    }
    first = std::min(first, leases_[n].until_ns);
  }
  first_end_ns_ = first;
  return std::nullopt;
}

}  // namespace weir
