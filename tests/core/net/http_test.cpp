// HTTP/1 request heads.
#include "core/net/http.h"

#include <gtest/gtest.h>

#include "core/net/protocol.h"

namespace weir {
namespace {

std::string told(std::string_view stream, bool last = false) {
  const auto request = parse_http_request(bytes_of(stream), last);
  if (!request) return std::string(name_of(request.error()));
  if (!*request) return "more";
  return (*request)->method + " " + (*request)->host;
}

TEST(http, the_host_comes_from_its_header_without_case_port_and_space) {
  EXPECT_EQ(told("GET / HTTP/1.1\r\nUser-Agent: x\r\nhOsT:\t WWW.Example.com:8080 \r\n\r\n"),
            "GET www.example.com");
  EXPECT_EQ(told("PUT /f HTTP/1.1\nHost: [2001:db8::1]:80\n\n"), "PUT 2001:db8::1");
}

TEST(http, the_target_wins_over_the_header_where_it_names_a_host) {
  EXPECT_EQ(told("POST http://u:p@up.example/x?y HTTP/1.1\r\nHost: other\r\n\r\n"),
            "POST up.example");
  EXPECT_EQ(told("CONNECT files.example:443 HTTP/1.1\r\n\r\n"), "CONNECT files.example");
  EXPECT_EQ(told("GET /http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"), "GET b");
}

TEST(http, waits_for_the_host_and_ends_without_one) {
  EXPECT_EQ(told("GET / HTT"), "more");
  EXPECT_EQ(told("GET / HTTP/1.1\r\nHost: exam"), "more");
  EXPECT_EQ(told("GET / HTTP/1.1\r\nAccept: *\r\n", true), "GET ");
  EXPECT_EQ(told("GET / HTTP/1.0\r\n\r\nHost: body\r\n"), "GET ");
  EXPECT_EQ(told("GET /a-very-long-target-that-was-cu", true), "GET ");
}

TEST(http, any_method_counts_if_the_line_ends_as_a_request) {
  EXPECT_EQ(told("M-FOO / HTTP/1.1\r\nHost: a\r\n\r\n"), "M-FOO a");
  EXPECT_EQ(told("GET HTTP/1.1\r\nHost: a\r\n\r\n"), "GET a");
  EXPECT_EQ(told("EHLO mail.example\r\n"), "bad_header");
  EXPECT_EQ(told("NICK somebody", true), "bad_header");
}

TEST(http, foreign_bytes_in_the_host_come_out_visible) {
  EXPECT_EQ(told("GET / HTTP/1.1\r\nHost: a\x1b\"<b>\xe4\r\n\r\n"), "GET a\\027\"<b>\\228");
}

TEST(protocol, first_bytes_tell_what_a_stream_speaks) {
  const auto spoken = [](std::string_view client, std::string_view server, bool last = false) {
    const auto s = spoken_over_tcp(bytes_of(client), bytes_of(server), last);
    return s ? std::string(s->protocol) : "more";
  };
  using namespace std::string_view_literals;
  EXPECT_EQ(spoken("", "SSH-2.0-OpenSSH\r\n"), "ssh");
  EXPECT_EQ(spoken("SSH-", ""), "ssh");
  EXPECT_EQ(spoken("SS", ""), "more");
  EXPECT_EQ(spoken("", "220 mail ready\r\n"), "more");
  EXPECT_EQ(spoken("EHLO me\r\n", "220 mail ready\r\n"), "smtp");
  EXPECT_EQ(spoken("USER me\r\n", "220 files ready\r\n"), "ftp");
  EXPECT_EQ(spoken("a1 LOGIN x y\r\n", "* OK ready\r\n"), "imap");
  EXPECT_EQ(spoken("", "+OK ready\r\n"), "pop3");
  EXPECT_EQ(spoken("\x10\x10\0\4MQTT"sv, ""), "mqtt");
  EXPECT_EQ(spoken("\0\0\0\x54\xfeSMB"sv, ""), "smb");
  EXPECT_EQ(spoken("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""), "http2");
  EXPECT_EQ(spoken(std::string(40, '\x99'), ""), "");
  EXPECT_EQ(spoken("\x99", "", true), "");
}

TEST(protocol, first_datagrams_tell_what_a_flow_speaks) {
  const auto spoken = [](const std::string& payload, std::uint16_t port) {
    return std::string(spoken_over_udp(bytes_of(payload), 50000, port));
  };
  EXPECT_EQ(spoken(std::string("\xc3\0\0\0\1\x08", 6) + std::string(1200, 'x'), 443), "quic");
  EXPECT_EQ(spoken(std::string("\xc3\x6b\x33\x43\xcf\x08", 6) + std::string(1200, 'x'), 8443),
            "quic");
  EXPECT_EQ(spoken(std::string("\xc3\x12\x34\x56\x78\x08", 6) + std::string(1200, 'x'), 443), "");
  EXPECT_EQ(spoken(std::string("\0\1\0\0\x21\x12\xa4\x42", 8) + std::string(12, 'i'), 3478),
            "stun");
  EXPECT_EQ(spoken(std::string("\1\0\0\0", 4) + std::string(144, 'k'), 51820), "wireguard");
  EXPECT_EQ(spoken(std::string("\x23", 1) + std::string(47, '\0'), 123), "ntp");
  EXPECT_EQ(spoken("random", 443), "");
}

}  // namespace
}  // namespace weir
