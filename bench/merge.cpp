// merge OUT COPIES CAPTURE…: one big capture out of many small ones: all start together, packets in
// order of time since their capture's start, each written COPIES times with other addresses, so
// that flows differ. `merge OUT COPIES --generate FLOWS` makes TLS-like flows instead, where no
// captures are.
#include <arpa/inet.h>
#include <pcap/pcap.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kPacketsMax = 2'000'000;  // of one copy: what fits in memory twice over
constexpr std::size_t kBytesMax = 1ULL << 30;   // of one copy
constexpr std::int64_t kLongestUs =
    3'600'000'000;  // a capture's own clock may jump; later packets stand there
constexpr std::uint32_t kSnap = 65535;
constexpr std::int64_t kStart = 1'700'000'000;  // wall seconds of the merged capture's start

struct Packet {
  std::int64_t us = 0;  // since its capture's start
  std::uint32_t wire = 0;
  std::uint32_t capture = 0;
  std::vector<std::uint8_t> bytes;
};

std::uint16_t load16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>(p[0] << 8 | p[1]);
}
void store16(std::uint8_t* p, std::uint16_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}

// RFC 1624: a checksum after one word that it covers changed.
void adjust(std::uint8_t* checksum, std::uint16_t was, std::uint16_t is) {
  std::uint32_t sum =
      static_cast<std::uint16_t>(~load16(checksum)) + static_cast<std::uint16_t>(~was) + is;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  store16(checksum, static_cast<std::uint16_t>(~sum));
}

// The second word of an address moves by the copy's and the capture's number: both ends of a flow
// alike.
void change(std::uint8_t* word, std::uint16_t by, std::uint8_t* ip_sum, std::uint8_t* l4_sum) {
  const std::uint16_t was = load16(word);
  const auto is = static_cast<std::uint16_t>(was ^ by);
  store16(word, is);
  if (ip_sum != nullptr) adjust(ip_sum, was, is);
  if (l4_sum != nullptr) adjust(l4_sum, was, is);
}

void append(std::vector<std::uint8_t>& to, const void* from, std::size_t size) {
  to.resize(to.size() + size);
  if (size > 0) std::memcpy(to.data() + (to.size() - size), from, size);
}

std::uint8_t* transport_sum(std::uint8_t protocol, std::uint8_t* l4, const std::uint8_t* end) {
  if (protocol == 6 && end - l4 >= 18) return l4 + 16;
  if (protocol == 17 && end - l4 >= 8 && load16(l4 + 6) != 0) return l4 + 6;
  return nullptr;
}

void readdress(std::vector<std::uint8_t>& bytes, std::uint16_t by) {
  if (bytes.size() < 14 + 20 || by == 0) return;
  const std::uint8_t* end = bytes.data() + bytes.size();
  std::uint8_t* ip = bytes.data() + 14;
  const std::uint16_t type = load16(bytes.data() + 12);
  if (type == 0x0800) {
    const std::size_t head = static_cast<std::size_t>(ip[0] & 15) * 4;
    if (head < 20 || bytes.size() < 14 + head) return;
    std::uint8_t* l4 = (load16(ip + 6) & 0x1fff) ? nullptr : transport_sum(ip[9], ip + head, end);
    change(ip + 14, by, ip + 10, l4);
    change(ip + 18, by, ip + 10, l4);
  } else if (type == 0x86dd && bytes.size() >= 14 + 40) {
    std::uint8_t* l4 = transport_sum(ip[6], ip + 40, end);
    change(ip + 8 + 6, by, nullptr, l4);
    change(ip + 24 + 6, by, nullptr, l4);
  }
}

bool load(const char* path, std::uint32_t number, std::vector<Packet>& packets,
          std::size_t& bytes) {
  char error[PCAP_ERRBUF_SIZE];
  pcap_t* in = pcap_open_offline(path, error);
  if (in == nullptr || pcap_datalink(in) != DLT_EN10MB) {
    if (in != nullptr) pcap_close(in);
    return false;
  }
  pcap_pkthdr* head = nullptr;
  const u_char* data = nullptr;
  std::int64_t first = -1;
  while (packets.size() < kPacketsMax && bytes < kBytesMax && pcap_next_ex(in, &head, &data) == 1) {
    const std::int64_t at = head->ts.tv_sec * std::int64_t{1'000'000} + head->ts.tv_usec;
    if (first < 0) first = at;
    const std::int64_t since = std::clamp(at - first, std::int64_t{0}, kLongestUs);
    packets.push_back({since, head->len, number, {data, data + head->caplen}});
    bytes += head->caplen;
  }
  pcap_close(in);
  return true;
}

