// ClientHello (RFC 8446 4.1.2, RFC 6066, RFC 7301) and its JA4 fingerprint (FoxIO, JA4 TLS client).
#include "core/net/tls.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/base/sha256.h"
#include "core/base/text.h"
#include "core/net/domain.h"

namespace weir {
namespace {

constexpr std::uint8_t kHandshake = 22, kClientHello = 1;
constexpr std::uint16_t kServerName = 0, kSignatureAlgorithms = 13, kAlpn = 16, kVersions = 43;
constexpr std::size_t kMaxRecord = 16384 + 256;  // RFC 8446 5.1, 5.2
constexpr std::size_t kMaxHello = 65536;         // more than any client sends, less than 2^24
constexpr std::size_t kMaxAlpn = 16;             // browsers offer two
constexpr std::size_t kMaxAlpnText = 255;

tl::unexpected<Damage> damaged(Damage kind) {
  return tl::unexpected(kind);
}

bool is_grease(std::uint16_t value) {  // RFC 8701
  return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

struct Hello {  // what JA4 needs beside the names
  std::uint16_t version = 0;
  bool has_server_name = false;
  std::vector<std::uint16_t> ciphers, extensions, signatures;
  std::string first_alpn;  // as on the wire
  ClientHello told;
};

std::string_view version_text(std::uint16_t version) {
  switch (version) {
    case 0x0304:
      return "13";
    case 0x0303:
      return "12";
    case 0x0302:
      return "11";
    case 0x0301:
      return "10";
    case 0x0300:
      return "s3";
    case 0x0002:
      return "s2";
    default:
      return "00";
  }
}

std::string hash12(const std::string& text) {
  if (text.empty()) return "000000000000";
  const auto digest = sha256(bytes_of(text));
  std::string out;
  for (std::size_t i = 0; i < 6; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

std::string joined(const std::vector<std::uint16_t>& values) {
  std::string out;
  for (const std::uint16_t v : values) out += fmt::format("{}{:04x}", out.empty() ? "" : ",", v);
  return out;
}

std::string alpn_ends(const std::string& alpn) {
  if (alpn.empty()) return "00";
  const auto plain = [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  const auto first = static_cast<unsigned char>(alpn.front());
  const auto last = static_cast<unsigned char>(alpn.back());
  if (plain(first) && plain(last)) return {alpn.front(), alpn.back()};
  return fmt::format("{:x}{:x}", first >> 4, last & 0x0f);
}

std::string ja4_of(Hello hello) {
  const std::size_t extensions = hello.extensions.size();
  std::string head = fmt::format(
      "t{}{}{:02}{:02}{}", version_text(hello.version), hello.has_server_name ? 'd' : 'i',
      std::min<std::size_t>(hello.ciphers.size(), 99), std::min<std::size_t>(extensions, 99),
      alpn_ends(hello.first_alpn));
  std::sort(hello.ciphers.begin(), hello.ciphers.end());
  std::erase_if(hello.extensions, [](auto e) { return e == kServerName || e == kAlpn; });
  std::sort(hello.extensions.begin(), hello.extensions.end());
  std::string tail = joined(hello.extensions);
  if (!hello.signatures.empty()) tail += "_" + joined(hello.signatures);
  return fmt::format("{}_{}_{}", head, hash12(joined(hello.ciphers)), hash12(tail));
}

void read_server_name(Bytes data, Hello& out) {
  Reader in(data);
  Reader list(in.take(in.u16()));
  while (in.ok() && list.ok() && list.left() > 0) {
    const std::uint8_t type = list.u8();
    const Bytes name = list.take(list.u16());
    if (!list.ok() || type != 0) continue;
    out.told.server_name = normal_host(visible(text_of(name)));
    return;
  }
}

void read_alpn(Bytes data, Hello& out) {
  Reader in(data);
  Reader list(in.take(in.u16()));
  for (std::size_t i = 0; i < kMaxAlpn && in.ok() && list.left() > 0; ++i) {
    const Bytes name = list.take(list.u8());
    if (!list.ok() || out.told.alpn.size() + name.size() > kMaxAlpnText) return;
    if (i == 0) out.first_alpn = text_of(name);
    if (i > 0) out.told.alpn += ',';
    out.told.alpn += visible(text_of(name));
  }
}

void read_extension(std::uint16_t type, Bytes data, Hello& out) {
  Reader in(data);
  switch (type) {
    case kServerName:
      out.has_server_name = true;
      return read_server_name(data, out);
    case kAlpn:
      return read_alpn(data, out);
    case kVersions: {
      Reader list(in.take(in.u8()));
      std::uint16_t best = 0;
      while (list.left() >= 2)
        if (const std::uint16_t v = list.u16(); !is_grease(v)) best = std::max(best, v);
      if (best) out.version = best;
      return;
    }
    case kSignatureAlgorithms: {
      Reader list(in.take(in.u16()));
      while (list.left() >= 2)
        if (const std::uint16_t v = list.u16(); !is_grease(v)) out.signatures.push_back(v);
      return;
    }
    default:
      return;
  }
}

// `body` is the handshake message behind its header, or as much of it as is here.
Parsed<std::optional<ClientHello>> read_hello(Bytes body, bool whole) {
  Reader in(body);
  Hello out;
  const Damage damage = whole ? Damage::bad_length : Damage::truncated;
  out.version = in.u16();
  in.skip(32);
  in.skip(in.u8());
  Reader ciphers(in.take(in.u16()));
  in.skip(in.u8());
  if (!in.ok()) return damaged(damage);
  if (out.version >> 8 != 3) return damaged(Damage::bad_version);
  while (ciphers.left() >= 2)
    if (const std::uint16_t c = ciphers.u16(); !is_grease(c)) out.ciphers.push_back(c);
  if (in.left() > 0) {
    const std::size_t length = in.u16();
    if (whole && length > in.left()) return damaged(damage);
    while (in.left() >= 4) {
      const std::uint16_t type = in.u16();
      const Bytes data = in.take(in.u16());
      if (!in.ok()) break;
      if (!is_grease(type)) out.extensions.push_back(type);
      read_extension(type, data, out);
    }
    if (whole && !in.ok()) return damaged(damage);
  }
  ClientHello told = std::move(out.told);
  if (whole) told.ja4 = ja4_of(std::move(out));
  return told;
}

}  // namespace

bool maybe_client_hello(Bytes s) {
  if (s.empty() || s[0] != kHandshake) return false;
  if (s.size() > 1 && s[1] != 3) return false;
  if (s.size() > 2 && s[2] > 4) return false;
  return s.size() <= 5 || s[5] == kClientHello;
}

Parsed<std::optional<ClientHello>> parse_client_hello(Bytes stream, bool last) {
  std::vector<std::uint8_t> copy;  // only of a hello over several records
  Bytes message;
  std::size_t want = 4;
  for (Reader in(stream); message.size() < want;) {
    const std::uint8_t type = in.u8();
    const std::uint16_t version = in.u16();
    const std::size_t length = in.u16();
    if (!in.ok()) break;
    if (type != kHandshake || length == 0) return damaged(Damage::bad_header);
    if (version >> 8 != 3) return damaged(Damage::bad_version);
    if (length > kMaxRecord) return damaged(Damage::bad_length);
    const Bytes part = in.take(std::min(length, in.left()));
    if (message.empty()) {
      message = part;
    } else {
      if (copy.empty()) copy.assign(message.begin(), message.end());
      copy.insert(copy.end(), part.begin(), part.end());
      message = copy;
    }
    if (message.size() >= 4 && want == 4) {
      if (message[0] != kClientHello) return damaged(Damage::bad_header);
      want = 4 + (std::size_t{message[1]} << 16 | std::size_t{message[2]} << 8 | message[3]);
      if (want > kMaxHello) return damaged(Damage::bad_length);
    }
    if (part.size() < length) break;
  }
  if (want > 4 && message.size() >= want) return read_hello(message.subspan(4, want - 4), true);
  if (!last) return std::nullopt;
  if (message.size() < 4) return damaged(Damage::truncated);
  return read_hello(message.subspan(4), false);
}

}  // namespace weir
