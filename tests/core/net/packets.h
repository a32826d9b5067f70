// Packets for tests, built field by field. Checksums stay zero: nothing here reads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/event/event.h"

namespace weir::packets {

using Buffer = std::string;  // bytes; std::string because it joins with +

inline Buffer u8(unsigned n) {
  return Buffer(1, static_cast<char>(n));
}
inline Buffer u16(unsigned n) {
  return u8(n >> 8) + u8(n);
}
inline Buffer u32(std::uint32_t n) {
  return u16(n >> 16) + u16(n & 0xffff);
}

inline Buffer ethernet(const Buffer& payload, unsigned type = 0x0800, const Buffer& tags = "") {
  return Buffer(12, '\x02') + tags + u16(type) + payload;
}

inline Buffer v4(std::string_view address) {
  return Buffer(text_of(Bytes(IpAddress::parse(address)->bytes).subspan(12)));
}
inline Buffer v6(std::string_view address) {
  return Buffer(text_of(Bytes(IpAddress::parse(address)->bytes)));
}

struct Ipv4 {
  std::string source = "192.0.2.1", destination = "198.51.100.7";
  unsigned protocol = 17, id = 1, fragment = 0;  // flags and offset, as on the wire
  Buffer options{};
  int total = -1;  // a lie about the length

  Buffer operator()(const Buffer& payload) const {
    const unsigned words = 5 + static_cast<unsigned>(options.size() / 4);
    const std::size_t length = words * 4 + payload.size();
    return u8(0x40 | words) + u8(0) +
           u16(total < 0 ? static_cast<unsigned>(length) : static_cast<unsigned>(total)) + u16(id) +
           u16(fragment) + u8(64) + u8(protocol) + u16(0) + v4(source) + v4(destination) + options +
           payload;
  }
};

struct Ipv6 {
  std::string source = "2001:db8::1", destination = "2001:db8::7";
  unsigned next = 17;

  Buffer operator()(const Buffer& payload) const {
    return u32(0x60000000) + u16(static_cast<unsigned>(payload.size())) + u8(next) + u8(64) +
           v6(source) + v6(destination) + payload;
  }
};

inline Buffer udp(unsigned source, unsigned destination, const Buffer& payload) {
  return u16(source) + u16(destination) + u16(static_cast<unsigned>(payload.size() + 8)) + u16(0) +
         payload;
}

inline constexpr unsigned kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

inline Buffer tcp(unsigned source, unsigned destination, std::uint32_t sequence, unsigned flags,
                  const Buffer& payload = "") {
  return u16(source) + u16(destination) + u32(sequence) + u32(0) + u8(0x50) + u8(flags) +
         u16(65535) + u32(0) + payload;
}

inline Buffer dns_name(std::string_view text) {
  Buffer out;
  while (!text.empty()) {
    const std::string_view label = text.substr(0, text.find('.'));
    out += u8(static_cast<unsigned>(label.size())) + Buffer(label);
    text.remove_prefix(std::min(text.size(), label.size() + 1));
  }
  return out + u8(0);
}

inline Buffer dns_query(std::string_view name, unsigned type = 1) {
  return u16(7) + u16(0x0100) + u16(1) + u16(0) + u16(0) + u16(0) + dns_name(name) + u16(type) +
         u16(1);
}

inline Buffer dns_record(const Buffer& owner, unsigned type, std::uint32_t ttl,
                         const Buffer& data) {
  return owner + u16(type) + u16(1) + u32(ttl) + u16(static_cast<unsigned>(data.size())) + data;
}

// `records` joined, `count` of them.
inline Buffer dns_answer(std::string_view name, unsigned count, const Buffer& records,
                         unsigned flags = 0x8180) {
  return u16(7) + u16(flags) + u16(1) + u16(count) + u16(0) + u16(0) + dns_name(name) + u16(1) +
         u16(1) + records;
}

inline Buffer dns_a(std::string_view name, std::string_view address, std::uint32_t ttl = 60) {
  return dns_answer(name, 1, dns_record(u16(0xc00c), 1, ttl, v4(address)));
}

inline Buffer framed(const Buffer& message) {
  return u16(static_cast<unsigned>(message.size())) + message;
}

inline Buffer extension(unsigned type, const Buffer& data) {
  return u16(type) + framed(data);
}
inline Buffer server_name(std::string_view host) {
  return extension(0, framed(u8(0) + framed(Buffer(host))));
}
inline Buffer alpn(const std::vector<std::string>& protocols) {
  Buffer list;
  for (const auto& p : protocols) list += u8(static_cast<unsigned>(p.size())) + p;
  return extension(16, framed(list));
}

// The handshake message; tls_records() puts it on the stream.
inline Buffer client_hello(const Buffer& extensions, const Buffer& ciphers = u16(0x1301)) {
  const Buffer body =
      u16(0x0303) + Buffer(32, 'r') + u8(0) + framed(ciphers) + u8(1) + u8(0) + framed(extensions);
  return u8(1) + u8(static_cast<unsigned>(body.size() >> 16)) +
         u16(static_cast<unsigned>(body.size() & 0xffff)) + body;
}

inline Buffer tls_records(const Buffer& message, std::size_t size = 16384) {
  Buffer out;
  for (std::size_t at = 0; at < message.size(); at += size)
    out += u8(22) + u16(0x0301) + framed(message.substr(at, size));
  return out;
}

}  // namespace weir::packets
