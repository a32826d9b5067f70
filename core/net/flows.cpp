// The way of a packet through core/net: link, IP, transport, its flow, what the flow speaks.
#include "core/net/flows.h"

#include <algorithm>
#include <utility>

#include "core/net/flows_state.h"
#include "core/net/link.h"

namespace weir {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kStreamIdle = 300 * kSecond;
constexpr std::int64_t kDatagramIdle = 60 * kSecond;
constexpr std::int64_t kClosedLinger = 10 * kSecond;  // last ACKs and late segments still find it
constexpr std::uint8_t kMaxDatagrams = 4;             // of a flow that are looked at
constexpr std::uint8_t kTcp = 6, kUdp = 17, kIcmp = 1, kIcmpv6 = 58;

}  // namespace

// ---- the table's bounds ---------------------------------------------------------------------

void Flows::State::end(std::uint32_t slot) {
  FlowEntry& entry = table[slot];
  if (entry.opening) {
    const auto view = [&](std::size_t side) {
      const auto& stream = entry.opening->streams[side];
      return stream ? stream->bytes() : Bytes{};
    };
    if (!entry.flow.named)
      if (auto spoken = spoken_over_tcp(view(0), view(1), true)) settle(entry, std::move(*spoken));
    drop_opening(entry);
  }
  ended(std::move(entry.flow));
  table.remove(slot);
}

void Flows::State::make_room() {
  if (table.size() < kMaxFlows) return;
  std::uint32_t slot = table.oldest(Idleness::closed);
  if (slot == FlowTable::kNone) {  // the idlest, whatever it is
    for (const Idleness idleness : {Idleness::datagram, Idleness::stream, Idleness::held}) {
      const std::uint32_t one = table.oldest(idleness);
      if (one != FlowTable::kNone && (slot == FlowTable::kNone ||
                                      table[one].flow.last.boot_ns < table[slot].flow.last.boot_ns))
        slot = one;
    }
    ++counters.flows_dropped;
  }
  end(slot);
}

void Flows::State::expire(std::int64_t now) {
  now_ns = std::max(now_ns, now);
  next_expiry_ns = now_ns + kSecond;
  const auto until_fresh = [&](Idleness idleness, std::int64_t limit) {
    for (auto slot = table.oldest(idleness); slot != FlowTable::kNone;
         slot = table.oldest(idleness)) {
      if (now_ns - table[slot].flow.last.boot_ns <= limit) return;
      end(slot);
    }
  };
  until_fresh(Idleness::closed, kClosedLinger);
  until_fresh(Idleness::datagram, kDatagramIdle);
  until_fresh(Idleness::stream, kStreamIdle);
}

void Flows::State::pass(std::int64_t now) {
  if (now >= next_expiry_ns) expire(now);
  now_ns = std::max(now_ns, now);
}

std::uint32_t Flows::State::open(const FlowKey& key, const SocketRef& socket, const Stamp& at,
                                 Idleness idleness) {
  make_room();
  const std::uint32_t slot = table.insert(key, socket.cookie, idleness);
  Flow& flow = table[slot].flow;
  flow.socket = socket;
  flow.has_ledger = socket.cookie != 0;
  flow.serial = ++serials;
  flow.first = flow.last = at;
  flow.record.first_seen_ns = flow.record.last_seen_ns = at.wall_ns;
  flow.resolved_name =
      names.newest(flow.has_ledger ? IpAddress{} : key.client.address, key.server.address, now_ns);
  ++counters.flows;
  return slot;
}

std::uint32_t Flows::State::find_or_open(Step& step, const Endpoint& from, const Endpoint& to,
                                         Transport t, bool from_client, Idleness idleness) {
  const SocketRef& socket = step.packet.socket;
  std::uint32_t slot = table.find(from, to, t, socket.cookie);
  if (slot == FlowTable::kNone) {
    if (socket.cookie != 0 && step.packet.direction != Direction::unknown)
      from_client = step.packet.direction == Direction::outgoing;  // live: the client is this host
    slot =
        open(from_client ? FlowKey{from, to, t} : FlowKey{to, from, t}, socket, step.at, idleness);
    step.seen.opened = true;
  } else {
    table.touch(slot, table[slot].idleness == Idleness::closed ? Idleness::closed : idleness);
  }
  Flow& flow = table[slot].flow;
  flow.last = step.at;
  flow.record.last_seen_ns = std::max(flow.record.last_seen_ns, step.at.wall_ns);
  flow.record.first_seen_ns = std::min(flow.record.first_seen_ns, step.at.wall_ns);
  step.seen.flow = &flow;
  step.seen.direction = flow.record.key.client == from ? Direction::outgoing : Direction::incoming;
  step.seen.via = step.packet.via;
  (step.seen.direction == Direction::outgoing ? flow.out : flow.in).see(step.packet.via);
  return slot;
}

void Flows::State::count(FlowEntry& entry, Step& step, std::uint32_t payload, std::uint64_t bytes) {
  step.seen.payload = payload;
  if (entry.flow.has_ledger) return;
  const bool out = step.seen.direction == Direction::outgoing;
  (out ? entry.flow.record.bytes_out : entry.flow.record.bytes_in) += bytes;
}

