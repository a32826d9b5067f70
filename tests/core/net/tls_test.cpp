// ClientHello and JA4; SHA-256 under it.
#include "core/net/tls.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/base/sha256.h"
#include "tests/core/net/packets.h"

namespace weir {
namespace {

using namespace packets;

std::optional<ClientHello> parsed(const Buffer& stream, bool last = false) {
  const auto hello = parse_client_hello(bytes_of(stream), last);
  EXPECT_TRUE(hello) << name_of(hello ? Damage::count_ : hello.error());
  return hello ? *hello : std::nullopt;
}

const Buffer kHello = client_hello(server_name("Files.Example.COM") + alpn({"h2", "http/1.1"}));

TEST(tls, a_hello_tells_name_and_protocols) {
  const auto hello = parsed(tls_records(kHello));
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->server_name, "files.example.com");
  EXPECT_EQ(hello->alpn, "h2,http/1.1");
}

TEST(tls, over_many_records_and_cut_anywhere_it_waits_and_then_tells_the_same) {
  for (const std::size_t size : {1u, 3u, 50u, 16384u}) {
    const Buffer stream = tls_records(kHello, size);
    for (std::size_t n = 0; n < stream.size(); ++n) {
      const auto hello = parse_client_hello(bytes_of(stream.substr(0, n)), false);
      ASSERT_TRUE(hello) << size << " " << n;
      ASSERT_FALSE(*hello) << size << " " << n;
    }
    EXPECT_EQ(parsed(stream)->server_name, "files.example.com");
    EXPECT_EQ(parsed(stream + "next record")->ja4, parsed(tls_records(kHello))->ja4);
  }
}

TEST(tls, a_cut_hello_that_will_not_go_on_tells_the_name_that_is_here) {
  const Buffer stream =
      tls_records(client_hello(server_name("a.example") + extension(21, Buffer(900, '\0'))));
  const auto hello = parsed(stream.substr(0, 300), true);
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->server_name, "a.example");
  EXPECT_EQ(hello->ja4, "");
}

TEST(tls, lengths_that_contradict_each_other_are_damage) {
  Buffer message = kHello;
  message[4 + 2 + 32 + 1] = '\x7f';  // ciphers longer than the hello
  EXPECT_EQ(parse_client_hello(bytes_of(tls_records(message)), false).error(), Damage::bad_length);
  Buffer record = tls_records(kHello);
  record[3] = '\xff';
  EXPECT_EQ(parse_client_hello(bytes_of(record), false).error(), Damage::bad_length);
  Buffer huge = tls_records(u8(1) + u8(0xff) + u16(0xffff) + "x");
  EXPECT_EQ(parse_client_hello(bytes_of(huge), false).error(), Damage::bad_length);
  EXPECT_EQ(parse_client_hello(bytes_of(tls_records(u8(2) + u8(0) + u16(4))), false).error(),
            Damage::bad_header);
}

TEST(tls, foreign_bytes_in_names_come_out_visible) {
  const auto hello =
      parsed(tls_records(client_hello(server_name("a\x1b[31m\xff\n") + alpn({"\x01"}))));
  EXPECT_EQ(hello->server_name, "a\\027[31m\\255\\010");
  EXPECT_EQ(hello->alpn, "\\001");
}

TEST(tls, without_extensions_there_is_no_name_but_a_fingerprint) {
  Buffer body = u16(0x0301) + Buffer(32, 'r') + u8(0) + framed(u16(0x002f)) + u8(1) + u8(0);
  const auto hello = parsed(tls_records(u8(1) + u8(0) + framed(body)));
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->server_name, "");
  EXPECT_EQ(hello->ja4.substr(0, 11), "t10i010000_");
  EXPECT_EQ(hello->ja4.substr(24), "000000000000");
}

TEST(tls, a_server_name_outside_the_first_16_alpn_is_still_found) {
  const auto hello = parsed(tls_records(
      client_hello(alpn(std::vector<std::string>(40, "padding")) + server_name("late.example"))));
  EXPECT_EQ(hello->server_name, "late.example");
}

// The worked example of the published definition of JA4 (a browser's hello, GREASE included).
TEST(ja4, the_published_example_comes_out) {
  Buffer ciphers, extensions, list;
  for (const unsigned c : {0x0a0au, 0x1301u, 0x1302u, 0x1303u, 0xc02bu, 0xc02fu, 0xc02cu, 0xc030u,
                           0xcca9u, 0xcca8u, 0xc013u, 0xc014u, 0x009cu, 0x009du, 0x002fu, 0x0035u})
    ciphers += u16(c);
  for (const unsigned s : {0x0403u, 0x0804u, 0x0401u, 0x0503u, 0x0805u, 0x0501u, 0x0806u, 0x0601u})
    list += u16(s);
  for (const unsigned e : {0x1a1au, 0x001bu, 0x0033u, 0x4469u, 0x0017u, 0x000au, 0x0023u, 0x000bu,
                           0xff01u, 0x0005u, 0x0012u, 0x002du, 0x0015u})
    extensions += extension(e, "");
  extensions += server_name("example.com") + alpn({"h2"}) + extension(13, framed(list)) +
                extension(43, u8(6) + u16(0x2a2a) + u16(0x0304) + u16(0x0303));
  const auto hello = parsed(tls_records(client_hello(extensions, ciphers)));
  EXPECT_EQ(hello->ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

std::string hex_of(Bytes message) {
  std::string out;
  for (const std::uint8_t byte : sha256(message)) out += fmt::format("{:02x}", byte);
  return out;
}

TEST(sha256, the_standards_examples_come_out) {
  EXPECT_EQ(hex_of({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex_of(bytes_of("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex_of(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex_of(bytes_of(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace weir
