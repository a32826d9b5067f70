// IP headers and fragments.
#include "core/net/ip.h"

#include <gtest/gtest.h>

#include "tests/core/net/packets.h"

namespace weir {
namespace {

using namespace packets;

Parsed<IpPacket> parse(const Buffer& packet, std::uint32_t wire = 0) {
  return parse_ip(bytes_of(packet), std::max(wire, static_cast<std::uint32_t>(packet.size())));
}

TEST(ip, v4_options_are_skipped_and_padding_is_no_payload) {
  const Buffer packet = Ipv4{.options = Buffer(8, '\1')}("payload");
  const Buffer padded = packet + Buffer(20, '\0');
  const auto ip = parse(padded);
  ASSERT_TRUE(ip);
  EXPECT_EQ(text_of(ip->payload), "payload");
  EXPECT_EQ(ip->payload_length, 7u);
  EXPECT_EQ(ip->length, packet.size());
  EXPECT_EQ(ip->source.text(), "192.0.2.1");
  EXPECT_FALSE(ip->cut);
}

TEST(ip, a_packet_cut_by_the_capture_still_has_its_length) {
  const Buffer packet = Ipv4{}(Buffer(1000, 'x'));
  const Buffer cut = packet.substr(0, 100);
  const auto ip = parse(cut, 1020);
  ASSERT_TRUE(ip);
  EXPECT_TRUE(ip->cut);
  EXPECT_EQ(ip->payload.size(), 80u);
  EXPECT_EQ(ip->payload_length, 1000u);
}

TEST(ip, a_length_beyond_the_wire_counts_only_what_was_sent) {
  const Buffer packet = Ipv4{.total = 65535}("short");
  const auto ip = parse(packet);
  ASSERT_TRUE(ip);
  EXPECT_TRUE(ip->cut);
  EXPECT_EQ(ip->payload_length, 5u);
  EXPECT_EQ(ip->length, 25u);
}

TEST(ip, a_total_of_zero_is_an_offloaded_packet_and_goes_to_the_frames_end) {
  const Buffer packet = Ipv4{.total = 0}(Buffer(3000, 'x'));
  const auto ip = parse(packet);
  ASSERT_TRUE(ip);
  EXPECT_EQ(ip->payload_length, 3000u);
}

TEST(ip, headers_that_contradict_themselves_are_told_apart) {
  EXPECT_EQ(parse("").error(), Damage::truncated);
  EXPECT_EQ(parse("\x10").error(), Damage::bad_version);
  EXPECT_EQ(parse(Ipv4{}("").substr(0, 19)).error(), Damage::truncated);
  Buffer packet = Ipv4{}("");
  packet[0] = 0x44;
  EXPECT_EQ(parse(packet).error(), Damage::bad_header);
  EXPECT_EQ(parse(Ipv4{.total = 19}("")).error(), Damage::bad_length);
}

TEST(ip, v6_extension_headers_lead_to_the_transport) {
  const Buffer hop = u8(60) + u8(0) + Buffer(6, '\0'), options = u8(51) + u8(1) + Buffer(14, '\0');
  const Buffer authentication = u8(6) + u8(4) + Buffer(22, '\0');
  const Buffer packet = Ipv6{.next = 0}(hop + options + authentication + "segment");
  const auto ip = parse(packet);
  ASSERT_TRUE(ip);
  EXPECT_EQ(ip->protocol, 6);
  EXPECT_EQ(text_of(ip->payload), "segment");
  EXPECT_EQ(ip->length, packet.size());
}

TEST(ip, v6_headers_without_end_are_too_deep_and_cut_ones_truncated) {
  Buffer chain;
  for (int i = 0; i < 40; ++i) chain += u8(60) + u8(0) + Buffer(6, '\0');
  EXPECT_EQ(parse(Ipv6{.next = 60}(chain)).error(), Damage::too_deep);
  EXPECT_EQ(parse(Ipv6{.next = 60}(u8(6) + u8(200))).error(), Damage::truncated);
}

TEST(ip, an_atomic_v6_fragment_is_a_whole_packet) {
  const Buffer packet = Ipv6{.next = 44}(u8(17) + u8(0) + u16(0) + u32(9) + "whole");
  const auto ip = parse(packet);
  ASSERT_TRUE(ip);
  EXPECT_FALSE(ip->fragment);
  EXPECT_EQ(text_of(ip->payload), "whole");
}

// ---- fragments --------------------------------------------------------------------------------

struct Joiner {
  Fragments fragments;
  std::int64_t now = 0;