std::vector<std::uint8_t> segment(std::uint32_t flow, bool up, std::uint32_t seq,
                                  std::uint8_t flags, const std::vector<std::uint8_t>& payload) {
  std::vector<std::uint8_t> b(14 + 20 + 20);
  store16(&b[12], 0x0800);
  std::uint8_t* ip = &b[14];
  ip[0] = 0x45;
  store16(ip + 2, static_cast<std::uint16_t>(40 + payload.size()));
  ip[8] = 64;
  ip[9] = 6;
  const std::uint32_t client = htonl(0x0a000000U + (flow & 0xffffU)),
                      server = htonl(0xcb007100U + flow % 200);
  std::memcpy(ip + (up ? 12 : 16), &client, 4);
  std::memcpy(ip + (up ? 16 : 12), &server, 4);
  std::uint8_t* tcp = ip + 20;
  store16(tcp + (up ? 0 : 2), static_cast<std::uint16_t>(20000 + flow % 40000));
  store16(tcp + (up ? 2 : 0), 443);
  const std::uint32_t be = htonl(seq);
  std::memcpy(tcp + 4, &be, 4);
  tcp[12] = 0x50;
  tcp[13] = flags;
  append(b, payload.data(), payload.size());
  return b;
}

// A ClientHello with one extension, the server's name.
std::vector<std::uint8_t> hello(std::uint32_t flow) {
  const std::string name = "host" + std::to_string(flow % 500) + ".example.org";
  std::vector<std::uint8_t> body(2 + 32 + 1, 3);
  body[34] = 0;
  const std::uint8_t suites[] = {0, 2, 0x13, 0x01, 1, 0};
  append(body, suites, sizeof suites);
  const auto n = static_cast<std::uint16_t>(name.size());
  std::uint8_t extension[11];
  store16(extension, static_cast<std::uint16_t>(n + 9));
  store16(extension + 2, 0);
  store16(extension + 4, static_cast<std::uint16_t>(n + 5));
  store16(extension + 6, static_cast<std::uint16_t>(n + 3));
  extension[8] = 0;
  store16(extension + 9, n);
  append(body, extension, sizeof extension);
  append(body, name.data(), name.size());
  std::vector<std::uint8_t> record = {22, 3, 1, 0, 0, 1, 0, 0, 0};
  store16(&record[3], static_cast<std::uint16_t>(body.size() + 4));
  store16(&record[7], static_cast<std::uint16_t>(body.size()));
  append(record, body.data(), body.size());
  return record;
}

void generate(std::uint32_t flows, std::vector<Packet>& packets) {
  constexpr std::uint8_t kSyn = 2, kAck = 0x10;
  const std::vector<std::uint8_t> full(1400, 0x17);
  for (std::uint32_t f = 0; f < flows; ++f) {
    std::int64_t us = f * 200;
    std::uint32_t seq = 1001;
    const auto add = [&](bool up, std::uint32_t s, std::uint8_t flags,
                         const std::vector<std::uint8_t>& data) {
      auto bytes = segment(f, up, s, flags, data);
      const auto wire = static_cast<std::uint32_t>(bytes.size());
      packets.push_back({us += 50, wire, f, std::move(bytes)});
    };
    add(true, 1000, kSyn, {});
    add(false, 5000, kSyn | kAck, {});
    const auto first = hello(f);
    add(true, seq, kAck, first);
    seq += static_cast<std::uint32_t>(first.size());
    for (std::uint32_t i = 0; i < 10; ++i) {
      add(false, 5001 + i * 1400, kAck, full);
      if (i % 5 == 0) add(true, seq + i / 5 * 1400, kAck, full);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4)
    return std::fprintf(stderr, "usage: merge OUT COPIES CAPTURE… | --generate FLOWS\n"), 2;
  const auto copies = static_cast<std::uint16_t>(std::clamp(std::atoi(argv[2]), 1, 1000));
  std::vector<Packet> packets;
  std::size_t bytes = 0;
  std::uint32_t used = 0;
  if (std::strcmp(argv[3], "--generate") == 0) {
    generate(static_cast<std::uint32_t>(argc > 4 ? std::atoi(argv[4]) : 10'000), packets);
  } else {
    for (int i = 3; i < argc; ++i)
      used += load(argv[i], static_cast<std::uint32_t>(i), packets, bytes);
  }
  std::stable_sort(packets.begin(), packets.end(),
                   [](const Packet& a, const Packet& b) { return a.us < b.us; });
  pcap_t* dead = pcap_open_dead(DLT_EN10MB, kSnap);
  pcap_dumper_t* out = pcap_dump_open(dead, argv[1]);
  if (out == nullptr) return std::fprintf(stderr, "%s\n", pcap_geterr(dead)), 1;
  for (const Packet& p : packets) {
    for (std::uint16_t copy = 0; copy < copies; ++copy) {
      auto changed = p.bytes;
      // A multiplier spreads the captures' numbers, so that equal addresses of two captures part
      // too.
      readdress(changed, static_cast<std::uint16_t>(copy * 911U + p.capture * 7U));
      const std::int64_t us = p.us + copy;
      pcap_pkthdr head{};
      head.ts.tv_sec = static_cast<decltype(head.ts.tv_sec)>(kStart + us / 1'000'000);
      head.ts.tv_usec = static_cast<decltype(head.ts.tv_usec)>(us % 1'000'000);
      head.caplen = static_cast<std::uint32_t>(changed.size());
      head.len = p.wire;
      pcap_dump(reinterpret_cast<u_char*>(out), &head, changed.data());
    }
  }
  pcap_dump_close(out);
  std::printf("{\"captures\": %u, \"packets\": %zu}\n", used, packets.size() * copies);
}
