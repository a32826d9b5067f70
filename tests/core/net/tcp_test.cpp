// Segments, the count of new bytes, and the order of first bytes.
#include "core/net/tcp.h"

#include <gtest/gtest.h>

#include "tests/core/net/packets.h"

namespace weir {
namespace {

using namespace packets;

TEST(tcp, headers_that_contradict_themselves_are_told_apart) {
  const Buffer segment = tcp(1, 2, 7, kAck, "data");
  const auto parsed = parse_tcp(bytes_of(segment), 24);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(text_of(parsed->payload), "data");
  EXPECT_EQ(parse_tcp(bytes_of(segment.substr(0, 19)), 19).error(), Damage::truncated);
  Buffer bad = segment;
  bad[12] = 0x40;
  EXPECT_EQ(parse_tcp(bytes_of(bad), 24).error(), Damage::bad_header);
  bad[12] = static_cast<char>(0xf0);
  EXPECT_EQ(parse_tcp(bytes_of(bad), 24).error(), Damage::bad_length);
}

TEST(tcp, a_syns_payload_starts_behind_its_own_number) {
  const Buffer segment = tcp(1, 2, 0xffffffff, kSyn, "early");
  EXPECT_EQ(parse_tcp(bytes_of(segment), 25)->sequence, 0u);
}

TEST(udp, a_length_that_the_packet_does_not_hold_is_damage) {
  Buffer datagram = udp(1, 2, "data");
  EXPECT_EQ(text_of(parse_udp(bytes_of(datagram), 12)->payload), "data");
  EXPECT_EQ(parse_udp(bytes_of(datagram), 11).error(), Damage::bad_length);
  datagram[5] = 7;
  EXPECT_EQ(parse_udp(bytes_of(datagram), 12).error(), Damage::bad_length);
  EXPECT_EQ(parse_udp(bytes_of("1234567"), 7).error(), Damage::truncated);
}

TEST(sequence_count, counts_each_byte_once) {
  SequenceCount count;
  count.start(1000);
  EXPECT_EQ(count.add(1000, 100), 100u);
  EXPECT_EQ(count.add(1000, 100), 0u);   // sent again
  EXPECT_EQ(count.add(1050, 100), 50u);  // half of it
  EXPECT_EQ(count.add(1149, 1), 0u);     // keep-alive
  EXPECT_EQ(count.add(1150, 10), 10u);
}

TEST(sequence_count, late_packets_fill_the_gaps_that_they_left) {
  SequenceCount count;
  count.start(0);
  EXPECT_EQ(count.add(100, 100), 100u);
  EXPECT_EQ(count.add(300, 100), 100u);
  EXPECT_EQ(count.add(20, 30), 30u);  // in the middle of the first gap
  EXPECT_EQ(count.add(20, 30), 0u);
  EXPECT_EQ(count.add(0, 150), 70u);     // what was left of it
  EXPECT_EQ(count.add(150, 300), 150u);  // the second gap and 50 new
  EXPECT_EQ(count.add(0, 450), 0u);
}

TEST(sequence_count, goes_on_where_the_numbers_wrap) {
  SequenceCount count;
  count.start(0xfffffff0);
  EXPECT_EQ(count.add(0xfffffff0, 32), 32u);
  EXPECT_EQ(count.add(0xfffffff8, 32), 8u);
  EXPECT_EQ(count.add(24, 8), 8u);
}

TEST(sequence_count, another_numbering_starts_anew) {
  SequenceCount count;
  count.start(0);
  EXPECT_EQ(count.add(0x60000000, 10), 10u);
  EXPECT_EQ(count.add(0x60000000, 10), 0u);
}

TEST(stream_start, puts_segments_in_order) {
  StreamStart stream(100, 1000);
  stream.add(110, bytes_of("world"));
  EXPECT_TRUE(stream.bytes().empty());
  stream.add(105, bytes_of("dear "));
  stream.add(100, bytes_of("hello"));
  EXPECT_EQ(text_of(stream.bytes()), "hellodear world");
}

TEST(stream_start, keeps_the_first_copy_of_bytes_that_come_twice) {
  StreamStart stream(0, 1000);
  stream.add(4, bytes_of("4567"));
  stream.add(2, bytes_of("ABCDEFGH"));
  stream.add(0, bytes_of("01XXXXXXXXXX"));
  EXPECT_EQ(text_of(stream.bytes()), "01AB4567GHXX");
}

TEST(stream_start, holds_no_more_than_its_capacity_and_its_ranges) {
  StreamStart stream(0, 10);
  EXPECT_EQ(stream.add(8, bytes_of("abcdef")), 4u);
  EXPECT_EQ(stream.add(50, bytes_of("abcdef")), 6u);
  EXPECT_LE(stream.memory(), 16u);
  EXPECT_TRUE(stream.stuck());

  StreamStart scattered(0, 1000);
  std::size_t lost = 0;
  for (std::uint32_t at = 2; at < 200; at += 2) lost += scattered.add(at, bytes_of("x"));
  EXPECT_EQ(lost, 99 - StreamStart::kMaxRanges);
}

TEST(stream_start, forgets_what_was_consumed) {
  StreamStart stream(0, 1000);
  stream.add(0, bytes_of("one two"));
  stream.add(8, bytes_of("three"));
  stream.consume(4);
  EXPECT_EQ(text_of(stream.bytes()), "two");
  EXPECT_EQ(stream.add(0, bytes_of("one ")), 0u);
  stream.add(7, bytes_of(" "));
  EXPECT_EQ(text_of(stream.bytes()), "two three");
  stream.consume(9);
  EXPECT_TRUE(stream.bytes().empty());
}

}  // namespace
}  // namespace weir
