// The public suffix list (libpsl), and a memory of what it said.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace weir {

// Whether `tail`, in lower case, is a suffix by the list's ICANN part; what no rule names is none.
// A zero byte stands behind its last character.
bool is_icann_suffix(std::string_view tail);
// The same by its whole list: also below which names providers give to their customers (github.io).
bool is_any_suffix(std::string_view tail);

// Remembers what was said of short tails: libpsl reads its whole list's first letters for each
// question, and names on one host end alike.
class Suffixes {
 public:
  bool is_icann(std::string_view tail);  // as is_icann_suffix()

 private:
  // 4,096 tails of 32 bytes are 128 KiB: a desk asks for some 300 zones in a day. The newest stays.
  static constexpr std::size_t kTails = 4096;
  struct Known {
    std::array<char, 30> tail;
    std::uint8_t size = 0;  // 0: free
    bool suffix = false;
  };
  std::vector<Known> known_ = std::vector<Known>(kTails);
};

}  // namespace weir
