// TCP and UDP headers and the order of a direction's bytes (RFC 9293, RFC 768).
#include "core/net/tcp.h"

#include <algorithm>

namespace weir {
namespace {

tl::unexpected<Damage> damaged(Damage kind) {
  return tl::unexpected(kind);
}

// a - b on the circle of sequence numbers.
std::int32_t distance(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>(a - b);
}

// The largest TCP window (RFC 7323). What lies further off is no gap but another numbering.
constexpr std::int32_t kMaxWindow = 1 << 30;

}  // namespace

Parsed<TcpSegment> parse_tcp(Bytes bytes, std::uint32_t length) {
  Reader in(bytes);
  TcpSegment out;
  out.source = in.u16();
  out.destination = in.u16();
  out.sequence = in.u32();
  in.skip(4);
  const std::size_t headers = (in.u8() >> 4) * 4u;
  const std::uint8_t flags = in.u8();
  in.skip(6);
  if (!in.ok()) return damaged(Damage::truncated);
  if (headers < 20) return damaged(Damage::bad_header);
  if (headers > length) return damaged(Damage::bad_length);
  out.fin = flags & 1;
  out.syn = flags & 2;
  out.rst = flags & 4;
  out.ack = flags & 16;
  if (out.syn) ++out.sequence;
  out.payload = bytes.subspan(std::min(headers, bytes.size()));
  out.payload_length = length - static_cast<std::uint32_t>(headers);
  return out;
}

Parsed<UdpDatagram> parse_udp(Bytes bytes, std::uint32_t length) {
  Reader in(bytes);
  UdpDatagram out;
  out.source = in.u16();
  out.destination = in.u16();
  std::uint32_t claimed = in.u16();
  in.skip(2);
  if (!in.ok()) return damaged(Damage::truncated);
  if (claimed == 0) claimed = length;  // jumbogram, or offloaded
  if (claimed < 8 || claimed > length) return damaged(Damage::bad_length);
  out.payload = in.rest().first(std::min<std::size_t>(in.left(), claimed - 8));
  out.payload_length = claimed - 8;
  return out;
}

void SequenceCount::start(std::uint32_t sequence) {
  highest_ = sequence;
  started_ = true;
  holes_.reset();
}

std::uint32_t SequenceCount::add(std::uint32_t sequence, std::uint32_t length) {
  if (length == 0) return 0;
  if (!started_) start(sequence);
  const std::int32_t ahead = distance(sequence, highest_);
  if (ahead > kMaxWindow || ahead < -kMaxWindow) start(sequence);
  if (sequence == highest_) {
    highest_ += length;
    return length;
  }
  const std::uint32_t end = sequence + length;
  if (distance(sequence, highest_) > 0) {
    open_hole(highest_, sequence);
    highest_ = end;
    return length;
  }
  const std::uint32_t before = highest_;
  std::uint32_t fresh = 0;
  if (distance(end, highest_) > 0) {
    fresh = end - highest_;
    highest_ = end;
  }
  return fresh + fill(sequence, distance(end, before) > 0 ? before : end);
}

void SequenceCount::open_hole(std::uint32_t begin, std::uint32_t end) {
  if (!holes_) holes_ = std::make_unique<std::vector<Hole>>();
  if (holes_->size() == kMaxHoles) holes_->erase(holes_->begin());
  holes_->push_back({begin, end});
}

std::uint32_t SequenceCount::fill(std::uint32_t begin, std::uint32_t end) {
  if (!holes_) return 0;
  std::uint32_t fresh = 0;
  for (std::size_t i = 0; i < holes_->size(); ++i) {
    const Hole hole = (*holes_)[i];
    const std::uint32_t from = distance(begin, hole.begin) > 0 ? begin : hole.begin;
    const std::uint32_t to = distance(end, hole.end) < 0 ? end : hole.end;
    if (distance(to, from) <= 0) continue;
    fresh += to - from;
    (*holes_)[i] = {hole.begin, from};
    if (to != hole.end) {  // what is left behind the filled part
      if (from == hole.begin)
        (*holes_)[i] = {to, hole.end};
      else if (holes_->size() < kMaxHoles)
        holes_->insert(holes_->begin() + static_cast<std::ptrdiff_t>(++i), {to, hole.end});
    }
  }
  std::erase_if(*holes_, [](const Hole& h) { return h.begin == h.end; });
  if (holes_->empty()) holes_.reset();
  return fresh;
}

std::size_t StreamStart::add(std::uint32_t sequence, Bytes payload) {
  std::int32_t offset = distance(sequence, base_);
  std::size_t lost = 0;
  if (offset < 0) {  // sent again, or from before our first packet
    const std::size_t old =
        std::min(payload.size(), static_cast<std::size_t>(-std::int64_t{offset}));
    payload = payload.subspan(old);
    offset = 0;
  }
  const auto begin = static_cast<std::size_t>(offset);
  if (begin >= capacity_ || payload.empty()) return payload.size();
  if (payload.size() > capacity_ - begin) {
    lost = payload.size() - (capacity_ - begin);
    payload = payload.first(capacity_ - begin);
  }
  auto from = static_cast<std::uint32_t>(begin);
  const auto to = static_cast<std::uint32_t>(begin + payload.size());
  // The ranges that this one touches are joined with it.
  auto first = std::find_if(ranges_.begin(), ranges_.end(), [&](Range r) { return r.end >= from; });
  auto last = std::find_if(first, ranges_.end(), [&](Range r) { return r.begin > to; });
  if (first == last && ranges_.size() == kMaxRanges) return lost + payload.size();
  if (data_.size() < to) data_.resize(to);
  const std::uint32_t start = from;
  Range joined{from, to};
  for (auto r = first; r != last; ++r) {  // fill only what is free, in front of each range
    if (from < r->begin)
      std::copy_n(payload.begin() + (from - start), r->begin - from, data_.begin() + from);
    from = std::max(from, r->end);
    joined = {std::min(joined.begin, r->begin), std::max(joined.end, r->end)};
  }
  if (from < to) std::copy_n(payload.begin() + (from - start), to - from, data_.begin() + from);
  ranges_.insert(ranges_.erase(first, last), joined);
  return lost;
}

Bytes StreamStart::bytes() const {
  if (ranges_.empty() || ranges_.front().begin != 0) return {};
  return Bytes(data_).first(ranges_.front().end);
}

void StreamStart::consume(std::size_t n) {
  if (n == 0) return;
  WEIR_CHECK(n <= bytes().size());
  const auto shift = static_cast<std::uint32_t>(n);
  base_ += shift;
  data_.erase(data_.begin(), data_.begin() + static_cast<std::ptrdiff_t>(n));
  ranges_.front().begin = shift;
  if (ranges_.front().begin == ranges_.front().end) ranges_.erase(ranges_.begin());
  for (Range& r : ranges_) r = {r.begin - shift, r.end - shift};
}

}  // namespace weir