// ---- TCP --------------------------------------------------------------------------------------

void Flows::State::on_tcp(Step& step) {
  const auto parsed = parse_tcp(step.ip.payload, step.ip.payload_length);
  if (!parsed) return damaged(parsed.error());
  const TcpSegment& segment = *parsed;
  const Endpoint from{step.ip.source, segment.source}, to{step.ip.destination, segment.destination};
  const bool asks = segment.syn && !segment.ack, agrees = segment.syn && segment.ack;
  const std::uint64_t cookie = step.packet.socket.cookie;

  if (asks && cookie == 0) {  // a new connection on the ports of an old one
    if (const auto old = table.find(from, to, Transport::tcp, 0); old != FlowTable::kNone) {
      const FlowEntry& entry = table[old];
      const std::size_t side = entry.flow.record.key.client == from ? 0 : 1;
      const bool again = entry.syn[side] && entry.sent[side].next() == segment.sequence;
      const bool at_once = side == 1 && entry.syn[0] && !entry.syn[1];  // both ends ask
      if (!again && !at_once) end(old);
    }
  }
  // Without a handshake the end with a reserved port is taken for the server.
  const bool answered = !segment.syn && from.port < 1024 && to.port >= 1024;
  const auto slot =
      find_or_open(step, from, to, Transport::tcp, asks || !(agrees || answered), Idleness::stream);
  FlowEntry& entry = table[slot];
  const std::size_t side = step.seen.direction == Direction::outgoing ? 0 : 1;
  if (step.seen.opened) {
    entry.flow.record.protocol = "tcp";
    entry.opening = std::make_unique<Opening>();
  }
  if (segment.syn && !entry.sent[side].started()) {
    entry.syn[side] = true;
    entry.sent[side].start(segment.sequence);
    if (entry.opening) {
      entry.opening->base[side] = segment.sequence;
      entry.opening->based[side] = true;
    }
  }
  if (segment.payload_length > 0) {
    const auto fresh = entry.sent[side].add(segment.sequence, segment.payload_length);
    count(entry, step, fresh, fresh);
    if (entry.opening && !segment.payload.empty()) first_bytes(slot, side, segment, step);
  }
  if (segment.fin) entry.fin[side] = true;
  const bool closes = segment.rst || (entry.fin[0] && entry.fin[1]);
  if (closes && entry.idleness != Idleness::closed) {
    step.seen.closed = true;
    if (entry.opening && !entry.flow.named) {
      const auto& streams = entry.opening->streams;
      const auto view = [&](std::size_t s) { return streams[s] ? streams[s]->bytes() : Bytes{}; };
      tell(entry, *spoken_over_tcp(view(0), view(1), true), step);
    }
    drop_opening(entry);
    table.touch(slot, Idleness::closed);
  }
}

// ---- datagrams ----------------------------------------------------------------------------------

void Flows::State::on_udp(Step& step) {
  const auto parsed = parse_udp(step.ip.payload, step.ip.payload_length);
  if (!parsed) return damaged(parsed.error());
  const UdpDatagram& datagram = *parsed;
  const Endpoint from{step.ip.source, datagram.source},
      to{step.ip.destination, datagram.destination};
  const bool answers = from.port < 1024 && to.port >= 1024;
  const auto slot = find_or_open(step, from, to, Transport::udp, !answers, Idleness::datagram);
  FlowEntry& entry = table[slot];
  if (step.seen.opened) entry.flow.record.protocol = "udp";
  count(entry, step, datagram.payload_length, step.ip.length);
  if (datagram.payload.empty()) return;

  const bool dns_port = from.port == 53 || to.port == 53;
  if (entry.dns || (dns_port && (!entry.flow.named || entry.flow.record.protocol == "udp"))) {
    if (datagram_dns(entry, datagram, step) && !entry.dns) {
      entry.dns = true;
      tell(entry, Spoken{.protocol = "dns"}, step);
    }
    if (entry.dns) return;
  }
  if (entry.flow.named) return;
  const FlowKey& key = entry.flow.record.key;
  std::string_view protocol = spoken_over_udp(datagram.payload, key.client.port, key.server.port);
  if (protocol == "dns") {
    entry.dns = true;
    (void)datagram_dns(entry, datagram, step);
  }
  if (!protocol.empty() || ++entry.datagrams == kMaxDatagrams)
    tell(entry, Spoken{.protocol = protocol}, step);
}

// What has no ports is one flow between two addresses.
void Flows::State::on_other(Step& step) {
  const bool icmp = step.ip.protocol == kIcmp || step.ip.protocol == kIcmpv6;
  const Bytes payload = step.ip.payload;
  bool from_client = true;
  if (icmp) {
    if (payload.empty()) return damaged(Damage::truncated);
    const bool v4 = step.ip.protocol == kIcmp;
    const bool asks = payload[0] == (v4 ? 8 : 128), answers = payload[0] == (v4 ? 0 : 129);
    if (!asks && !answers) return;  // errors and neighbour discovery belong to no flow
    from_client = asks;
  }
  const auto slot =
      find_or_open(step, {step.ip.source, 0}, {step.ip.destination, 0},
                   icmp ? Transport::icmp : Transport::other, from_client, Idleness::datagram);
  FlowEntry& entry = table[slot];
  if (step.seen.opened) {
    entry.flow.record.protocol = icmp ? "icmp" : protocol_of_number(step.ip.protocol);
    entry.flow.named = step.seen.named_now = true;
  }
  count(entry, step, step.ip.payload_length, step.ip.length);
}