  std::string add(unsigned offset, bool more, const Buffer& payload, unsigned id = 1) {
    const Buffer packet = Ipv4{.id = id, .fragment = (more ? 0x2000u : 0u) | offset / 8}(payload);
    const auto ip = parse(packet);
    EXPECT_TRUE(ip);
    if (!ip) return "";
    const auto whole = fragments.add(*ip, now);
    return whole ? std::string(text_of(whole->payload)) : "";
  }
};

TEST(fragments, in_any_order_give_the_datagram_and_its_cost_on_the_wire) {
  Joiner joiner;
  EXPECT_EQ(joiner.add(16, false, "tail"), "");
  EXPECT_EQ(joiner.add(0, true, "01234567"), "");
  EXPECT_EQ(joiner.add(8, true, "89abcdef"), "0123456789abcdeftail");
  EXPECT_EQ(joiner.fragments.dropped(), 0u);

  const Buffer first = Ipv4{.fragment = 0x2000}("01234567"), last = Ipv4{.fragment = 1}("8");
  EXPECT_FALSE(joiner.fragments.add(*parse(first), 0));
  EXPECT_EQ(joiner.fragments.add(*parse(last), 0)->length, 28u + 21u);
}

TEST(fragments, of_two_datagrams_do_not_mix) {
  Joiner joiner;
  joiner.add(0, true, "aaaaaaaa", 1);
  joiner.add(0, true, "bbbbbbbb", 2);
  EXPECT_EQ(joiner.add(8, false, "2", 2), "bbbbbbbb2");
  EXPECT_EQ(joiner.add(8, false, "1", 1), "aaaaaaaa1");
}

TEST(fragments, that_overlap_drop_the_datagram_and_exact_copies_do_not) {
  Joiner joiner;
  joiner.add(0, true, "0123456789abcdef");
  joiner.add(0, true, "0123456789abcdef");
  EXPECT_EQ(joiner.fragments.dropped(), 0u);
  EXPECT_EQ(joiner.add(8, false, "XXXXXXXXXX"), "");
  EXPECT_EQ(joiner.fragments.dropped(), 2u);
  EXPECT_EQ(joiner.add(16, false, "end"), "");  // nothing is left to complete
}

TEST(fragments, behind_the_end_or_with_a_second_end_drop_the_datagram) {
  Joiner joiner;
  joiner.add(8, false, "end");
  EXPECT_EQ(joiner.add(16, false, "more"), "");
  joiner.add(32, true, "01234567", 2);
  EXPECT_EQ(joiner.add(8, false, "end", 2), "");
  EXPECT_EQ(joiner.fragments.dropped(), 4u);
}

TEST(fragments, that_never_complete_are_dropped_by_time_and_by_number) {
  Joiner joiner;
  joiner.add(0, true, "01234567");
  joiner.now = Fragments::kTimeout + 1;
  EXPECT_EQ(joiner.add(8, false, "late"), "");
  EXPECT_EQ(joiner.fragments.dropped(), 1u);
  for (unsigned id = 10; id < 10 + 2 * Fragments::kMaxDatagrams; ++id)
    joiner.add(0, true, "01234567", id);
  EXPECT_GE(joiner.fragments.dropped(), Fragments::kMaxDatagrams);
  joiner.fragments.forget();
  EXPECT_EQ(joiner.fragments.dropped(), 2 * Fragments::kMaxDatagrams + 2);
}

TEST(fragments, hold_a_bounded_number_of_bytes) {
  Joiner joiner;
  const std::string full(65504, 'x');
  for (unsigned id = 0; id < 200; ++id) joiner.add(0, true, full, id);  // 13 MB
  EXPECT_GE(joiner.fragments.dropped(), 200 - Fragments::kMaxBytes / full.size() - 2);
}

}  // namespace
}  // namespace weir
