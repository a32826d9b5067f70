// Foreign bytes and the bounded cursor that every parser reads them through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir {

using Bytes = std::span<const std::uint8_t>;

inline Bytes bytes_of(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
inline std::string_view text_of(Bytes b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// Reads big-endian fields in order. A read past the end yields zero and makes ok() false for good,
// so that a parser checks once, after the fields it needs.
class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  std::size_t left() const { return bytes_.size() - at_; }
  std::size_t position() const { return at_; }
  Bytes rest() const { return bytes_.subspan(at_); }

  std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u24() { return static_cast<std::uint32_t>(number(3)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
  void skip(std::size_t n) { (void)take(n); }

  Bytes take(std::size_t n) {
    if (!ok_ || n > left()) {
      ok_ = false;
      return {};
    }
    Bytes part = bytes_.subspan(at_, n);
    at_ += n;
    return part;
  }

 private:
  std::uint64_t number(std::size_t width) {
    std::uint64_t value = 0;
    for (std::uint8_t byte : take(width)) value = value << 8 | byte;
    return value;
  }

  Bytes bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace weir
