// Foreign bytes made fit for people, JSON and logs.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace weir {

// What needs no escape: visible ASCII but the backslash, which starts one.
inline bool is_visible(unsigned char c) {
  return c > 0x20 && c < 0x7f && c != '\\';
}

// \DDD, decimal, as in DNS.
inline std::array<char, 4> escaped_byte(unsigned char c) {
  return {'\\', static_cast<char>('0' + c / 100), static_cast<char>('0' + c / 10 % 10),
          static_cast<char>('0' + c % 10)};
}

inline std::string visible(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_visible(byte))
      out += c;
    else
      out.append(escaped_byte(byte).data(), 4);
  }
  return out;
}

}  // namespace weir
