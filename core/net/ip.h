// IPv4 and IPv6 packets, and datagrams put together again from their fragments.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/bytes.h"
#include "core/event/address.h"
#include "core/net/damage.h"

namespace weir {

inline constexpr std::size_t kMaxExtensionHeaders = 8;  // real packets have at most three

struct IpPacket {
  IpAddress source, destination;
  std::uint8_t protocol = 0;         // after the extension headers
  Bytes payload;                     // what was captured of it, padding removed
  std::uint32_t payload_length = 0;  // what was sent, never more than was on the wire
  std::uint32_t length = 0;          // headers and payload
  bool cut = false;                  // fewer bytes are here than its own length says
  bool fragment = false;
  bool more_fragments = false;
  std::uint32_t fragment_offset = 0;
  std::uint32_t id = 0;  // of the fragmented datagram
};

// `bytes` starts at the IP header; `wire` is how many bytes from there on were on the wire.
Parsed<IpPacket> parse_ip(Bytes bytes, std::uint32_t wire);

// Reassembly as RFC 815 and RFC 5722: a fragment that overlaps another without being its exact copy
// drops the whole datagram, so that no two receivers' readings of it can be told apart by us.
class Fragments {
 public:
  static constexpr std::size_t kMaxDatagrams = 256;   // in progress; the oldest gives way
  static constexpr std::size_t kMaxFragments = 64;    // of one datagram: 64 KiB in 1 KiB parts
  static constexpr std::size_t kMaxBytes = 4u << 20;  // held in all
  static constexpr std::int64_t kTimeout = 30'000'000'000;  // ns, as Linux's ipfrag_time

  Fragments();
  ~Fragments();
  // The whole datagram when this fragment completes it; it lives until the next call.
  std::optional<IpPacket> add(const IpPacket& fragment, std::int64_t now_ns);
  std::uint64_t dropped() const { return dropped_; }  // fragments that led to nothing
  void forget();                                      // counts what is still incomplete as dropped

 private:
  struct Datagram;
  void drop(std::size_t index);
  std::size_t find_or_make(const IpPacket& fragment, std::int64_t now_ns);

  std::vector<Datagram> datagrams_;  // oldest first
  std::vector<std::uint8_t> whole_;
  std::size_t bytes_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
