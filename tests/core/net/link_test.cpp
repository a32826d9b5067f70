// Link layers: each reaches the same IP packet.
#include "core/net/link.h"

#include <gtest/gtest.h>

#include "tests/core/net/packets.h"

namespace weir {
namespace {

using namespace packets;

const Buffer kPacket = Ipv4{}(udp(1, 2, "x"));

std::string through(LinkType link, const Buffer& frame) {
  const auto ip = ip_in_frame(link, bytes_of(frame));
  return ip ? std::string(text_of(*ip)) : std::string(name_of(ip.error()));
}

TEST(link, every_known_link_type_leads_to_the_ip_packet) {
  EXPECT_EQ(through(LinkType::raw_ip, kPacket), kPacket);
  EXPECT_EQ(through(LinkType::ethernet, ethernet(kPacket)), kPacket);
  EXPECT_EQ(through(LinkType::linux_sll, Buffer(14, '\0') + u16(0x0800) + kPacket), kPacket);
  EXPECT_EQ(through(LinkType::linux_sll2, u16(0x0800) + Buffer(18, '\0') + kPacket), kPacket);
  EXPECT_EQ(through(LinkType::loop, u32(2) + kPacket), kPacket);
}

TEST(link, null_is_read_in_the_byte_order_of_either_host) {
  EXPECT_EQ(through(LinkType::null, u32(2) + kPacket), kPacket);
  EXPECT_EQ(through(LinkType::null, u32(0x02000000) + kPacket), kPacket);
  EXPECT_EQ(through(LinkType::null, u32(0x1e000000) + kPacket), kPacket);
  EXPECT_EQ(through(LinkType::null, u32(3) + kPacket), "unsupported");
}

TEST(link, vlan_qinq_snap_pppoe_and_mpls_are_looked_through) {
  const Buffer tag = u16(0x8100) + u16(5), service = u16(0x88a8) + u16(6);
  EXPECT_EQ(through(LinkType::ethernet, ethernet(kPacket, 0x0800, tag)), kPacket);
  EXPECT_EQ(through(LinkType::ethernet, ethernet(kPacket, 0x0800, service + tag)), kPacket);
  EXPECT_EQ(through(LinkType::ethernet,
                    ethernet(Buffer("\xaa\xaa\x03\0\0\0", 6) + u16(0x0800) + kPacket, 60)),
            kPacket);
  EXPECT_EQ(
      through(LinkType::ethernet, ethernet(u16(0x1100) + u32(0) + u16(0x0021) + kPacket, 0x8864)),
      kPacket);
  EXPECT_EQ(through(LinkType::ethernet, ethernet(u32(0x1000) + u32(0x1100) + kPacket, 0x8847)),
            kPacket);
}

TEST(link, tags_without_end_are_too_deep) {
  Buffer tags;
  for (int i = 0; i < 40; ++i) tags += u16(0x8100) + u16(1);
  EXPECT_EQ(through(LinkType::ethernet, ethernet(kPacket, 0x0800, tags)), "too_deep");
  EXPECT_EQ(through(LinkType::ethernet, ethernet(Buffer(200, '\0'), 0x8847)), "too_deep");
}

TEST(link, what_is_not_ip_is_unsupported_and_what_is_cut_is_truncated) {
  EXPECT_EQ(through(LinkType::ethernet, ethernet(Buffer(28, '\0'), 0x0806)), "unsupported");
  EXPECT_EQ(through(LinkType::unsupported, kPacket), "unsupported");
  for (std::size_t n = 0; n < 14; ++n)
    EXPECT_EQ(through(LinkType::ethernet, ethernet(kPacket).substr(0, n)), "truncated") << n;
}

}  // namespace
}  // namespace weir
