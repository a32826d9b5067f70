// Asks libpsl for the ICANN part of the list, or all of it.
#include "core/net/suffix.h"

#include <libpsl.h>
#define XXH_INLINE_ALL  // some calls per DNS question
#include <xxhash.h>

#include <algorithm>

namespace weir {
namespace {

const psl_ctx_t* suffixes() {
  static const psl_ctx_t* const list = [] {
    const psl_ctx_t* builtin = psl_builtin();
    return builtin ? builtin : psl_latest(nullptr);  // nullptr where the system has none
  }();
  return list;
}

}  // namespace

bool is_icann_suffix(std::string_view tail) {
  const psl_ctx_t* list = suffixes();
  return list &&
         psl_is_public_suffix2(list, tail.data(), PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) == 1;
}

bool is_any_suffix(std::string_view tail) {
  const psl_ctx_t* list = suffixes();
  return list &&
         psl_is_public_suffix2(list, tail.data(), PSL_TYPE_ANY | PSL_TYPE_NO_STAR_RULE) == 1;
}

bool Suffixes::is_icann(std::string_view tail) {
  if (tail.empty() || tail.size() > sizeof(Known::tail)) return is_icann_suffix(tail);
  Known& known = known_[XXH3_64bits(tail.data(), tail.size()) % kTails];
  if (known.size == tail.size() && std::equal(tail.begin(), tail.end(), known.tail.begin()))
    return known.suffix;
  known.suffix = is_icann_suffix(tail);
  known.size = static_cast<std::uint8_t>(tail.size());
  std::copy(tail.begin(), tail.end(), known.tail.begin());
  return known.suffix;
}

}  // namespace weir