// ---- the doors
// ------------------------------------------------------------------------------------

void Flows::State::on_packet(Step& step) {
  const Packet& packet = step.packet;
  const auto here = static_cast<std::uint32_t>(packet.bytes.size());
  const std::uint32_t wire = std::max(packet.wire_length, here);
  ++counters.packets;
  counters.bytes += wire;
  const auto frame = ip_in_frame(packet.link, packet.bytes);
  if (!frame) return damaged(frame.error());
  auto ip = parse_ip(*frame, wire - (here - static_cast<std::uint32_t>(frame->size())));
  if (!ip) return damaged(ip.error());
  if (ip->fragment) {
    const auto whole = fragments.add(*ip, step.at.boot_ns);
    counters.fragments_dropped = fragments.dropped();
    if (!whole) return;
    step.ip = *whole;
  } else {
    // The kernel part passes heads on purpose; in a capture a cut packet is damage, though its
    // lengths still count.
    if (ip->cut && packet.socket.cookie == 0) damaged(Damage::truncated);
    step.ip = *ip;
  }
  if (step.ip.protocol == kTcp) return on_tcp(step);
  if (step.ip.protocol == kUdp) return on_udp(step);
  on_other(step);
}

// What the socket's totals grew by since they were last told.
Ledger Flows::State::growth(const FlowUsage& usage) {
  const std::uint64_t cookie = usage.socket.cookie;
  const auto [at, made] = ledgers.try_emplace(cookie);
  if (made) {
    ledger_ages.push_back(cookie);
    if (ledger_ages.size() > kMaxFlows) {  // kept after the close: a record may be told twice
      ledgers.erase(ledger_ages.front());
      ledger_ages.pop_front();
      ++counters.ledgers_dropped;
    }
  }
  Ledger& told = at->second;
  const Ledger grown{usage.bytes_out > told.out ? usage.bytes_out - told.out : 0,
                     usage.bytes_in > told.in ? usage.bytes_in - told.in : 0};
  told = {std::max(told.out, usage.bytes_out), std::max(told.in, usage.bytes_in)};
  return grown;
}

Observation Flows::State::on_usage(const FlowUsage& usage, const Stamp& at) {
  Observation seen;
  const FlowKey& key = usage.flow;
  const Idleness idleness = key.transport == Transport::tcp ? Idleness::stream : Idleness::datagram;
  auto slot = table.find(key.client, key.server, key.transport, usage.socket.cookie);
  if (slot == FlowTable::kNone) {
    slot = open(key, usage.socket, at, idleness);
    seen.opened = true;
    constexpr std::array<std::string_view, 4> kProtocols = {"ip", "tcp", "udp", "icmp"};
    table[slot].flow.record.protocol = kProtocols[static_cast<std::size_t>(key.transport)];
    if (key.transport == Transport::tcp) table[slot].opening = std::make_unique<Opening>();
  }
  FlowEntry& entry = table[slot];
  const bool was_closed = entry.idleness == Idleness::closed;
  table.touch(slot, usage.closed || was_closed ? Idleness::closed : idleness);
  Flow& flow = entry.flow;
  flow.has_ledger = true;
  flow.last = at;
  flow.record.last_seen_ns = std::max(flow.record.last_seen_ns, at.wall_ns);
  const Ledger grown = growth(usage);
  flow.record.bytes_out += grown.out;
  flow.record.bytes_in += grown.in;
  if (grown.out || grown.in) seen.direction = grown.out ? Direction::outgoing : Direction::incoming;
  seen.flow = &flow;
  seen.closed = usage.closed && !was_closed;
  return seen;
}

Flows::Flows(Ended ended) : state_(std::make_unique<State>()) {
  state_->ended = std::move(ended);
}
Flows::~Flows() = default;

Observation Flows::on(const Packet& packet, const Stamp& at) {
  state_->dns.clear();
  state_->pass(at.boot_ns);
  State::Step step{packet, at, {}, {}};
  state_->on_packet(step);
  return step.seen;
}

Observation Flows::on(const FlowUsage& usage, const Stamp& at) {
  state_->pass(at.boot_ns);
  return state_->on_usage(usage, at);
}

void Flows::expire(const Stamp& now) {
  state_->expire(now.boot_ns);
}

void Flows::finish() {
  for (const std::uint32_t slot : state_->table.by_serial()) state_->end(slot);
  state_->fragments.forget();
  state_->counters.fragments_dropped = state_->fragments.dropped();
}

const NetCounters& Flows::counters() const {
  return state_->counters;
}

std::vector<std::string> Flows::names_of(const IpAddress& client, const IpAddress& server) const {
  return state_->names.find(client, server, state_->now_ns);
}

}  // namespace weir
