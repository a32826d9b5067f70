// TCP and UDP headers; which bytes of a TCP direction are new; a direction's bytes put in order.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/net/damage.h"

namespace weir {

struct TcpSegment {
  std::uint16_t source = 0, destination = 0;
  std::uint32_t sequence = 0;  // of the first payload byte (a SYN's own number is already added)
  bool syn = false, ack = false, fin = false, rst = false;
  Bytes payload;                     // captured
  std::uint32_t payload_length = 0;  // sent
};

struct UdpDatagram {
  std::uint16_t source = 0, destination = 0;
  Bytes payload;
  std::uint32_t payload_length = 0;
};

// `length`: of the IP payload as it was sent.
Parsed<TcpSegment> parse_tcp(Bytes bytes, std::uint32_t length);
Parsed<UdpDatagram> parse_udp(Bytes bytes, std::uint32_t length);

// Counts each byte of a direction once, whatever is sent again, overlaps or comes late.
class SequenceCount {
 public:
  void start(std::uint32_t sequence);  // of the first byte to come
  bool started() const { return started_; }
  std::uint32_t next() const { return highest_; }  // behind the highest byte so far
  std::uint32_t add(std::uint32_t sequence, std::uint32_t length);  // how many of these are new

 private:
  // Late packets fill at most this many gaps; with more open at once the oldest is taken as lost.
  static constexpr std::size_t kMaxHoles = 8;
  struct Hole {
    std::uint32_t begin, end;
  };
  void open_hole(std::uint32_t begin, std::uint32_t end);
  std::uint32_t fill(std::uint32_t begin, std::uint32_t end);

  std::uint32_t highest_ = 0;
  bool started_ = false;
  std::unique_ptr<std::vector<Hole>> holes_;  // most directions never have one
};

// The first bytes of a direction, in order. Of bytes that come twice the first copy stays, so the
// reading does not depend on how segments overlap.
class StreamStart {
 public:
  static constexpr std::size_t kMaxRanges = 16;  // of out-of-order data

  StreamStart(std::uint32_t sequence, std::size_t capacity)
      : base_(sequence), capacity_(capacity) {}
  // How many bytes were not taken: beyond capacity or ranges. What lies behind the base is old.
  std::size_t add(std::uint32_t sequence, Bytes payload);
  Bytes bytes() const;          // the gapless start
  void consume(std::size_t n);  // n <= bytes().size(): forget them, the base moves on
  bool stuck() const {  // the buffer reaches its end, yet the start has a gap or is all unread
    return !ranges_.empty() && ranges_.back().end >= capacity_;
  }
  std::size_t memory() const { return data_.capacity(); }

 private:
  struct Range {
    std::uint32_t begin, end;
  };
  std::uint32_t base_;
  std::size_t capacity_;
  std::vector<std::uint8_t> data_;
  std::vector<Range> ranges_;  // in order, disjoint, not touching
};

}  // namespace weir
