// The kinds of damage that foreign bytes come with. Counted by kind, never an error, never a crash.
#pragma once

#include <cstdint>
#include <string_view>
#include <tl/expected.hpp>

namespace weir {

enum class Damage : std::uint8_t {
  truncated,    // captured or sent shorter than its own length says
  bad_length,   // a length field contradicts another or the bytes
  bad_version,  // IP version, TLS version … that can't be
  bad_header,   // any other field that can't be
  bad_name,     // DNS compression loop, label too long
  too_deep,     // more nesting than the limit (VLAN tags, extension headers, tunnels)
  unsupported,  // a link type or protocol that we do not take apart: no damage, but nothing seen
  count_        // number of kinds, keep last
};

std::string_view name_of(Damage damage);

template <class T>
using Parsed = tl::expected<T, Damage>;

}  // namespace weir
