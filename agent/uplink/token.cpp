// An enrolment token: see token.h.
#include "agent/uplink/token.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "weir/v1/enrol.pb.h"

namespace weir {
namespace {

constexpr std::string_view kPrefix = "weir1.";
constexpr std::string_view kSpace = " \t\r\n";

std::optional<std::uint32_t> value_of(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<std::uint32_t>(c - 'A');
  if (c >= 'a' && c <= 'z') return static_cast<std::uint32_t>(c - 'a' + 26);
  if (c >= '0' && c <= '9') return static_cast<std::uint32_t>(c - '0' + 52);
  if (c == '-') return 62;
  if (c == '_') return 63;
  return std::nullopt;
}

// One text for one token: bits that are left over must be zero.
std::optional<std::string> from_base64url(std::string_view text) {
  if (text.size() % 4 == 1) return std::nullopt;
  std::string bytes;
  std::uint32_t held = 0;
  int bits = 0;
  for (char c : text) {
    auto value = value_of(c);
    if (!value) return std::nullopt;
    held = held << 6 | *value;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<char>(held >> bits & 0xff));
    held &= (1u << bits) - 1;
  }
  if (held != 0) return std::nullopt;
  return bytes;
}

}  // namespace

bool is_host_and_port(std::string_view text) {
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || text.size() > kMaxDoorAddress) return false;
  std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  unsigned number = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number == 0 || number > 65'535)
    return false;
  return std::all_of(host.begin(), host.end(), [bracketed](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || (bracketed && c == ':');
  });
}

Result<EnrolmentToken> read_token(std::string_view text) {
  std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return fail("the token is empty");
  text = text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
  if (text.size() > kMaxTokenText) return fail("the token is longer than 1024 characters");
  if (!text.starts_with(kPrefix)) return fail("this is no token: one begins with weir1.");
  auto bytes = from_base64url(text.substr(kPrefix.size()));
  v1::EnrolToken token;
  if (!bytes || !token.ParseFromString(*bytes))
    return fail("the token is damaged: it must be copied whole and unchanged");
  EnrolmentToken read{.address = token.address(), .secret = token.secret()};
  if (!is_host_and_port(read.address) || read.secret.size() != kTokenSecret ||
      token.door_key_sha256().size() != read.door_key_sha256.size())
    return fail("the token is damaged: address, key or secret is not as it must be");
  std::copy(token.door_key_sha256().begin(), token.door_key_sha256().end(),
            read.door_key_sha256.begin());
  return read;
}

}  // namespace weir
