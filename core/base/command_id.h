// What names a command: 128 random bits, 32 lower-case hexadecimal digits as text. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/hex.h"

namespace weir {

using CommandIdBytes = std::array<std::uint8_t, 16>;

inline bool command_id_of(std::string_view hex, CommandIdBytes& out) {
  if (hex.size() != 2 * out.size()) return false;
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  for (std::size_t n = 0; n < out.size(); ++n) {
    const int high = digit(hex[2 * n]), low = digit(hex[2 * n + 1]);
    if (high < 0 || low < 0) return false;
    out[n] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return true;
}

inline std::string text_of_command_id(const CommandIdBytes& id) {
  return hex_of(id);
}

}  // namespace weir
