// The public suffix list (libpsl), asked once for each tail of names that are in use.
#pragma once

#include <string_view>

namespace weir {

// Whether `tail`, in lower case, is a suffix by the list's ICANN part; what no rule names is none.
// A zero byte stands behind its last character.
bool is_icann_suffix(std::string_view tail);

}  // namespace weir
