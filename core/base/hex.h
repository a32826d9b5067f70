// Bytes as lower-case hexadecimal digits. Pure.
#pragma once

#include <string>

#include "core/base/bytes.h"

namespace weir {

inline std::string hex_of(Bytes bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace weir
