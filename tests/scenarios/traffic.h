// Traffic made by hand: whole IP packets (raw_ip) with right lengths, as events or as a capture
// file.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/event/event.h"

namespace weir::traffic {

using Buffer = std::vector<std::uint8_t>;

inline void u8(Buffer& out, unsigned value) {
  out.push_back(static_cast<std::uint8_t>(value));
}
inline void u16(Buffer& out, unsigned value) {
  u8(out, value >> 8);
  u8(out, value);
}
inline void u32(Buffer& out, std::uint32_t value) {
  u16(out, value >> 16);
  u16(out, value & 0xffff);
}
inline void text(Buffer& out, std::string_view value) {
  out.insert(out.end(), value.begin(), value.end());
}
inline void append(Buffer& out, const Buffer& more) {
  out.insert(out.end(), more.begin(), more.end());
}

inline IpAddress ip(const char* address) {
  return *IpAddress::parse(address);
}

inline Buffer ipv4(const IpAddress& from, const IpAddress& to, unsigned protocol,
                   const Buffer& payload) {
  Buffer out;
  u16(out, 0x4500);
  u16(out, static_cast<unsigned>(20 + payload.size()));
  u32(out, 0);
  u8(out, 64);
  u8(out, protocol);
  u16(out, 0);
  out.insert(out.end(), from.bytes.begin() + 12, from.bytes.end());
  out.insert(out.end(), to.bytes.begin() + 12, to.bytes.end());
  append(out, payload);
  return out;
}

inline Buffer udp(const Endpoint& from, const Endpoint& to, const Buffer& payload) {
  Buffer out;
  u16(out, from.port);
  u16(out, to.port);
  u16(out, static_cast<unsigned>(8 + payload.size()));
  u16(out, 0);
  append(out, payload);
  return ipv4(from.address, to.address, 17, out);
}

enum Flag : unsigned { kFin = 1, kSyn = 2, kRst = 4, kPush = 8, kAck = 16 };

inline Buffer tcp(const Endpoint& from, const Endpoint& to, std::uint32_t sequence,
                  std::uint32_t acknowledged, unsigned flags, const Buffer& payload) {
  Buffer out;
  u16(out, from.port);
  u16(out, to.port);
  u32(out, sequence);
  u32(out, acknowledged);
  u8(out, 0x50);
  u8(out, flags);
  u16(out, 0xffff);
  u32(out, 0);
  append(out, payload);
  return ipv4(from.address, to.address, 6, out);
}

// A TLS 1.2 record with a ClientHello that names `host`.
inline Buffer client_hello(std::string_view host) {
  Buffer name;
  u16(name, static_cast<unsigned>(host.size() + 3));
  u8(name, 0);
  u16(name, static_cast<unsigned>(host.size()));
  text(name, host);
  Buffer extensions;
  u16(extensions, 0);
  u16(extensions, static_cast<unsigned>(name.size()));
  append(extensions, name);
  Buffer body;
  u16(body, 0x0303);
  for (int i = 0; i < 32; ++i) u8(body, static_cast<unsigned>(i * 7 + 3));
  u8(body, 0);
  u16(body, 4);
  u16(body, 0x1301);
  u16(body, 0xc02f);
  u16(body, 0x0100);
  u16(body, static_cast<unsigned>(extensions.size()));
  append(body, extensions);
  Buffer out;
  u8(out, 22);
  u16(out, 0x0301);
  u16(out, static_cast<unsigned>(body.size() + 4));
  u8(out, 1);
  u8(out, 0);
  u16(out, static_cast<unsigned>(body.size()));
  append(out, body);
  return out;
}

inline Buffer dns_name(std::string_view name) {
  Buffer out;
  while (!name.empty()) {
    const std::size_t dot = std::min(name.find('.'), name.size());
    u8(out, static_cast<unsigned>(dot));
    text(out, name.substr(0, dot));
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  u8(out, 0);
  return out;
}

inline Buffer dns_query(unsigned id, std::string_view name, unsigned type = 1) {
  Buffer out;
  u16(out, id);
  u16(out, 0x0100);
  u16(out, 1);
  u16(out, 0);
  u32(out, 0);
  append(out, dns_name(name));
  u16(out, type);
  u16(out, 1);
  return out;
}

inline Buffer dns_answer(unsigned id, std::string_view name, const IpAddress& address,
                         std::uint32_t ttl = 300) {
  Buffer out = dns_query(id, name);
  out[2] = 0x81;
  out[3] = 0x80;
  out[7] = 1;  // one answer
  u16(out, 0xc00c);
  u16(out, 1);
  u16(out, 1);
  u32(out, ttl);
  u16(out, 4);
  out.insert(out.end(), address.bytes.begin() + 12, address.bytes.end());
  return out;
}

struct Sent {
  std::int64_t at_ns = 0;
  bool outgoing = true;
  Buffer bytes;
};

// A conversation in order. Time moves by `step_ns` with each packet.
class Script {
 public:
  std::int64_t now_ns = 1'700'000'000'000'000'000;
  std::int64_t step_ns = 1'000'000;
  std::vector<Sent> packets;

  void send(Buffer bytes, bool outgoing = true) {
    packets.push_back({now_ns, outgoing, std::move(bytes)});
    now_ns += step_ns;
  }

  void look_up(const Endpoint& client, const Endpoint& resolver, std::string_view name,
               const IpAddress& address) {
    const unsigned id = static_cast<unsigned>(packets.size() & 0xffff);
    send(udp(client, resolver, dns_query(id, name)));
    send(udp(resolver, client, dns_answer(id, name, address)), false);
  }

  // A whole TCP flow: handshake, first bytes of the client, `up` bytes in segments, `down` bytes,
  // FIN.
  void tcp_flow(const Endpoint& client, const Endpoint& server, const Buffer& first,
                std::uint64_t up, std::uint64_t down, bool close = true) {
    constexpr std::uint64_t kSegment = 1400;
    std::uint32_t mine = 1000, theirs = 5000;
    send(tcp(client, server, mine++, 0, kSyn, {}));
    send(tcp(server, client, theirs++, mine, kSyn | kAck, {}), false);
    send(tcp(client, server, mine, theirs, kAck | kPush, first));
    mine += static_cast<std::uint32_t>(first.size());
    for (; up > 0; up -= std::min(up, kSegment)) {
      const std::size_t size = std::min(up, kSegment);
      send(tcp(client, server, mine, theirs, kAck, Buffer(size, 0x17)));
      mine += static_cast<std::uint32_t>(size);
    }
    for (; down > 0; down -= std::min(down, kSegment)) {
      const std::size_t size = std::min(down, kSegment);
      send(tcp(server, client, theirs, mine, kAck, Buffer(size, 0x17)), false);
      theirs += static_cast<std::uint32_t>(size);
    }
    if (!close) return;
    send(tcp(client, server, mine, theirs, kFin | kAck, {}));
    send(tcp(server, client, theirs, mine + 1, kFin | kAck, {}), false);
    send(tcp(client, server, mine + 1, theirs + 1, kAck, {}));
  }
};

inline Event event_of(const Sent& sent, const SocketRef& socket = {}) {
  Packet packet;
  packet.link = LinkType::raw_ip;
  packet.bytes = sent.bytes;
  packet.wire_length = static_cast<std::uint32_t>(sent.bytes.size());
  packet.socket = socket;
  if (socket.cookie != 0)
    packet.direction = sent.outgoing ? Direction::outgoing : Direction::incoming;
  return {{sent.at_ns, sent.at_ns}, packet};
}

// A classic pcap file of link type RAW with nanoseconds.
inline void write_pcap(const std::string& path, const std::vector<Sent>& packets) {
  std::ofstream file(path, std::ios::binary);
  const auto little = [&](std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) file.put(static_cast<char>(value >> shift & 0xff));
  };
  little(0xa1b23c4d);
  little(4u << 16 | 2u);
  little(0);
  little(0);
  little(262144);
  little(101);
  for (const Sent& sent : packets) {
    little(static_cast<std::uint32_t>(sent.at_ns / 1'000'000'000));
    little(static_cast<std::uint32_t>(sent.at_ns % 1'000'000'000));
    little(static_cast<std::uint32_t>(sent.bytes.size()));
    little(static_cast<std::uint32_t>(sent.bytes.size()));
    file.write(reinterpret_cast<const char*>(sent.bytes.data()),
               static_cast<std::streamsize>(sent.bytes.size()));
  }
}

}  // namespace weir::traffic
