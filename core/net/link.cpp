// Link layers, each down to the IP header. Numbers: IEEE 802 ethertypes;
// tcpdump.org/linktypes.html.
#include "core/net/link.h"

namespace weir {
namespace {

constexpr std::uint16_t kIpv4 = 0x0800, kIpv6 = 0x86dd;
constexpr std::uint16_t kVlan = 0x8100, kServiceVlan = 0x88a8, kOldServiceVlan = 0x9100;
constexpr std::uint16_t kMpls = 0x8847, kPppoe = 0x8864;
constexpr std::uint16_t kFirstEthertype = 0x0600;  // below: an 802.3 length, then LLC

tl::unexpected<Damage> damaged(Damage kind) {
  return tl::unexpected(kind);
}

Parsed<Bytes> after_mpls(Reader& in) {
  for (std::size_t depth = 0; depth < kMaxTags; ++depth) {
    const std::uint32_t label = in.u32();
    if (!in.ok()) return damaged(Damage::truncated);
    if (label & 0x100) return in.rest();  // bottom of stack; the IP header's version tells the rest
  }
  return damaged(Damage::too_deep);
}

Parsed<Bytes> after_pppoe(Reader& in) {
  in.skip(6);  // version, code, session, length
  const std::uint16_t protocol = in.u16();
  if (!in.ok()) return damaged(Damage::truncated);
  if (protocol != 0x0021 && protocol != 0x0057) return damaged(Damage::unsupported);
  return in.rest();
}

Parsed<Bytes> after_ethertype(std::uint16_t type, Reader& in) {
  for (std::size_t depth = 0; depth <= kMaxTags; ++depth) {
    if (type == kIpv4 || type == kIpv6) return in.rest();
    if (type == kMpls) return after_mpls(in);
    if (type == kPppoe) return after_pppoe(in);
    if (type < kFirstEthertype) {  // LLC: only SNAP with an ethertype can carry IP
      const bool snap = in.u24() == 0xaaaa03 && in.u24() == 0;
      type = in.u16();
      if (!in.ok()) return damaged(Damage::truncated);
      if (!snap || type < kFirstEthertype) return damaged(Damage::unsupported);
    } else if (type == kVlan || type == kServiceVlan || type == kOldServiceVlan) {
      in.skip(2);
      type = in.u16();
      if (!in.ok()) return damaged(Damage::truncated);
    } else {
      return damaged(Damage::unsupported);
    }
  }
  return damaged(Damage::too_deep);
}

// Address families of the BSDs, macOS and Linux; DLT_NULL has the byte order of the capturing host.
bool is_ip_family(std::uint32_t family) {
  return family == 2 || family == 10 || family == 24 || family == 28 || family == 30;
}

Parsed<Bytes> after_family(Reader& in, bool any_order) {
  const std::uint32_t family = in.u32();
  if (!in.ok()) return damaged(Damage::truncated);
  const std::uint32_t swapped =
      family >> 24 | (family >> 8 & 0xff00) | (family & 0xff00) << 8 | family << 24;
  if (is_ip_family(family) || (any_order && is_ip_family(swapped))) return in.rest();
  return damaged(Damage::unsupported);
}

}  // namespace

Parsed<Bytes> ip_in_frame(LinkType link, Bytes frame) {
  Reader in(frame);
  std::uint16_t type = 0;
  switch (link) {
    case LinkType::unsupported:
      return damaged(Damage::unsupported);
    case LinkType::raw_ip:
      return frame;
    case LinkType::null:
      return after_family(in, true);
    case LinkType::loop:
      return after_family(in, false);
    case LinkType::ethernet:
      in.skip(12);
      type = in.u16();
      break;
    case LinkType::linux_sll:
      in.skip(14);
      type = in.u16();
      break;
    case LinkType::linux_sll2:
      type = in.u16();
      in.skip(18);
      break;
  }
  if (!in.ok()) return damaged(Damage::truncated);
  return after_ethertype(type, in);
}

}  // namespace weir
