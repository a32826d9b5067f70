// DNS messages (RFC 1035, EDNS): one bounded, pure parser for UDP payloads and for TCP's framed
// ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/bytes.h"
#include "core/base/reused.h"
#include "core/event/address.h"
#include "core/net/damage.h"

namespace weir {

struct DnsQuestion {
  std::string name;  // presentation form without the final dot, bytes as on the wire (case kept,
                     // non-printing bytes and dots inside labels escaped \DDD); "" is the root
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
};

struct DnsAnswer {
  std::string name;
  std::uint16_t type = 0;
  std::uint32_t ttl_s = 0;
  IpAddress address;         // A, AAAA
  std::string target;        // CNAME, NS, MX, SRV, PTR
  std::uint16_t length = 0;  // of the rdata on the wire
};

struct DnsMessage {
  std::uint16_t id = 0;
  bool response = false;
  std::uint8_t opcode = 0;
  std::uint8_t rcode = 0;
  Reused<DnsQuestion> questions;
  Reused<DnsAnswer> answers;     // at most kMaxDnsAnswers
  std::uint32_t size = 0;        // of the whole message on the wire
  std::optional<Damage> damage;  // what ended the reading early; questions and answers that
                                 // stood before it are kept: a server reads them too
};

inline constexpr std::size_t kMaxDnsQuestions = 4;  // real traffic has one
inline constexpr std::size_t kMaxDnsAnswers = 64;   // of each message; the rest is skipped

Parsed<DnsMessage> parse_dns(Bytes message);
// The same into a message that was used before: nothing is allocated where its memory is enough.
// What is returned is the damage of a message that is none, `out` is then in no state to be read.
std::optional<Damage> parse_dns(Bytes message, DnsMessage& out);

}  // namespace weir
