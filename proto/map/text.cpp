// Foreign bytes as text that may be shown: see text.h.
#include "proto/map/text.h"

#include <cstdint>

namespace weir {
namespace {

struct Character {
  std::uint32_t code = 0;
  std::size_t length = 0;  // 0: the first byte starts no valid character
};

// The character at the start of `s`, by the table of RFC 3629 section 4.
Character decode(std::string_view s) {
  auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(s[i]); };
  std::uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || s.size() < length) return {};
  std::uint32_t code = first & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  static constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[length] || code > 0x10ffff || surrogate) return {};
  return {code, length};
}

bool may_be_shown(std::uint32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;  // C0, DEL, C1
  if (code >= 0x200b && code <= 0x200f) return false;              // zero width, direction marks
  if (code >= 0x2028 && code <= 0x202e) return false;  // line separators, embeddings, overrides
  if (code >= 0x2060 && code <= 0x206f) return false;  // invisible operators, isolates
  return code != 0xfeff && code != 0x061c;             // byte order mark, Arabic letter mark
}

}  // namespace

std::string shown(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    Character c = decode(bytes);
    std::size_t taken = c.length == 0 ? 1 : c.length;
    if (c.length > 0 && may_be_shown(c.code)) {
      out.append(bytes.substr(0, taken));
    } else {
      for (char raw : bytes.substr(0, taken)) {
        auto b = static_cast<std::uint8_t>(raw);
        out += {'\\', 'x', kHex[b >> 4], kHex[b & 15]};
      }
    }
    bytes.remove_prefix(taken);
  }
  return out;
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    Character c = decode(bytes);
    if (c.length == 0) return false;
    bytes.remove_prefix(c.length);
  }
  return true;
}

}  // namespace weir
