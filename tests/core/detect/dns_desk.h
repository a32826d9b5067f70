// A desk that asks and is answered: feeds dns_tunnel with observations, without packets.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/detect/dns_tunnel.h"

namespace weir {

inline constexpr std::int64_t kSecond = 1'000'000'000;
inline constexpr std::uint16_t kA = 1, kNull = 10, kPtr = 12, kTxt = 16, kAaaa = 28;

class DnsDesk {
 public:
  DnsDesk() : detector_(make_dns_tunnel()) {
    flow_.record.key.client = {*IpAddress::parse("192.0.2.7"), 40000};
    flow_.record.key.server = {*IpAddress::parse("192.0.2.53"), 53};
    flow_.record.key.transport = Transport::udp;
  }

  void tree(TreeId tree) { flow_.socket.tree = tree; }
  void client(const char* address) { flow_.record.key.client.address = *IpAddress::parse(address); }
  void wait(std::int64_t ns) { now_ += ns; }
  std::int64_t now() const { return now_; }

  void ask(const std::string& name, std::uint16_t type = kA, bool claims_response = false) {
    say(name, type, claims_response, 0, static_cast<std::uint32_t>(name.size() + 18),
        Direction::outgoing);
  }
  void answer(const std::string& name, std::uint16_t type = kA, std::uint8_t rcode = 0,
              std::uint32_t size = 80) {
    say(name, type, true, rcode, size, Direction::incoming);
  }
  void lookup(const std::string& name, std::uint16_t type = kA, std::uint8_t rcode = 0,
              std::uint32_t answer_size = 80) {
    ask(name, type);
    answer(name, type, rcode, answer_size);
  }
  // A flow that the desk opens to what `name` resolved to.
  void connect(const std::string& name) {
    Flow flow;
    flow.record.key.client = flow_.record.key.client;
    flow.record.key.server = {*IpAddress::parse("198.51.100.1"), 443};
    flow.socket = flow_.socket;
    flow.resolved_name = name;
    Observation seen;
    seen.flow = &flow;
    seen.opened = true;
    detector_->on(seen, {now_, now_}, signals);
  }
  void finish() { detector_->finish(signals); }

  std::vector<std::string> zones() const {  // of all signals, each once, in order
    std::vector<std::string> out;
    for (const Signal& s : signals)
      if (std::find(out.begin(), out.end(), s.destination.zone) == out.end())
        out.push_back(s.destination.zone);
    return out;
  }

  std::vector<Signal> signals;

 private:
  void say(const std::string& name, std::uint16_t type, bool response, std::uint8_t rcode,
           std::uint32_t size, Direction direction) {
    DnsMessage message;
    message.response = response;
    message.rcode = rcode;
    message.size = size;
    message.questions.push_back({name, type, 1});
    Observation seen;
    seen.flow = &flow_;
    seen.direction = direction;
    seen.payload = size;
    seen.dns = &message;
    seen.dns_count = 1;
    detector_->on(seen, {now_, now_}, signals);
  }

  std::unique_ptr<Detector> detector_;
  Flow flow_;
  std::int64_t now_ = 1'700'000'000 * kSecond;
};

// Bytes as a stream of labels; the same seed gives the same names.
class Encoder {
 public:
  explicit Encoder(std::uint32_t seed) : random_(seed) {}
  std::string take(std::size_t count, std::string_view alphabet) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += alphabet[random_() % alphabet.size()];
    return out;
  }
  std::string hex(std::size_t count) { return take(count, "0123456789abcdef"); }
  std::string base32(std::size_t count) { return take(count, "abcdefghijklmnopqrstuvwxyz234567"); }
  std::uint32_t below(std::uint32_t n) { return random_() % n; }

 private:
  std::mt19937 random_;
};

}  // namespace weir
