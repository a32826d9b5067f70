// Starts of protocols. Only what their first bytes prove; a port alone names nothing, except where
// the protocol has no fixed bytes and the port is reserved for it (DHCP, NTP, NetBIOS names).
#include "core/net/protocol.h"

#include <algorithm>
#include <array>

#include "core/net/http.h"
#include "core/net/tls.h"

namespace weir {
namespace {

// After this many bytes of a direction that match no start, nothing more is expected of it.
constexpr std::size_t kEnough = 32;

struct Start {
  std::string_view protocol;
  std::size_t offset;
  std::string_view bytes;
};

using namespace std::string_view_literals;

// Who speaks first differs; a start counts from either side unless it stands in one list only.
constexpr std::array kEitherStarts = {
    Start{"ssh", 0, "SSH-"sv},
    Start{"bittorrent", 0,
          "\x13"
          "BitTorrent protocol"sv},
    Start{"smb", 4, "\xffSMB"sv},
    Start{"smb", 4, "\xfeSMB"sv},
    Start{"telnet", 0, "\xff\xfb"sv},
    Start{"telnet", 0, "\xff\xfd"sv},
    Start{"rfb", 0, "RFB 00"sv},
};
constexpr std::array kClientStarts = {
    Start{"mqtt", 4, "MQTT"sv},  // one length byte, which all but absurd hellos have
    Start{"mqtt", 4, "MQIsdp"sv},
    Start{"rdp", 0, "\x03\x00\x00"sv},
    Start{"postgres", 4, "\x00\x03\x00\x00"sv},
    Start{"postgres", 4, "\x04\xd2\x16\x2f"sv},  // asks for TLS
    Start{"smtp", 0, "EHLO "sv},
    Start{"smtp", 0, "HELO "sv},
    Start{"rtsp", 0, "DESCRIBE rtsp"sv},
    Start{"sip", 0, "INVITE sip"sv},
    Start{"sip", 0, "REGISTER sip"sv},
    Start{"xmpp", 0, "<?xml"sv},
    Start{"xmpp", 0, "<stream:stream"sv},
    Start{"socks4", 0, "\x04\x01"sv},
    Start{"socks5", 0, "\x05\x01\x00"sv},
    Start{"socks5", 0, "\x05\x02\x00"sv},
    Start{"irc", 0, "NICK "sv},
    Start{"irc", 0, "CAP LS"sv},
    Start{"whois", 0, "domain "sv},
    Start{"git", 4, "git-upload-pack "sv},
    Start{"git", 4, "git-receive-pack "sv},
    Start{"rsync", 0, "@RSYNCD:"sv},
};
constexpr std::array kServerStarts = {
    Start{"imap", 0, "* OK"sv},
    Start{"imap", 0, "* PREAUTH"sv},
    Start{"pop3", 0, "+OK"sv},
    Start{"rsync", 0, "@RSYNCD:"sv},
    Start{"mysql", 3,
          "\x00\x0a"
          "5."sv},
    Start{"mysql", 3,
          "\x00\x0a"
          "8."sv},
    Start{"mysql", 3,
          "\x00\x0a"
          "1"sv},  // MariaDB 10 and 11
};

enum class Fit { no, open, yes };

Fit fit(const Start& start, Bytes stream) {
  const std::string_view text = text_of(stream);
  if (text.size() <= start.offset) return Fit::open;
  const std::string_view part = text.substr(start.offset, start.bytes.size());
  if (part != start.bytes.substr(0, part.size())) return Fit::no;
  return part.size() == start.bytes.size() ? Fit::yes : Fit::open;
}

// The protocol that one of `starts` proves; `open` is set if more bytes could still prove one.
template <class Starts>
std::string_view first_fit(const Starts& starts, Bytes stream, bool& open) {
  if (stream.empty()) return "";
  for (const Start& start : starts) {
    const Fit how = fit(start, stream);
    if (how == Fit::yes) return start.protocol;
    if (how == Fit::open) open = true;
  }
  return "";
}

// FTP and SMTP both greet with 220; the client's first command tells them apart.
std::string_view after_220(Bytes client, Bytes server, bool& open) {
  const std::string_view hello = text_of(server), first = text_of(client);
  if (hello.empty()) return "";
  if (hello.substr(0, 3) != std::string_view("220").substr(0, hello.size())) return "";
  if (hello.size() < 3) open = true;
  if (first.size() < 4) {
    open = true;
    return "";
  }
  for (const std::string_view verb : {"USER"sv, "AUTH"sv, "FEAT"sv, "OPTS"sv, "HOST"sv, "CLNT"sv})
    if (first.substr(0, 4) == verb) return "ftp";
  for (const std::string_view verb : {"EHLO"sv, "HELO"sv, "ehlo"sv, "helo"sv, "LHLO"sv})
    if (first.substr(0, 4) == verb) return "smtp";
  return "";
}

std::optional<Spoken> tls(Bytes client, bool last) {
  const auto hello = parse_client_hello(client, last);
  if (!hello) return Spoken{.protocol = "tls", .damage = hello.error()};
  if (!*hello) return std::nullopt;
  Spoken out{.protocol = "tls"};
  out.server_name = (*hello)->server_name;
  out.alpn = (*hello)->alpn;
  out.ja4 = (*hello)->ja4;
  if (out.ja4.empty()) out.damage = Damage::truncated;
  return out;
}

std::optional<Spoken> http(Bytes client, bool last) {
  const auto request = parse_http_request(client, last);
  if (!request) return Spoken{.damage = last ? std::optional(request.error()) : std::nullopt};
  if (!*request) return std::nullopt;
  Spoken out{.protocol = (*request)->version_2 ? "http2" : "http"};
  out.http_method = (*request)->method;
  out.server_name = out.http_host = (*request)->host;
  return out;
}

// SSLv2-framed hello of old clients that speak SSLv3 or TLS.
bool is_old_hello(Bytes s) {
  return s.size() >= 5 && s[0] & 0x80 && s[2] == 1 && s[3] == 3 && s[4] <= 3;
}

// A DNS question on whatever port, strictly: one question of class IN, recursion flags at most, no
// answers, and not a byte more than header, question and an optional EDNS record.
bool is_plain_query(Bytes p) {
  Reader in(p);
  in.skip(2);
  const std::uint16_t flags = in.u16();
  const bool counts = in.u16() == 1 && in.u16() == 0 && in.u16() == 0;
  const std::uint16_t additional = in.u16();
  if (!in.ok() || (flags & 0xfecf) != 0 || !counts || additional > 1) return false;
  std::size_t octets = 0;
  for (std::uint8_t length = in.u8(); length != 0; length = in.u8()) {
    if (length > 63 || (octets += length + 1u) > 254) return false;
    in.skip(length);
  }
  const std::uint16_t type = in.u16(), klass = in.u16();
  if (!in.ok() || octets == 0 || type == 0 || klass != 1) return false;
  return additional == 0 ? in.left() == 0 : in.left() >= 11;
}

bool is_quic(Bytes p) {
  if (p.size() < 7 || (p[0] & 0x80) == 0) return false;
  Reader in(p.subspan(1));
  const std::uint32_t version = in.u32();
  const bool known = version == 1 || version == 0x6b3343cf ||  // v1, v2 (RFC 9369)
                     version >> 8 == 0xff0000 ||               // drafts
                     (version >> 8 == 0x514630 || version >> 8 == 0x513035 ||
                      version >> 8 == 0x513034 || version >> 8 == 0x543035);  // Google Qxxx, T05x
  return known && in.u8() <= 20;
}

}  // namespace

std::optional<Spoken> spoken_over_tcp(Bytes client, Bytes server, bool last) {
  bool open = false;
  for (const std::string_view found :
       {first_fit(kEitherStarts, client, open), first_fit(kEitherStarts, server, open),
        first_fit(kClientStarts, client, open), first_fit(kServerStarts, server, open),
        after_220(client, server, open)})
    if (!found.empty()) return Spoken{.protocol = found};
  if (!client.empty()) {
    if (maybe_client_hello(client)) {
      if (client.size() > 5) return tls(client, last);
      open = true;
    }
    if (is_old_hello(client)) return Spoken{.protocol = "tls"};
    if (maybe_http_request(client)) {  // other protocols of lines fall through at their first end
      auto request = http(client, last);
      if (!request || !request->protocol.empty()) return request;
    }
  }
  if (client.empty() && server.size() < kEnough) open = true;
  if (server.empty() && client.size() < kEnough) open = true;
  const bool enough = std::max(client.size(), server.size()) >= kEnough;
  if (last || !open || (enough && client.size() + server.size() >= 4 * kEnough)) return Spoken{};
  return std::nullopt;
}

std::string_view spoken_over_udp(Bytes p, std::uint16_t client_port, std::uint16_t server_port) {
  const std::string_view text = text_of(p);
  const auto port = [&](std::uint16_t n) { return client_port == n || server_port == n; };
  if (port(5353) || port(5355)) return port(5353) ? "mdns" : "llmnr";
  if (is_quic(p)) return "quic";
  if (text.size() >= 13 && (p[0] >= 20 && p[0] <= 23) && p[1] == 0xfe &&
      (p[2] == 0xff || p[2] == 0xfd))
    return "dtls";
  if (text.size() >= 20 && (p[0] & 0xc0) == 0 && text.substr(4, 4) == "\x21\x12\xa4\x42"sv)
    return "stun";
  if (text.size() == 148 && text.substr(0, 4) == "\x01\x00\x00\x00"sv) return "wireguard";
  if (port(123) && text.size() >= 48 && (p[0] >> 3 & 7) >= 1 && (p[0] >> 3 & 7) <= 4) return "ntp";
  if ((port(67) || port(68)) && text.size() >= 240 && text.substr(236, 4) == "\x63\x82\x53\x63"sv)
    return "dhcp";
  if (port(137) && text.size() >= 12) return "nbns";
  if (text.substr(0, 8) == "M-SEARCH" || text.substr(0, 7) == "NOTIFY ") return "ssdp";
  if (text.substr(0, 10) == "INVITE sip" || text.substr(0, 12) == "REGISTER sip") return "sip";
  if (is_plain_query(p)) return "dns";
  return "";
}

std::string_view protocol_of_number(std::uint8_t n) {
  switch (n) {
    case 2:
      return "igmp";
    case 4:
      return "ipip";
    case 41:
      return "6in4";
    case 47:
      return "gre";
    case 50:
      return "esp";
    case 51:
      return "ah";
    case 89:
      return "ospf";
    case 112:
      return "vrrp";
    case 132:
      return "sctp";
    default:
      return "ip";
  }
}

}  // namespace weir
