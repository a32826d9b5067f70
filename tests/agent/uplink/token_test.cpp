// A token's text is read strictly.
#include "agent/uplink/token.h"

#include <gtest/gtest.h>

#include "weir/v1/enrol.pb.h"

namespace weir {
namespace {

std::string encoded(const std::string& bytes) {
  constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  std::uint32_t held = 0;
  int bits = 0;
  for (char c : bytes) {
    held = held << 8 | static_cast<std::uint8_t>(c);
    for (bits += 8; bits >= 6; bits -= 6) text += kLetters[held >> (bits - 6) & 63];
    held &= (1u << bits) - 1;
  }
  if (bits > 0) text += kLetters[held << (6 - bits) & 63];
  return text;
}

v1::EnrolToken good() {
  v1::EnrolToken token;
  token.set_address("collector.example:8443");
  token.set_door_key_sha256(std::string(32, 'k'));
  token.set_secret(std::string(16, '\xff'));
  return token;
}
std::string text_of(const v1::EnrolToken& token) {
  return "weir1." + encoded(token.SerializeAsString());
}

TEST(Token, one_with_white_space_around_it_is_read) {
  auto token = read_token(" " + text_of(good()) + "\r\n");
  ASSERT_TRUE(token) << token.error().sentence;
  EXPECT_EQ(token->address, "collector.example:8443");
  EXPECT_EQ(token->secret, std::string(16, '\xff'));
}

TEST(Token, every_cut_and_every_foreign_character_is_refused) {
  const std::string text = text_of(good());
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(read_token(text.substr(0, size))) << size;
  for (std::size_t at = 0; at < text.size(); ++at)
    for (char c : {'+', '/', '=', ' ', '\n', '\0', '\x80'}) {
      std::string changed = text;
      changed[at] = c;
      bool outer_space = (at == 0 || at + 1 == text.size()) && (c == ' ' || c == '\n');
      EXPECT_FALSE(read_token(changed)) << at << (outer_space ? " at an end" : "");
    }
  EXPECT_FALSE(read_token(text + "="));
  EXPECT_FALSE(read_token(text + std::string(2'000, 'A')));
}

TEST(Token, fields_of_another_size_are_refused) {
  for (auto change : {+[](v1::EnrolToken& t) { t.set_secret(std::string(15, 's')); },
                      +[](v1::EnrolToken& t) { t.set_door_key_sha256("short"); },
                      +[](v1::EnrolToken& t) { t.set_address("no port"); },
                      +[](v1::EnrolToken& t) { t.set_address("host:0"); },
                      +[](v1::EnrolToken& t) { t.set_address("host:65536"); },
                      +[](v1::EnrolToken& t) { t.set_address("user@host:1"); },
                      +[](v1::EnrolToken& t) { t.set_address("host/path:1"); },
                      +[](v1::EnrolToken& t) { t.clear_address(); }}) {
    v1::EnrolToken token = good();
    change(token);
    EXPECT_FALSE(read_token(text_of(token))) << token.ShortDebugString();
  }
}

TEST(Token, an_address_in_brackets_is_one_of_ipv6) {
  EXPECT_TRUE(is_host_and_port("[::1]:443"));
  EXPECT_FALSE(is_host_and_port("::1:443"));
  EXPECT_FALSE(is_host_and_port("[]:443"));
}

}  // namespace
}  // namespace weir
