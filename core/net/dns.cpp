// DNS messages (RFC 1035; answers of RFC 3596 and RFC 2782).
#include "core/net/dns.h"

#include <algorithm>
#include <array>

#include "core/base/text.h"

namespace weir {
namespace {

constexpr std::uint16_t kA = 1, kNs = 2, kCname = 5, kPtr = 12, kMx = 15, kAaaa = 28, kSrv = 33;
constexpr std::size_t kMaxName = 255;  // octets on the wire, RFC 1035 2.3.4
constexpr std::size_t kMaxJumps = 16;  // compression pointers in one name; servers use one or two

bool is_plain(std::uint8_t c) {
  return is_visible(c) && c != '.';
}

// The presentation form while a name is read: written once, copied once.
struct NameText {
  std::array<char, 4 * kMaxName> text;  // each octet escaped
  std::size_t size = 0;

  void add(char c) { text[size++] = c; }
  void add(Bytes label) {
    if (std::all_of(label.begin(), label.end(), [](std::uint8_t c) { return is_plain(c); })) {
      std::copy(label.begin(), label.end(), text.data() + size);
      size += label.size();
      return;
    }
    for (const std::uint8_t c : label) {
      if (is_plain(c)) {
        add(static_cast<char>(c));
        continue;
      }
      const auto escaped = escaped_byte(c);
      for (const char e : escaped) add(e);
    }
  }
};

// Reads the name at `at`, which ends behind it. A pointer may only lead to before the part of the
// name that holds it, hence no loop.
std::optional<Damage> read_name(Bytes message, std::size_t& at, std::string& out) {
  NameText text;
  std::size_t octets = 1, jumps = 0, here = at, lowest = at;
  bool jumped = false;
  for (;;) {
    if (here >= message.size()) return Damage::truncated;
    const std::uint8_t length = message[here];
    if (length >= 0xc0) {
      if (here + 1 >= message.size()) return Damage::truncated;
      const std::size_t target = (length & 0x3fu) << 8 | message[here + 1];
      if (!jumped) at = here + 2;
      jumped = true;
      if (target >= lowest || ++jumps > kMaxJumps) return Damage::bad_name;
      here = lowest = target;
      continue;
    }
    if (length >= 0x40) return Damage::bad_name;
    if (length == 0) break;
    octets += length + 1u;
    if (octets > kMaxName) return Damage::bad_name;
    if (length > message.size() - here - 1) return Damage::truncated;
    if (text.size > 0) text.add('.');
    text.add(message.subspan(here + 1, length));
    here += length + 1u;
  }
  if (!jumped) at = here + 1;
  out.assign(text.text.data(), text.size);
  return std::nullopt;
}

std::optional<Damage> read_question(Bytes message, std::size_t& at, DnsQuestion& out) {
  if (auto damage = read_name(message, at, out.name)) return damage;
  Reader in(message.subspan(at));
  out.type = in.u16();
  out.klass = in.u16();
  if (!in.ok()) return Damage::truncated;
  at += 4;
  return std::nullopt;
}

std::optional<Damage> read_target(Bytes message, std::size_t begin, DnsAnswer& out) {
  std::size_t skip = 0;
  if (out.type == kMx) skip = 2;
  if (out.type == kSrv) skip = 6;
  if (out.length <= skip) return Damage::bad_length;
  std::size_t at = begin + skip;
  // The name may point back, but its own bytes end with the record.
  if (auto damage = read_name(message.first(begin + out.length), at, out.target)) return damage;
  return std::nullopt;
}

std::optional<Damage> read_answer(Bytes message, std::size_t& at, DnsAnswer& out) {
  if (auto damage = read_name(message, at, out.name)) return damage;
  Reader in(message.subspan(at));
  out.type = in.u16();
  in.skip(2);
  out.ttl_s = in.u32();
  out.length = in.u16();
  const std::size_t begin = at + 10;
  const Bytes data = in.take(out.length);
  if (!in.ok()) return Damage::truncated;
  out.address = {};
  out.target.clear();
  at = begin + out.length;
  if (out.length == 0) return std::nullopt;  // in updates and inverse queries
  switch (out.type) {
    case kA:
      if (data.size() != 4) return Damage::bad_length;
      out.address = IpAddress::v4(data);
      return std::nullopt;
    case kAaaa:
      if (data.size() != 16) return Damage::bad_length;
      out.address = IpAddress::v6(data);
      return std::nullopt;
    case kCname:
    case kNs:
    case kMx:
    case kSrv:
    case kPtr:
      return read_target(message, begin, out);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<Damage> parse_dns(Bytes message, DnsMessage& out) {
  Reader in(message);
  out.id = in.u16();
  const std::uint16_t flags = in.u16();
  const std::size_t questions = in.u16(), answers = in.u16();
  in.skip(4);
  if (!in.ok()) return Damage::truncated;
  out.response = flags & 0x8000;
  out.opcode = flags >> 11 & 0x0f;
  out.rcode = flags & 0x0f;
  out.size = static_cast<std::uint32_t>(message.size());
  out.damage = std::nullopt;
  out.questions.clear();
  out.answers.clear();
  std::size_t at = in.position();
  for (std::size_t i = 0; i < questions; ++i) {
    if (i == kMaxDnsQuestions)
      return std::nullopt;  // no resolver answers such; the rest is not read
    out.damage = read_question(message, at, out.questions.next());
    if (!out.damage) continue;
    out.questions.pop_back();
    return i == 0 ? out.damage : std::nullopt;
  }
  for (std::size_t i = 0; i < std::min(answers, kMaxDnsAnswers); ++i) {
    out.damage = read_answer(message, at, out.answers.next());
    if (!out.damage) continue;
    out.answers.pop_back();
    return i == 0 && questions == 0 ? out.damage : std::nullopt;
  }
  return std::nullopt;
}

Parsed<DnsMessage> parse_dns(Bytes message) {
  DnsMessage out;
  if (const auto damage = parse_dns(message, out)) return tl::unexpected(*damage);
  return out;
}

}  // namespace weir
