// Text and tests of addresses. Written out by hand: core has no OS headers, hence no inet_pton.
#include "core/event/address.h"

#include <fmt/format.h>
#define XXH_INLINE_ALL  // some calls per packet
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>

namespace weir {
namespace {

constexpr std::array<std::uint8_t, 12> kV4Mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<unsigned> number(std::string_view text, unsigned max, int base = 10) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > max)
    return std::nullopt;
  return value;
}

std::optional<IpAddress> parse_v4(std::string_view text) {
  std::array<std::uint8_t, 4> out{};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t dot = text.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) return std::nullopt;
    const auto part = number(text.substr(0, dot), 255);
    if (!part) return std::nullopt;
    out[i] = static_cast<std::uint8_t>(*part);
    if (i < 3) text.remove_prefix(dot + 1);
  }
  return IpAddress::v4(out);
}

// Groups of one half of an IPv6 text; a dotted IPv4 tail counts as two. False if malformed.
bool groups_of(std::string_view half, std::array<std::uint16_t, 8>& out, std::size_t& count) {
  count = 0;
  while (!half.empty()) {
    const std::size_t colon = half.find(':');
    const std::string_view part = half.substr(0, colon);
    if (part.find('.') != std::string_view::npos) {
      const auto v4 = parse_v4(part);
      if (!v4 || colon != std::string_view::npos || count > 6) return false;
      out[count++] = static_cast<std::uint16_t>(v4->bytes[12] << 8 | v4->bytes[13]);
      out[count++] = static_cast<std::uint16_t>(v4->bytes[14] << 8 | v4->bytes[15]);
      return true;
    }
    const auto group = part.size() > 4 ? std::nullopt : number(part, 0xffff, 16);
    if (!group || count >= 8) return false;
    out[count++] = static_cast<std::uint16_t>(*group);
    if (colon == std::string_view::npos) return true;
    half.remove_prefix(colon + 1);
    if (half.empty()) return false;  // a single trailing colon
  }
  return true;
}

std::optional<IpAddress> parse_v6(std::string_view text) {
  std::array<std::uint16_t, 8> head{}, tail{};
  std::size_t heads = 0, tails = 0;
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (!groups_of(text, head, heads) || heads != 8) return std::nullopt;
  } else {
    if (!groups_of(text.substr(0, gap), head, heads) ||
        !groups_of(text.substr(gap + 2), tail, tails) || heads + tails > 7)
      return std::nullopt;
  }
  IpAddress out;
  for (std::size_t i = 0; i < 8; ++i) {
    std::uint16_t group = 0;
    if (i < heads) group = head[i];
    if (i >= 8 - tails) group = tail[i - (8 - tails)];
    out.bytes[2 * i] = static_cast<std::uint8_t>(group >> 8);
    out.bytes[2 * i + 1] = static_cast<std::uint8_t>(group);
  }
  return out;
}

}  // namespace

IpAddress IpAddress::v4(std::uint32_t host_order) {
  const std::array<std::uint8_t, 4> four = {
      static_cast<std::uint8_t>(host_order >> 24), static_cast<std::uint8_t>(host_order >> 16),
      static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order)};
  return v4(four);
}

IpAddress IpAddress::v4(Bytes four) {
  WEIR_CHECK(four.size() == 4);
  IpAddress out;
  std::copy(kV4Mapped.begin(), kV4Mapped.end(), out.bytes.begin());
  std::copy(four.begin(), four.end(), out.bytes.begin() + 12);
  return out;
}

IpAddress IpAddress::v6(Bytes sixteen) {
  WEIR_CHECK(sixteen.size() == 16);
  IpAddress out;
  std::copy(sixteen.begin(), sixteen.end(), out.bytes.begin());
  return out;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const auto address = text.find(':') == std::string_view::npos ? parse_v4(text) : parse_v6(text);
  if (!address) return fail(fmt::format("'{}' is not an IPv4 or IPv6 address", text));
  return *address;
}

