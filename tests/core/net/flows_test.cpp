// Flows: what packets and ledger records open, name, count and end.
#include "core/net/flows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "tests/core/net/packets.h"

namespace weir {
namespace {

using namespace packets;

constexpr std::int64_t kSecond = 1'000'000'000;

struct Bench {
  std::vector<Flow> ended;
  Flows flows{[this](const Flow& flow) { ended.push_back(flow); }};
  std::int64_t now = 1000 * kSecond;
  Buffer held;  // the packet at hand
  SocketRef socket;
  Direction direction = Direction::unknown;

  Observation packet(const Buffer& ip) {
    held = ip;
    return flows.on(Packet{LinkType::raw_ip, direction, bytes_of(held),
                           static_cast<std::uint32_t>(held.size()), socket},
                    {now, now});
  }
  Observation out(const Buffer& segment, unsigned protocol = 6) {
    return packet(Ipv4{.protocol = protocol}(segment));
  }
  Observation in(const Buffer& segment, unsigned protocol = 6) {
    return packet(
        Ipv4{.source = "198.51.100.7", .destination = "192.0.2.1", .protocol = protocol}(segment));
  }
  const NetCounters& counters() const { return flows.counters(); }
  std::uint64_t damage(Damage kind) const {
    return counters().malformed[static_cast<std::size_t>(kind)];
  }
};

const Buffer kStream = tls_records(
    client_hello(server_name("files.example") + alpn({"h2"}) + extension(21, Buffer(1500, '\0'))));

TEST(flows, a_syn_names_the_client_and_both_directions_are_one_flow) {
  Bench bench;
  const auto first = bench.in(tcp(443, 50000, 1, kSyn));
  EXPECT_TRUE(first.opened);
  EXPECT_EQ(first.flow->record.key.client.text(), "198.51.100.7:443");
  const auto second = bench.out(tcp(50000, 443, 1, kSyn | kAck));
  EXPECT_FALSE(second.opened);
  EXPECT_EQ(second.flow->serial, first.flow->serial);
  EXPECT_EQ(second.direction, Direction::incoming);
  EXPECT_EQ(bench.counters().flows, 1u);
}

TEST(flows, a_syn_ack_or_a_reserved_port_tells_the_server_where_no_syn_was_seen) {
  Bench bench;
  EXPECT_EQ(bench.in(tcp(8443, 50000, 1, kSyn | kAck)).flow->record.key.server.port, 8443);
  EXPECT_EQ(bench.in(tcp(443, 50001, 1, kAck, "x")).flow->record.key.server.port, 443);
  EXPECT_EQ(
      bench.in(udp(53, 50001, dns_a("a.example", "203.0.113.9")), 17).flow->record.key.server.port,
      53);
}

TEST(flows, a_hello_over_segments_in_any_order_is_named_when_it_is_whole) {
  Bench bench;
  bench.out(tcp(50000, 443, 99, kSyn));
  const std::size_t half = kStream.size() / 2;
  EXPECT_FALSE(bench.out(tcp(50000, 443, 100 + half, kAck, kStream.substr(half))).named_now);
  EXPECT_FALSE(bench.out(tcp(50000, 443, 100 + half, kAck, kStream.substr(half))).named_now);
  const auto seen = bench.out(tcp(50000, 443, 100, kAck, kStream.substr(0, half + 7)));
  EXPECT_TRUE(seen.named_now);
  EXPECT_EQ(seen.payload, half);
  EXPECT_EQ(seen.flow->record.protocol, "tls");
  EXPECT_EQ(seen.flow->record.server_name, "files.example");
  EXPECT_EQ(seen.flow->record.alpn, "h2");
  EXPECT_EQ(seen.flow->record.ja4.size(), 36u);
  EXPECT_EQ(seen.flow->record.bytes_out, kStream.size());
  EXPECT_FALSE(bench.out(tcp(50000, 443, 100 + kStream.size(), kAck, "more")).named_now);
}

TEST(flows, a_hello_one_byte_a_segment_is_named) {
  Bench bench;
  bench.out(tcp(50000, 443, 99, kSyn));
  Observation seen;
  for (std::uint32_t i = 0; i < kStream.size(); ++i) {
    EXPECT_FALSE(seen.named_now);
    seen = bench.out(tcp(50000, 443, 100 + i, kAck, kStream.substr(i, 1)));
  }
  EXPECT_TRUE(seen.named_now);
  EXPECT_EQ(seen.flow->record.server_name, "files.example");
}

TEST(flows, a_stream_that_ends_before_its_hello_does_tells_what_came) {
  Bench bench;
  bench.out(tcp(50000, 443, 99, kSyn));
  bench.out(tcp(50000, 443, 100, kAck, kStream.substr(0, 200)));
  const auto seen = bench.out(tcp(50000, 443, 300, kRst));
  EXPECT_TRUE(seen.closed);
  EXPECT_TRUE(seen.named_now);
  EXPECT_EQ(seen.flow->record.server_name, "files.example");
  EXPECT_EQ(bench.damage(Damage::truncated), 1u);
}

TEST(flows, bytes_are_payload_by_sequence_for_tcp_and_whole_packets_for_the_rest) {
  Bench bench;
  for (int i = 0; i < 3; ++i) bench.out(tcp(50000, 80, 1, kAck, "0123456789"));
  const auto seen = bench.in(tcp(80, 50000, 1, kAck, "answer"));
  EXPECT_EQ(seen.flow->record.bytes_out, 10u);
  EXPECT_EQ(seen.flow->record.bytes_in, 6u);
  const auto datagram = bench.out(udp(50000, 9999, "0123456789"), 17);
  EXPECT_EQ(datagram.flow->record.bytes_out, 20u + 8 + 10);
  EXPECT_EQ(datagram.payload, 10u);
}

TEST(flows, http_host_and_method_are_told) {
  Bench bench;
  const auto seen =
      bench.out(tcp(50000, 80, 1, kAck, "POST /up HTTP/1.1\r\nHost: Up.example\r\n\r\nbody"));
  EXPECT_TRUE(seen.named_now);
  EXPECT_EQ(seen.flow->record.protocol, "http");
  EXPECT_EQ(seen.flow->http_method, "POST");
  EXPECT_EQ(seen.flow->http_host, "up.example");
  EXPECT_EQ(seen.flow->record.server_name, "up.example");
}

TEST(flows, a_stream_of_nothing_known_is_settled_as_tcp_after_a_few_bytes) {
  Bench bench;
  const auto seen = bench.out(tcp(50000, 9000, 1, kAck, Buffer(40, '\x99')));
  EXPECT_TRUE(seen.named_now);
  EXPECT_TRUE(seen.flow->named);
  EXPECT_EQ(seen.flow->record.protocol, "tcp");
}

TEST(flows, every_dns_message_of_a_datagram_flow_is_told) {
  Bench bench;
  for (int i = 0; i < 5; ++i) {
    const auto seen =
        bench.out(udp(50000, 53, dns_query("q" + std::to_string(i) + ".example")), 17);
    ASSERT_EQ(seen.dns_count, 1u);
    EXPECT_EQ(seen.dns->questions[0].name, "q" + std::to_string(i) + ".example");
    EXPECT_EQ(seen.named_now, i == 0);
    EXPECT_EQ(seen.flow->record.protocol, "dns");
  }
}

TEST(flows, dns_on_another_port_is_known_by_a_plain_question) {
  Bench bench;
  const auto seen = bench.out(udp(50000, 5300, dns_query("data.example")), 17);
  EXPECT_EQ(seen.flow->record.protocol, "dns");
  EXPECT_EQ(seen.dns_count, 1u);
  EXPECT_EQ(bench.in(udp(5300, 50000, dns_a("data.example", "203.0.113.9")), 17).dns_count, 1u);
}

TEST(flows, what_is_no_dns_on_port_53_is_counted_and_stays_udp) {
  Bench bench;
  const auto seen = bench.out(udp(50000, 53, "\x10\xd1\x9e\x20raw tunnel \xff\xff\xff"), 17);
  EXPECT_EQ(seen.dns, nullptr);
  EXPECT_EQ(seen.flow->record.protocol, "udp");
  EXPECT_EQ(bench.out(udp(50000, 53, dns_query("late.example")), 17).dns_count, 1u);
}

TEST(flows, dns_over_tcp_is_read_over_segments_and_several_in_one) {
  Bench bench;
  Buffer stream;
  for (const char* name : {"a.example", "b.example", "c.example"})
    stream += framed(dns_query(name));
  bench.out(tcp(50000, 53, 0, kSyn));
  auto seen = bench.out(tcp(50000, 53, 1, kAck, stream.substr(0, 1)));
  EXPECT_EQ(seen.dns_count, 0u);
  seen = bench.out(tcp(50000, 53, 2, kAck, stream.substr(1)));
  ASSERT_EQ(seen.dns_count, 3u);
  EXPECT_EQ(seen.dns[2].questions[0].name, "c.example");
  EXPECT_EQ(seen.flow->record.protocol, "dns");
  // Far beyond the first bytes, and the other way too.
  auto at = static_cast<std::uint32_t>(1 + stream.size());
  std::size_t told = 0;
  for (int i = 0; i < 1000; ++i, at += static_cast<std::uint32_t>(stream.size()))
    told += bench.out(tcp(50000, 53, at, kAck, stream)).dns_count;
  EXPECT_EQ(told, 3000u);
  EXPECT_EQ(bench.in(tcp(53, 50000, 5, kAck, framed(dns_a("a.example", "203.0.113.9")))).dns_count,
            1u);
  EXPECT_EQ(bench.flows.names_of(*IpAddress::parse("192.0.2.1"), *IpAddress::parse("203.0.113.9")),
            std::vector<std::string>{"a.example"});
}

TEST(flows, a_lost_segment_stops_dns_over_tcp_only_until_the_buffer_is_full) {
  Bench bench;
  const Buffer message = framed(dns_query("a.example"));
  const auto size = static_cast<std::uint32_t>(message.size());
  bench.out(tcp(50000, 53, 0, kSyn));
  EXPECT_EQ(bench.out(tcp(50000, 53, 1, kAck, message)).dns_count, 1u);
  std::uint32_t at = 1 + 2 * size;  // one is missing
  std::size_t told = 0;
  for (std::uint32_t sent = 0; sent < 3 * 65536; sent += size, at += size)
    told += bench.out(tcp(50000, 53, at, kAck, message)).dns_count;
  EXPECT_GT(told, 3 * 65536 / size / 2);
}

TEST(flows, carry_the_newest_name_that_their_client_resolved) {
  Bench bench;
  bench.in(udp(53, 40000, dns_a("old.example", "198.51.100.99")), 17);
  bench.in(udp(53, 40000, dns_a("files.example", "198.51.100.99")), 17);
  const auto seen =
      bench.packet(Ipv4{.destination = "198.51.100.99", .protocol = 6}(tcp(50000, 443, 1, kSyn)));
  EXPECT_EQ(seen.flow->resolved_name, "files.example");
  const auto other =
      bench.packet(Ipv4{.source = "192.0.2.77", .destination = "198.51.100.99", .protocol = 6}(
          tcp(50000, 443, 1, kSyn)));
  EXPECT_EQ(other.flow->resolved_name, "");
  EXPECT_EQ(bench.flows.names_of({}, *IpAddress::parse("198.51.100.99")),
            (std::vector<std::string>{"files.example", "old.example"}));
}

TEST(flows, a_question_does_not_name_an_address) {
  Bench bench;
  Buffer forged = dns_a("evil.example", "198.51.100.99");
  forged[2] = 1;  // not a response
  bench.out(udp(40000, 53, forged), 17);
  EXPECT_TRUE(bench.flows.names_of({}, *IpAddress::parse("198.51.100.99")).empty());
}

TEST(flows, close_by_fin_both_ways_or_reset_and_are_ended_a_little_later) {
  Bench bench;
  bench.out(tcp(50000, 9000, 1, kSyn));
  EXPECT_FALSE(bench.out(tcp(50000, 9000, 2, kFin | kAck)).closed);
  EXPECT_TRUE(bench.in(tcp(9000, 50000, 2, kFin | kAck)).closed);
  EXPECT_FALSE(bench.out(tcp(50000, 9000, 3, kAck)).closed);
  EXPECT_EQ(bench.counters().flows, 1u);
  EXPECT_TRUE(bench.ended.empty());
  bench.now += 11 * kSecond;
  bench.flows.expire({bench.now, bench.now});
  EXPECT_EQ(bench.ended.size(), 1u);
}

TEST(flows, a_new_syn_on_the_ports_of_an_old_flow_opens_another) {
  Bench bench;
  bench.out(tcp(50000, 443, 1, kSyn));
  EXPECT_FALSE(bench.out(tcp(50000, 443, 1, kSyn)).opened);  // sent again
  bench.out(tcp(50000, 443, 2, kAck, "payload"));
  EXPECT_TRUE(bench.out(tcp(50000, 443, 777, kSyn)).opened);
  EXPECT_EQ(bench.ended.size(), 1u);
  EXPECT_EQ(bench.counters().flows, 2u);
}

TEST(flows, end_when_idle_tcp_after_300_s_udp_after_60) {
  Bench bench;
  bench.out(tcp(50000, 9000, 1, kSyn));
  bench.out(udp(50000, 9000, "x"), 17);
  const auto after = [&](std::int64_t seconds) {
    bench.now += seconds * kSecond;
    bench.flows.expire({bench.now, bench.now});
    return bench.ended.size();
  };
  EXPECT_EQ(after(60), 0u);
  EXPECT_EQ(after(1), 1u);
  EXPECT_EQ(after(239), 1u);
  EXPECT_EQ(after(1), 2u);
}

TEST(flows, finish_ends_them_in_the_order_in_which_they_were_opened) {
  Bench bench;
  for (unsigned port : {3003u, 3001u, 3002u}) bench.out(udp(port, 9000, "x"), 17);
  bench.out(udp(3003, 9000, "x"), 17);
  bench.flows.finish();
  ASSERT_EQ(bench.ended.size(), 3u);
  EXPECT_EQ(bench.ended[0].record.key.client.port, 3003);
  EXPECT_EQ(bench.ended[1].record.key.client.port, 3001);
  EXPECT_EQ(bench.ended[2].record.key.client.port, 3002);
}

TEST(flows, the_table_is_bounded_and_gives_up_the_idlest) {
  std::uint64_t ended = 0, last = 0;
  Flows flows([&](const Flow& flow) { ++ended, last = flow.serial; });
  Buffer syn;
  for (std::uint32_t i = 0; i < 131072 + 5; ++i) {
    syn = Ipv4{.protocol = 6}(tcp(1 + i % 65535, 1000 + i / 65535, 1, kSyn));
    flows.on(Packet{LinkType::raw_ip, Direction::unknown, bytes_of(syn), 40, {}}, {i, i});
  }
  EXPECT_EQ(ended, 5u);
  EXPECT_EQ(last, 5u);
  EXPECT_EQ(flows.counters().flows_dropped, 5u);
}

TEST(flows, first_bytes_that_never_complete_are_bounded_in_all) {
  Flows flows([](const Flow&) {});
  Buffer packet;
  const Buffer part =
      u8(22) + u16(0x0301) + u16(16000) + u8(1) + u8(0) + u16(15000) + Buffer(1300, 'x');
  for (std::uint32_t i = 0; i < 40000; ++i)
    for (std::uint32_t k = 0; k < 2; ++k) {
      packet = Ipv4{.protocol = 6}(
          tcp(1 + i, 443, k * static_cast<std::uint32_t>(part.size()), kAck, part));
      flows.on(Packet{LinkType::raw_ip,
                      Direction::unknown,
                      bytes_of(packet),
                      static_cast<std::uint32_t>(packet.size()),
                      {}},
               {i, i});
    }
  // 40000 flows x 2.6 kB are 104 MB; 32 MiB may be held, the rest was given up.
  EXPECT_GT(flows.counters().reassembly_dropped, 60u << 20);
}

TEST(flows, damage_is_counted_by_kind_and_opens_no_flow) {
  Bench bench;
  EXPECT_EQ(bench.packet("").flow, nullptr);
  EXPECT_EQ(bench.packet("\x99").flow, nullptr);
  EXPECT_EQ(bench.out("short").flow, nullptr);
  EXPECT_EQ(bench.packet(Ipv4{.protocol = 1}(u8(3) + u8(1) + Buffer(30, '\0'))).flow, nullptr);
  EXPECT_EQ(bench.damage(Damage::truncated), 2u);
  EXPECT_EQ(bench.damage(Damage::bad_version), 1u);
  EXPECT_EQ(bench.counters().flows, 0u);
  EXPECT_EQ(bench.counters().packets, 4u);
}

TEST(flows, what_has_no_ports_is_one_flow_between_two_addresses) {
  Bench bench;
  EXPECT_EQ(bench.out(u8(8) + u8(0) + Buffer(10, 'x'), 1).flow->record.protocol, "icmp");
  const auto back = bench.in(u8(0) + u8(0) + Buffer(10, 'x'), 1);
  EXPECT_EQ(back.direction, Direction::incoming);
  EXPECT_EQ(back.flow->record.bytes_in, 32u);
  EXPECT_EQ(bench.out("tunnel", 47).flow->record.protocol, "gre");
  EXPECT_EQ(bench.counters().flows, 2u);
}

TEST(flows, fragments_reach_their_flow_with_what_they_cost) {
  Bench bench;
  const Buffer datagram = udp(50000, 53, dns_query("fragmented.example"));
  EXPECT_EQ(bench.packet(Ipv4{.fragment = 0x2000}(datagram.substr(0, 16))).flow, nullptr);
  const auto seen = bench.packet(Ipv4{.fragment = 2}(datagram.substr(16)));
  ASSERT_EQ(seen.dns_count, 1u);
  EXPECT_EQ(seen.flow->record.bytes_out, datagram.size() + 40);
}

// ---- live: sockets and their ledger -------------------------------------------------------------

FlowUsage usage(std::uint64_t cookie, std::uint64_t out, std::uint64_t in, bool closed = false) {
  FlowUsage record;
  record.socket.cookie = cookie;
  record.flow = {{*IpAddress::parse("192.0.2.1"), 50000},
                 {*IpAddress::parse("198.51.100.7"), 443},
                 Transport::tcp};
  record.bytes_out = out;
  record.bytes_in = in;
  record.closed = closed;
  return record;
}

TEST(ledger, a_record_opens_its_flow_and_totals_replace_packets) {
  Bench bench;
  auto seen = bench.flows.on(usage(5, 100, 10), {bench.now, bench.now});
  EXPECT_TRUE(seen.opened);
  EXPECT_TRUE(seen.flow->has_ledger);
  EXPECT_EQ(seen.direction, Direction::outgoing);
  bench.socket.cookie = 5;
  bench.direction = Direction::outgoing;
  seen = bench.out(tcp(50000, 443, 1, kAck, tls_records(client_hello(server_name("a.example")))));
  EXPECT_FALSE(seen.opened);
  EXPECT_TRUE(seen.named_now);
  EXPECT_GT(seen.payload, 0u);
  EXPECT_EQ(seen.flow->record.bytes_out, 100u);
  seen = bench.flows.on(usage(5, 70000, 10), {bench.now, bench.now});
  EXPECT_EQ(seen.flow->record.bytes_out, 70000u);
  EXPECT_EQ(seen.flow->record.bytes_in, 10u);
  EXPECT_FALSE(seen.closed);
  seen = bench.flows.on(usage(5, 70001, 10, true), {bench.now, bench.now});
  EXPECT_TRUE(seen.closed);
  EXPECT_FALSE(bench.flows.on(usage(5, 70001, 10, true), {bench.now, bench.now}).closed);
}

TEST(ledger, the_local_end_is_the_client_whoever_opened_the_connection) {
  Bench bench;
  bench.socket.cookie = 6;
  bench.direction = Direction::incoming;
  const auto seen = bench.in(tcp(50000, 22, 1, kSyn));
  EXPECT_EQ(seen.flow->record.key.client.text(), "192.0.2.1:22");
  EXPECT_EQ(seen.direction, Direction::incoming);
}

TEST(ledger, a_flow_that_was_idle_and_comes_back_does_not_count_its_totals_twice) {
  Bench bench;
  FlowUsage record = usage(5, 1000, 0);
  record.flow.transport = Transport::udp;
  bench.flows.on(record, {0, 0});
  bench.flows.expire({0, 400 * kSecond});
  ASSERT_EQ(bench.ended.size(), 1u);
  EXPECT_EQ(bench.ended[0].record.bytes_out, 1000u);
  record.bytes_out = 1500;
  EXPECT_EQ(bench.flows.on(record, {0, 401 * kSecond}).flow->record.bytes_out, 500u);
}

TEST(ledger, a_stream_is_never_idle_for_too_long_and_ends_by_its_ledger) {
  Bench bench;
  bench.flows.on(usage(5, 1000, 0), {0, 0});
  bench.flows.expire({0, 100'000 * kSecond});
  EXPECT_TRUE(bench.ended.empty());
  bench.flows.on(usage(5, 1000, 0, true), {0, 100'000 * kSecond});
  bench.flows.expire({0, 100'011 * kSecond});
  EXPECT_EQ(bench.ended.size(), 1u);
}

TEST(ledger, one_socket_to_two_places_splits_its_totals) {
  Bench bench;
  FlowUsage first = usage(7, 300, 0), second = usage(7, 450, 0);
  first.flow.transport = second.flow.transport = Transport::udp;
  second.flow.server.port = 444;
  bench.flows.on(first, {0, 0});
  EXPECT_EQ(bench.flows.on(second, {1, 1}).flow->record.bytes_out, 150u);
}

TEST(ledger, sockets_with_equal_addresses_are_flows_of_their_own) {
  Bench bench;
  bench.flows.on(usage(5, 1, 0), {0, 0});
  EXPECT_TRUE(bench.flows.on(usage(6, 1, 0), {0, 0}).opened);
}

TEST(ledger, names_learnt_by_any_socket_of_this_host_count_for_all) {
  Bench bench;
  bench.socket.cookie = 8;
  bench.direction = Direction::incoming;
  bench.packet(Ipv4{.source = "127.0.0.53", .destination = "127.0.0.1"}(
      udp(53, 40000, dns_a("files.example", "198.51.100.7"))));
  EXPECT_EQ(bench.flows.on(usage(9, 1, 0), {bench.now, bench.now}).flow->resolved_name,
            "files.example");
}

}  // namespace
}  // namespace weir
