// Foreign bytes as text that may be shown: what stands in proto strings for people.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// Valid printing UTF-8 stays; every other byte, and those of control, line-separating and
// direction-changing characters, becomes \xNN. The result is valid UTF-8 of one line.
std::string shown(std::string_view bytes);

bool is_utf8(std::string_view bytes);  // RFC 3629: no surrogates, no overlong forms

}  // namespace weir
