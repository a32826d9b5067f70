// Which names were seen within the last day: fingerprints in a table of fixed size. A fingerprint
// that was pushed out counts as new again, so forgetting can only raise what is charged.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace weir {

class NameSet {
 public:
  // True if `fingerprint` was not seen within `kKept` before `now_ns`; remembers it.
  bool add(std::uint64_t fingerprint, std::int64_t now_ns);
  // Fetches what add() will read: the table is larger than the nearer caches.
  void prepare(std::uint64_t fingerprint) const {
    __builtin_prefetch(&sets_[fingerprint % kSets], 1);
  }
  std::uint64_t pushed_out() const { return pushed_out_; }

  // 262,144 fingerprints of 8 bytes are 2 MiB: a day of a busy desk is below 20,000 names.
  static constexpr std::size_t kSets = 32768, kWays = 8;
  static constexpr std::int64_t kKept = 24ll * 3600 * 1'000'000'000;

 private:
  struct Slot {
    std::uint32_t tag = 0;      // 0: empty
    std::uint32_t minutes = 0;  // when it was seen last
  };
  struct alignas(64) Set {  // one cache line
    std::array<Slot, kWays> slots;
  };
  Set& set_of(std::uint64_t fingerprint) { return sets_[fingerprint % kSets]; }
  std::vector<Set> sets_ = std::vector<Set>(kSets);
  std::uint64_t pushed_out_ = 0;
};

}  // namespace weir
