// A table of fixed size of what actors sent where. The row that was silent longest of a few gives
// way, and is counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/keyed_table.h"

namespace weir {

// Row needs `std::uint64_t key` and `std::int64_t last_ns`, and is a fresh one when default-made.
template <class Row, std::size_t kRows>
class AccountTable {
 public:
  // Rows keep their place until they give way, so that a holder of an index need not search again.
  std::size_t index_of(std::uint64_t key, std::size_t hint, std::int64_t now_ns) {
    return hint < rows_.size() && rows_[hint].key == key ? hint : index_of(key, now_ns);
  }
  std::size_t index_of(std::uint64_t key, std::int64_t now_ns) {
    if (const std::uint32_t found = index_.find(key); found != KeyIndex::kNone) return found;
    std::size_t at = rows_.size();
    if (at < kRows) {
      rows_.emplace_back();
    } else {
      at = hand_ % kRows;
      for (std::size_t i = 1; i < kLooked; ++i) {
        const std::size_t other = (hand_ + i) % kRows;
        if (rows_[other].last_ns < rows_[at].last_ns) at = other;
      }
      hand_ = (hand_ + kLooked) % kRows;
      index_.erase(rows_[at].key);
      rows_[at] = Row();
      ++dropped_;
    }
    rows_[at].key = key;
    rows_[at].last_ns = now_ns;
    index_.insert(key, static_cast<std::uint32_t>(at));
    return at;
  }
  Row& operator[](std::size_t at) { return rows_[at]; }
  std::vector<Row>& rows() { return rows_; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  static constexpr std::size_t kLooked = 16;
  std::vector<Row> rows_;
  KeyIndex index_;
  std::size_t hand_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
