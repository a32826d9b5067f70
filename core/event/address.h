// Addresses as the line sees them: one 128-bit form for both families (IPv4 is v4-mapped), no OS
// types.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace weir {

struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};  // network order; IPv4 as ::ffff:a.b.c.d

  static IpAddress v4(std::uint32_t host_order);
  static IpAddress v4(Bytes four);     // exactly 4 bytes
  static IpAddress v6(Bytes sixteen);  // exactly 16 bytes
  static Result<IpAddress> parse(std::string_view text);

  bool is_v4() const;
  bool is_loopback() const;
  bool is_private() const;    // RFC 1918, RFC 4193, link-local, loopback
  bool is_multicast() const;  // and IPv4 broadcast
  std::string text() const;   // 192.0.2.1 or 2001:db8::1

  auto operator<=>(const IpAddress&) const = default;
  bool operator==(const IpAddress& other) const {  // two words, no call
    return std::memcmp(bytes.data(), other.bytes.data(), sizeof bytes) == 0;
  }
};

struct Prefix {
  IpAddress address;
  std::uint8_t length = 128;  // over the 128-bit form: an IPv4 /24 is 120

  static Result<Prefix> parse(
      std::string_view text);  // "10.0.0.0/8", "2001:db8::/32", a bare address
  bool contains(const IpAddress& a) const;
  std::string text() const;
  auto operator<=>(const Prefix&) const = default;
};

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  std::string text() const;  // address:port, IPv6 in brackets
  auto operator<=>(const Endpoint&) const = default;
};

enum class Transport : std::uint8_t { other, tcp, udp, icmp };

// One flow: who opened it, towards whom. `client` sent the first packet that we saw (a SYN without
// ACK always names the client).
struct FlowKey {
  Endpoint client;
  Endpoint server;
  Transport transport = Transport::other;

  auto operator<=>(const FlowKey&) const = default;
};

struct FlowKeyHash {
  std::size_t operator()(const FlowKey& key) const noexcept;
};

struct IpAddressHash {
  std::size_t operator()(const IpAddress& address) const noexcept;
};

}  // namespace weir
