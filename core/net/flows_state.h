// The state behind Flows, shared by flows.cpp (packets and the table) and opening.cpp (first
// bytes). Include it nowhere else.
#pragma once

#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/net/flow_table.h"
#include "core/net/flows.h"
#include "core/net/ip.h"
#include "core/net/names.h"
#include "core/net/protocol.h"
#include "core/net/tcp.h"

namespace weir {

inline constexpr std::size_t kMaxFlows =
    131072;  // 64 MiB at 512 bytes each; a desk has some hundred

struct Ledger {
  std::uint64_t out = 0, in = 0;
};

struct Flows::State {
  Ended ended;
  NetCounters counters;
  FlowTable table;
  Fragments fragments;
  AddressNames names;
  Reused<DnsMessage> dns;                                        // of the packet at hand
  std::unordered_map<std::uint64_t, Ledger> ledgers;             // by cookie: totals told so far
  std::deque<std::uint64_t> ledger_ages;                         // the same cookies, oldest first
  std::deque<std::pair<std::uint32_t, std::uint64_t>> openings;  // slot, serial: oldest first
  std::size_t opening_bytes = 0;
  std::uint64_t serials = 0;
  std::int64_t now_ns = 0;
  std::int64_t next_expiry_ns = 0;  // packets look for idle flows once a second of their time

  // One packet on its way.
  struct Step {
    const Packet& packet;
    const Stamp& at;
    IpPacket ip;
    Observation seen;
  };

  void damaged(Damage kind) { ++counters.malformed[static_cast<std::size_t>(kind)]; }
  void end(std::uint32_t slot);
  void make_room();
  void expire(std::int64_t now);
  void pass(std::int64_t now);
  std::uint32_t find_or_open(Step& step, const Endpoint& from, const Endpoint& to, Transport t,
                             bool from_client, Idleness idleness);
  std::uint32_t open(const FlowKey& key, const SocketRef& socket, const Stamp& at, Idleness idle);
  void count(FlowEntry& entry, Step& step, std::uint32_t payload, std::uint64_t bytes);
  void on_packet(Step& step);
  void on_tcp(Step& step);
  void on_udp(Step& step);
  void on_other(Step& step);
  Ledger growth(const FlowUsage& usage);
  Observation on_usage(const FlowUsage& usage, const Stamp& at);
  void first_bytes(std::uint32_t slot, std::size_t side, const TcpSegment& segment, Step& step);
  void keep(Opening& opening, std::size_t side, const TcpSegment& segment);
  void tell(FlowEntry& entry, Spoken spoken, Step& step);
  void settle(FlowEntry& entry, Spoken spoken);
  void drop_opening(FlowEntry& entry);
  void bound_openings(std::uint32_t current);
  void framed_dns(FlowEntry& entry, std::size_t side, const TcpSegment& segment, Step& step);
  bool datagram_dns(FlowEntry& entry, const UdpDatagram& datagram, Step& step);
  void learn(const FlowEntry& entry);
};

}  // namespace weir