bool IpAddress::is_v4() const {
  return std::equal(kV4Mapped.begin(), kV4Mapped.end(), bytes.begin());
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes[12] == 127;
  return std::all_of(bytes.begin(), bytes.end() - 1, [](auto b) { return b == 0; }) &&
         bytes[15] == 1;
}

bool IpAddress::is_private() const {
  if (is_loopback()) return true;
  if (is_v4())
    return bytes[12] == 10 || (bytes[12] == 172 && (bytes[13] & 0xf0) == 16) ||
           (bytes[12] == 192 && bytes[13] == 168) || (bytes[12] == 169 && bytes[13] == 254);
  return (bytes[0] & 0xfe) == 0xfc || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
}

bool IpAddress::is_multicast() const {
  if (is_v4())
    return (bytes[12] & 0xf0) == 0xe0 ||
           (bytes[12] == 255 && bytes[13] == 255 && bytes[14] == 255 && bytes[15] == 255);
  return bytes[0] == 0xff;
}

std::string IpAddress::text() const {
  if (is_v4()) {  // by hand: one for each flow
    std::array<char, 15> out;
    char* end = out.data();
    for (std::size_t i = 12; i < 16; ++i) {
      if (i > 12) *end++ = '.';
      end = std::to_chars(end, out.data() + out.size(), bytes[i]).ptr;
    }
    return {out.data(), end};
  }
  // RFC 5952: the longest run of two or more zero groups becomes "::".
  std::array<unsigned, 8> groups{};
  for (std::size_t i = 0; i < 8; ++i) groups[i] = bytes[2 * i] << 8u | bytes[2 * i + 1];
  std::size_t best = 8, best_length = 1;
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t end = i;
    while (end < 8 && groups[end] == 0) ++end;
    if (end - i > best_length) best = i, best_length = end - i;
  }
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == best) {
      out += "::";
      i += best_length - 1;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    out += fmt::format("{:x}", groups[i]);
  }
  return out;
}

Result<Prefix> Prefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return tl::unexpected(address.error());
  Prefix out{*address, 128};
  if (slash != std::string_view::npos) {
    const unsigned width = address->is_v4() ? 32 : 128;
    const auto length = number(text.substr(slash + 1), width);
    if (!length) return fail(fmt::format("'{}' needs a prefix length from 0 to {}", text, width));
    out.length = static_cast<std::uint8_t>(128 - width + *length);
  }
  return out;
}

bool Prefix::contains(const IpAddress& a) const {
  const std::size_t whole = length / 8;
  if (whole > 0 && a.bytes[whole - 1] != address.bytes[whole - 1]) return false;  // mostly
  if (!std::equal(a.bytes.begin(), a.bytes.begin() + static_cast<long>(whole),
                  address.bytes.begin()))
    return false;
  if (length % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff << (8 - length % 8));
  return (a.bytes[whole] & mask) == (address.bytes[whole] & mask);
}

std::string Prefix::text() const {
  return address.text() + "/" + std::to_string(address.is_v4() ? length - 96 : length);
}

std::string Endpoint::text() const {
  return address.is_v4() ? fmt::format("{}:{}", address.text(), port)
                         : fmt::format("[{}]:{}", address.text(), port);
}

std::size_t FlowKeyHash::operator()(const FlowKey& key) const noexcept {
  std::array<std::uint8_t, 37> raw;
  std::memcpy(raw.data(), key.client.address.bytes.data(), 16);
  std::memcpy(raw.data() + 16, key.server.address.bytes.data(), 16);
  std::memcpy(raw.data() + 32, &key.client.port, 2);
  std::memcpy(raw.data() + 34, &key.server.port, 2);
  raw[36] = static_cast<std::uint8_t>(key.transport);
  return XXH3_64bits(raw.data(), raw.size());
}

std::size_t IpAddressHash::operator()(const IpAddress& address) const noexcept {
  return XXH3_64bits(address.bytes.data(), address.bytes.size());
}

}  // namespace weir
