// IP headers (RFC 791, RFC 8200) and fragments.
#include "core/net/ip.h"

#include <algorithm>

namespace weir {
namespace {

constexpr std::uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kAuthentication = 51,
                       kNoNext = 59, kDestination = 60, kMobility = 135, kHip = 139, kShim6 = 140;

tl::unexpected<Damage> damaged(Damage kind) {
  return tl::unexpected(kind);
}

// Fills in lengths: `claimed` is what the packet says of itself from its first byte on.
void measure(IpPacket& out, Bytes bytes, std::uint32_t wire, std::size_t headers,
             std::uint32_t claimed) {
  const auto here = static_cast<std::uint32_t>(bytes.size());
  out.length = std::min(claimed, std::max(wire, here));
  out.cut = claimed > here;
  out.payload = bytes.subspan(headers, std::min(claimed, here) - headers);
  out.payload_length = out.length - static_cast<std::uint32_t>(headers);
}

Parsed<IpPacket> parse_v4(Bytes bytes, std::uint32_t wire) {
  Reader in(bytes);
  IpPacket out;
  const std::size_t headers = (in.u8() & 0x0fu) * 4u;
  in.skip(1);
  std::uint32_t total = in.u16();
  out.id = in.u16();
  const std::uint16_t fragment = in.u16();
  in.skip(1);
  out.protocol = in.u8();
  in.skip(2);
  const Bytes source = in.take(4), destination = in.take(4);
  if (!in.ok()) return damaged(Damage::truncated);
  if (headers < 20) return damaged(Damage::bad_header);
  if (headers > bytes.size()) return damaged(Damage::truncated);
  if (total == 0) total = std::max(wire, static_cast<std::uint32_t>(bytes.size()));  // offloaded
  if (total < headers) return damaged(Damage::bad_length);
  out.source = IpAddress::v4(source);
  out.destination = IpAddress::v4(destination);
  out.more_fragments = fragment & 0x2000;
  out.fragment_offset = (fragment & 0x1fffu) * 8u;
  out.fragment = out.more_fragments || out.fragment_offset > 0;
  measure(out, bytes, wire, headers, total);
  return out;
}

bool is_extension(std::uint8_t next) {
  return next == kHopByHop || next == kRouting || next == kFragment || next == kAuthentication ||
         next == kDestination || next == kMobility || next == kHip || next == kShim6;
}

// Walks the extension headers; `in` ends behind the last. A fragment that is not the first has no
// more headers of the original packet: the walk stops there.
std::optional<Damage> walk_extensions(Reader& in, IpPacket& out) {
  for (std::size_t depth = 0; is_extension(out.protocol); ++depth) {
    if (depth == kMaxExtensionHeaders) return Damage::too_deep;
    const std::uint8_t kind = out.protocol;
    out.protocol = in.u8();
    const std::uint8_t length = in.u8();
    if (kind == kFragment) {
      const std::uint16_t offset = in.u16();
      out.id = in.u32();
      out.fragment_offset = offset & 0xfff8u;
      out.more_fragments = offset & 1;
      out.fragment = out.more_fragments || out.fragment_offset > 0;  // else atomic, RFC 6946
      if (!in.ok()) return Damage::truncated;
      if (out.fragment) return std::nullopt;
    } else {
      in.skip(kind == kAuthentication ? (length + 2u) * 4u - 2u : (length + 1u) * 8u - 2u);
    }
    if (!in.ok()) return Damage::truncated;
  }
  return std::nullopt;
}

Parsed<IpPacket> parse_v6(Bytes bytes, std::uint32_t wire) {
  Reader in(bytes);
  IpPacket out;
  in.skip(4);
  std::uint32_t claimed = in.u16() + 40u;
  out.protocol = in.u8();
  in.skip(1);
  const Bytes source = in.take(16), destination = in.take(16);
  if (!in.ok()) return damaged(Damage::truncated);
  if (claimed == 40 && out.protocol != kNoNext)  // jumbogram, or offloaded
    claimed = std::max(wire, static_cast<std::uint32_t>(bytes.size()));
  if (claimed < bytes.size()) {  // padding is none of the packet's headers
    bytes = bytes.first(claimed);
    in = Reader(bytes);
    in.skip(40);
  }
  out.source = IpAddress::v6(source);
  out.destination = IpAddress::v6(destination);
  if (auto damage = walk_extensions(in, out)) return damaged(*damage);
  measure(out, bytes, wire, in.position(), claimed);
  return out;
}

}  // namespace

Parsed<IpPacket> parse_ip(Bytes bytes, std::uint32_t wire) {
  if (bytes.empty()) return damaged(Damage::truncated);
  const int version = bytes[0] >> 4;
  if (version == 4) return parse_v4(bytes, wire);
  if (version == 6) return parse_v6(bytes, wire);
  return damaged(Damage::bad_version);
}

struct Fragments::Datagram {
  struct Part {
    std::uint32_t begin, end;
  };
  IpAddress source, destination;
  std::uint8_t protocol;
  std::uint32_t id;
  std::int64_t started_ns;
  std::uint32_t end = 0;     // of the whole payload, once the last fragment is here
  std::uint32_t length = 0;  // sum of the fragments' packets, headers included
  std::vector<Part> parts;   // in order, disjoint
  std::vector<std::uint8_t> bytes;
};

Fragments::Fragments() = default;
Fragments::~Fragments() = default;

void Fragments::drop(std::size_t index) {
  bytes_ -= datagrams_[index].bytes.size();
  dropped_ += std::max<std::size_t>(datagrams_[index].parts.size(), 1);
  datagrams_.erase(datagrams_.begin() + static_cast<std::ptrdiff_t>(index));
}

void Fragments::forget() {
  while (!datagrams_.empty()) drop(0);
}

std::size_t Fragments::find_or_make(const IpPacket& f, std::int64_t now_ns) {
  while (!datagrams_.empty() && now_ns - datagrams_.front().started_ns > kTimeout) drop(0);
  for (std::size_t i = 0; i < datagrams_.size(); ++i) {
    const Datagram& d = datagrams_[i];
    if (d.id == f.id && d.protocol == f.protocol && d.source == f.source &&
        d.destination == f.destination)
      return i;
  }
  while (datagrams_.size() >= kMaxDatagrams || (!datagrams_.empty() && bytes_ > kMaxBytes)) drop(0);
  datagrams_.push_back({f.source, f.destination, f.protocol, f.id, now_ns, 0, 0, {}, {}});
  return datagrams_.size() - 1;
}

std::optional<IpPacket> Fragments::add(const IpPacket& f, std::int64_t now_ns) {
  const std::uint32_t begin = f.fragment_offset;
  const std::uint32_t end = begin + static_cast<std::uint32_t>(f.payload.size());
  // A part that was cut can't be joined; the middle ones come in multiples of 8; 64 KiB is the
  // most.
  if (f.cut || f.payload.empty() || end > 0xffff || (f.more_fragments && f.payload.size() % 8)) {
    ++dropped_;
    return std::nullopt;
  }
  const std::size_t index = find_or_make(f, now_ns);
  Datagram& d = datagrams_[index];
  auto at = std::lower_bound(d.parts.begin(), d.parts.end(), begin,
                             [](const Datagram::Part& p, std::uint32_t b) { return p.begin < b; });
  if (at != d.parts.end() && at->begin == begin && at->end == end) return std::nullopt;  // a copy
  const bool overlaps = (at != d.parts.end() && at->begin < end) ||
                        (at != d.parts.begin() && std::prev(at)->end > begin);
  const bool past_end = d.end && (end > d.end || (!f.more_fragments && end != d.end));
  const bool before_known = !f.more_fragments && !d.parts.empty() && d.parts.back().end > end;
  if (overlaps || past_end || before_known || d.parts.size() == kMaxFragments) {
    ++dropped_;
    drop(index);
    return std::nullopt;
  }
  d.parts.insert(at, {begin, end});
  d.length += f.length;
  if (!f.more_fragments) d.end = end;
  if (d.bytes.size() < end) {
    bytes_ += end - d.bytes.size();
    d.bytes.resize(end);
  }
  std::copy(f.payload.begin(), f.payload.end(), d.bytes.begin() + begin);

  std::uint32_t joined = 0;
  for (const auto& part : d.parts) {
    if (part.begin != joined) return std::nullopt;
    joined = part.end;
  }
  if (!d.end || joined != d.end) return std::nullopt;
  IpPacket whole = f;
  whole.fragment = whole.more_fragments = false;
  whole.fragment_offset = 0;
  whole.length = d.length;
  whole_ = std::move(d.bytes);
  bytes_ -= whole_.size();
  datagrams_.erase(datagrams_.begin() + static_cast<std::ptrdiff_t>(index));
  whole.payload = whole_;
  whole.payload_length = static_cast<std::uint32_t>(whole_.size());
  return whole;
}

}  // namespace weir
