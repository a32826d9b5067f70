// Foreign bytes made fit for people, JSON and logs.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// Adds `c` to `out`; what is not a visible ASCII character, and a backslash, becomes \DDD
// (decimal).
inline void append_visible(std::string& out, unsigned char c) {
  if (c > 0x20 && c < 0x7f && c != '\\') {
    out += static_cast<char>(c);
    return;
  }
  out += '\\';
  out += static_cast<char>('0' + c / 100);
  out += static_cast<char>('0' + c / 10 % 10);
  out += static_cast<char>('0' + c % 10);
}

inline std::string visible(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) append_visible(out, static_cast<unsigned char>(c));
  return out;
}

}  // namespace weir
