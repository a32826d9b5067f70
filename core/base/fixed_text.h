// Text in a field of a fixed size, as messages and files of fixed layout have it: what is beyond it
// is cut, and a zero ends it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace weir {

// As it is; `to` was zero.
template <std::size_t N>
void put_name(std::array<char, N>& to, std::string_view text) {
  std::copy_n(text.data(), std::min(text.size(), N - 1), to.data());
}

// Of foreign text: a control character becomes a space.
template <std::size_t N>
void put_text(std::array<char, N>& to, std::string_view text) {
  to.fill(0);
  for (std::size_t n = 0; n < text.size() && n + 1 < N; ++n) {
    const auto c = static_cast<unsigned char>(text[n]);
    to[n] = c < 0x20 || c == 0x7f ? ' ' : text[n];
  }
}

template <std::size_t N>
std::string text_of(const std::array<char, N>& text) {
  return {text.data(), ::strnlen(text.data(), N)};
}

}  // namespace weir
