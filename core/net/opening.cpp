// A flow's first bytes, put in order until they tell what it speaks; DNS messages, read to the end.
#include <algorithm>

#include "core/net/flows_state.h"

namespace weir {
namespace {

constexpr std::size_t kMaxStart = 16 * 1024;        // first bytes of a direction that are looked at
constexpr std::size_t kMaxDnsStream = 65535 + 2;    // one framed message
constexpr std::size_t kMaxDnsOfSegment = 64;        // messages of one segment that are told
constexpr std::size_t kMaxOpenings = 32u << 20;     // bytes held for first bytes, over all flows
constexpr std::uint16_t kMaxOpeningPackets = 2048;  // a hello of 2 kB may come byte by byte
constexpr std::size_t kDnsFrame = 14;               // length and header of a framed message

// The first message of a stream on port 53, or as much of it as is here.
bool is_framed_dns(Bytes stream) {
  while (stream.size() >= 2 && stream[0] == 0 && stream[1] == 0) stream = stream.subspan(2);
  if (stream.size() < kDnsFrame) return false;
  Reader in(stream);
  const std::size_t length = in.u16();
  if (length < kDnsFrame - 2) return false;
  const auto message = parse_dns(in.rest().first(std::min(length, in.left())));
  return message || (message.error() == Damage::truncated && in.left() < length);
}

std::size_t held(const Opening& opening) {
  std::size_t sum = 0;
  for (const auto& stream : opening.streams) sum += stream ? stream->memory() : 0;
  return sum;
}

}  // namespace

void Flows::State::first_bytes(std::uint32_t slot, std::size_t side, const TcpSegment& segment,
                               Step& step) {
  FlowEntry& entry = table[slot];
  Opening& opening = *entry.opening;
  if (!opening.based[side]) {
    opening.base[side] = segment.sequence;
    opening.based[side] = true;
  }
  const std::size_t before = held(opening);
  auto& stream = opening.streams[side];
  // Mostly the first segment tells all, and nothing need be kept.
  const bool direct = !stream && !opening.dns && segment.sequence == opening.base[side];
  if (!direct) keep(opening, side, segment);
  const auto view = [&](std::size_t s) {
    if (s == side && direct) return segment.payload;
    return opening.streams[s] ? opening.streams[s]->bytes() : Bytes{};
  };
  if (!opening.dns) {
    ++opening.packets;
    const bool last = opening.packets >= kMaxOpeningPackets || view(side).size() >= kMaxStart;
    auto spoken = spoken_over_tcp(view(0), view(1), last);
    const FlowKey& key = entry.flow.record.key;
    if ((!spoken || spoken->protocol.empty()) && (key.server.port == 53 || key.client.port == 53)) {
      opening.dns = is_framed_dns(view(side));
      if (!opening.dns && view(side).size() < kDnsFrame && !last) spoken.reset();
    }
    if (opening.dns) {
      tell(entry, Spoken{.protocol = "dns"}, step);
      for (std::size_t s = 0; s < 2; ++s) {
        StreamStart longer(opening.base[s], kMaxDnsStream);
        longer.add(opening.base[s], view(s));
        if (opening.based[s]) opening.streams[s] = std::move(longer);
      }
    } else if (spoken) {
      opening_bytes += held(opening) - before;  // drop_opening takes all of it off
      tell(entry, std::move(*spoken), step);
      return drop_opening(entry);
    } else if (direct) {
      keep(opening, side, segment);
    }
  }
  if (opening.dns) framed_dns(entry, side, segment, step);
  opening_bytes += held(opening) - before;
  if (before == 0 && held(opening) > 0) openings.emplace_back(slot, entry.flow.serial);
  bound_openings(slot);
}

void Flows::State::keep(Opening& opening, std::size_t side, const TcpSegment& segment) {
  auto& stream = opening.streams[side];
  if (!stream) stream.emplace(opening.base[side], opening.dns ? kMaxDnsStream : kMaxStart);
  counters.reassembly_dropped += stream->add(segment.sequence, segment.payload);
}

// Takes whole messages off the front of a stream of them.
void Flows::State::framed_dns(FlowEntry& entry, std::size_t side, const TcpSegment& segment,
                              Step& step) {
  StreamStart& stream = *entry.opening->streams[side];
  std::size_t done = 0;
  const Bytes bytes = stream.bytes();
  while (bytes.size() - done >= 2) {
    Reader in(bytes.subspan(done));
    const std::size_t length = in.u16();
    if (in.left() < length) break;
    done += 2 + length;
    if (dns.size() == kMaxDnsOfSegment) {
      counters.reassembly_dropped += length;
      continue;
    }
    DnsMessage& message = dns.next();
    if (const auto damage = parse_dns(in.take(length), message)) {
      damaged(*damage);
      dns.pop_back();
      continue;
    }
    if (message.damage) damaged(*message.damage);
    if (side == 1) learn(entry);
  }
  stream.consume(done);
  // A lost segment stops the stream. Where the buffer is full we start anew behind it; what comes
  // next is read as messages only as far as it parses.
  if (stream.stuck())
    stream = StreamStart(segment.sequence + segment.payload_length, kMaxDnsStream);
  step.seen.dns = dns.empty() ? nullptr : dns.data();
  step.seen.dns_count = dns.size();
}

void Flows::State::tell(FlowEntry& entry, Spoken spoken, Step& step) {
  settle(entry, std::move(spoken));
  step.seen.named_now = true;
}

void Flows::State::settle(FlowEntry& entry, Spoken spoken) {
  if (spoken.damage) damaged(*spoken.damage);
  Flow& flow = entry.flow;
  if (!spoken.protocol.empty()) flow.record.protocol = spoken.protocol;
  flow.record.server_name = std::move(spoken.server_name);
  flow.record.alpn = std::move(spoken.alpn);
  flow.record.ja4 = std::move(spoken.ja4);
  flow.http_method = std::move(spoken.http_method);
  flow.http_host = std::move(spoken.http_host);
  flow.named = true;
  if (flow.resolved_name.empty() && flow.first.boot_ns != now_ns)  // the answer may come late
    flow.resolved_name =
        names.newest(flow.has_ledger ? IpAddress{} : flow.record.key.client.address,
                     flow.record.key.server.address, now_ns);
}

void Flows::State::drop_opening(FlowEntry& entry) {
  if (!entry.opening) return;
  opening_bytes -= held(*entry.opening);
  entry.opening.reset();
}

// The flow that began first gives up what it holds; its own packet never takes `current`'s.
void Flows::State::bound_openings(std::uint32_t current) {
  const auto stale = [&](const std::pair<std::uint32_t, std::uint64_t>& o) {
    return table[o.first].flow.serial != o.second || !table[o.first].opening;
  };
  while (opening_bytes > kMaxOpenings && !openings.empty()) {
    const auto [slot, serial] = openings.front();
    openings.pop_front();
    if (stale({slot, serial}) || slot == current) continue;
    FlowEntry& entry = table[slot];
    counters.reassembly_dropped += held(*entry.opening);
    if (!entry.flow.named) settle(entry, Spoken{});
    drop_opening(entry);
  }
  if (openings.size() > 2 * kMaxFlows) std::erase_if(openings, stale);
}

bool Flows::State::datagram_dns(FlowEntry& entry, const UdpDatagram& datagram, Step& step) {
  DnsMessage& message = dns.next();
  if (const auto damage = parse_dns(datagram.payload, message)) {
    damaged(*damage);
    dns.pop_back();
    return false;
  }
  if (message.damage) damaged(*message.damage);
  message.size = datagram.payload_length;
  if (step.seen.direction == Direction::incoming) learn(entry);
  step.seen.dns = dns.data();
  step.seen.dns_count = 1;
  return true;
}

// Only the server's answers name addresses. Live, and over loopback, the asker is this host,
// whatever address it asks from.
void Flows::State::learn(const FlowEntry& entry) {
  const DnsMessage& message = dns.back();
  if (!message.response) return;
  const IpAddress& client = entry.flow.record.key.client.address;
  names.learn(entry.flow.has_ledger || client.is_loopback() ? IpAddress{} : client, message,
              now_ns);
  counters.names_dropped = names.dropped();
}

}  // namespace weir
