// What libpsl said, remembered for short tails: it reads its whole list's first letters for each
// question, and names on one host end alike.
#include "core/net/suffix.h"

#include <libpsl.h>
#define XXH_INLINE_ALL  // some calls per DNS question
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

namespace weir {
namespace {

// 4,096 tails of 32 bytes are 128 KiB: a desk asks for some 300 zones in a day. The newest stays.
constexpr std::size_t kTails = 4096;

struct Known {
  std::array<char, 30> tail;
  std::uint8_t size = 0;  // 0: free
  bool suffix = false;
};

const psl_ctx_t* suffixes() {
  static const psl_ctx_t* const list = [] {
    const psl_ctx_t* builtin = psl_builtin();
    return builtin ? builtin : psl_latest(nullptr);  // nullptr where the system has none
  }();
  return list;
}

bool ask(std::string_view tail) {
  const psl_ctx_t* list = suffixes();
  return list &&
         psl_is_public_suffix2(list, tail.data(), PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) == 1;
}

}  // namespace

bool is_icann_suffix(std::string_view tail) {
  if (tail.empty() || tail.size() > sizeof(Known::tail)) return ask(tail);
  thread_local const auto table = std::make_unique<std::array<Known, kTails>>();
  Known& known = (*table)[XXH3_64bits(tail.data(), tail.size()) % kTails];
  if (known.size == tail.size() && std::equal(tail.begin(), tail.end(), known.tail.begin()))
    return known.suffix;
  known.suffix = ask(tail);
  known.size = static_cast<std::uint8_t>(tail.size());
  std::copy(tail.begin(), tail.end(), known.tail.begin());
  return known.suffix;
}

}  // namespace weir
