// How many handshakes a door begins: so many at once and so many a second, of one address and of
// all. One that ended well is given back. Pure; memory: a row for each address that has taken some
// lately, bounded. Thread: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

namespace weir {

class Handshakes {
 public:
  // Addresses with a row, 100 B each; those beyond are bounded by the number of all.
  static constexpr std::size_t kMaxRows = 65'536;

  struct Rate {
    double at_once = 0, each_s = 0;
  };
  Handshakes(Rate of_all, Rate of_address);

  bool any(std::int64_t now_ms) { return all_.of(now_ms, of_all_) >= 1; }
  bool take(const std::string& address, std::int64_t now_ms);
  void give_back(const std::string& address, std::int64_t now_ms);
  void sweep(std::int64_t now_ms);  // forgets addresses that have taken none lately
  std::size_t rows() const { return rows_.size(); }

 private:
  struct Bucket {
    double left = 0;
    std::int64_t at_ms = 0;
    double of(std::int64_t now_ms, const Rate& rate);  // what is left in it now
  };
  const Rate of_all_, of_address_;
  Bucket all_;
  std::unordered_map<std::string, Bucket> rows_;
};

}  // namespace weir
