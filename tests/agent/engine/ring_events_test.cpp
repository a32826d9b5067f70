// Ring records become events; what does not hold together is counted and dropped.
#include "agent/engine/ring_events.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace weir {
namespace {

template <class T>
std::vector<std::uint8_t> bytes_of_record(T record, std::uint32_t kind, std::size_t extra = 0) {
  auto* head = reinterpret_cast<weir_record*>(&record);
  head->kind = kind;
  head->size = static_cast<std::uint32_t>(sizeof record + extra);
  std::vector<std::uint8_t> bytes(sizeof record + extra, 0xab);
  std::memcpy(bytes.data(), &record, sizeof record);
  return bytes;
}

TEST(ring_events, a_head_becomes_a_packet_of_its_socket) {
  weir_head head{};
  head.record.cookie = 9;
  head.record.tree = 77;
  head.record.person = 1000;
  head.record.boot_ns = 5;
  head.captured = 40;
  head.wire_length = 1500;
  RingDamage damage;
  std::vector<std::uint8_t> bytes = bytes_of_record(head, WEIR_REC_HEAD, 40);
  std::optional<Event> event = event_of(bytes, 100, damage);
  ASSERT_TRUE(event);
  const auto& packet = std::get<Packet>(event->body);
  EXPECT_EQ(packet.bytes.size(), 40u);
  EXPECT_EQ(packet.wire_length, 1500u);
  EXPECT_EQ(packet.direction, Direction::outgoing);
  EXPECT_EQ(packet.socket.cookie, 9u);
  EXPECT_EQ(packet.socket.tree, 77u);
  EXPECT_EQ(event->at.boot_ns, 5);
  EXPECT_EQ(event->at.wall_ns, 105);
}

TEST(ring_events, a_head_that_claims_more_than_it_carries_is_counted) {
  weir_head head{};
  head.captured = 41;
  RingDamage damage;
  EXPECT_FALSE(event_of(bytes_of_record(head, WEIR_REC_HEAD, 40), 0, damage));
  head.captured = 0xffffffff;
  EXPECT_FALSE(event_of(bytes_of_record(head, WEIR_REC_HEAD, 40), 0, damage));
  EXPECT_EQ(damage.malformed, 2u);
}

TEST(ring_events, a_ledger_record_becomes_the_usage_of_a_flow) {
  weir_usage usage{};
  usage.tuple.protocol = 6;
  usage.tuple.remote_port = 443;
  usage.tuple.remote[15] = 1;
  usage.bytes_out = 262144;
  usage.closed = 1;
  RingDamage damage;
  std::optional<Event> event = event_of(bytes_of_record(usage, WEIR_REC_USAGE), 0, damage);
  ASSERT_TRUE(event);
  const auto& flow = std::get<FlowUsage>(event->body);
  EXPECT_EQ(flow.flow.server.port, 443u);
  EXPECT_EQ(flow.flow.transport, Transport::tcp);
  EXPECT_EQ(flow.bytes_out, 262144u);
  EXPECT_TRUE(flow.closed);
}

TEST(ring_events, a_program_name_that_fills_its_field_is_taken_whole_and_no_further) {
  weir_exec exec{};
  std::memset(exec.program, 'x', sizeof exec.program);
  RingDamage damage;
  std::vector<std::uint8_t> bytes = bytes_of_record(exec, WEIR_REC_EXEC);
  std::optional<Event> event = event_of(bytes, 0, damage);
  ASSERT_TRUE(event);
  EXPECT_EQ(std::get<ProcessStarted>(event->body).program.size(), sizeof exec.program);
}

TEST(ring_events, every_cut_of_every_record_is_counted_and_none_is_read_past) {
  RingDamage damage;
  std::uint64_t given = 0;
  for (std::uint32_t kind : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 99u}) {
    std::vector<std::uint8_t> bytes = bytes_of_record(weir_exec{}, kind);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      std::vector<std::uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<long>(length));
      EXPECT_FALSE(event_of(cut, 0, damage));
      ++given;
    }
  }
  EXPECT_EQ(damage.malformed, given);
}

TEST(ring_events, sudo_under_a_login_is_a_session_event_of_that_person) {
  weir_exec exec{};
  exec.record.person = 1000;
  std::string("/usr/bin/sudo").copy(exec.program, sizeof exec.program);
  Event started = event_of(exec, 0);
  std::optional<Event> session = session_of(started);
  ASSERT_TRUE(session);
  EXPECT_EQ(std::get<Session>(session->body).kind, Session::Kind::sudo);
  EXPECT_EQ(std::get<Session>(session->body).person, 1000u);
  std::string("/usr/bin/sudoku").copy(exec.program, sizeof exec.program);
  EXPECT_FALSE(session_of(event_of(exec, 0)));
}

}  // namespace
}  // namespace weir
