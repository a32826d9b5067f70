// An enrolment token as text: `weir1.` and a weir.v1.EnrolToken in base64url without padding. Read
// strictly: a token that was cut, changed by a mail program or made by somebody else is no token.
// Pure. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace weir {

inline constexpr std::size_t kMaxTokenText = 1'024;      // a token has about 150 characters
inline constexpr std::size_t kTokenSecret = 16;          // bytes
inline constexpr std::size_t kMaxDoorAddress = 255 + 6;  // a name of DNS, a colon, a port

struct EnrolmentToken {
  std::string address;  // host:port of the door
  std::array<std::uint8_t, 32> door_key_sha256{};
  std::string secret;
};

// White space at its ends is allowed: a file ends with a new line.
Result<EnrolmentToken> read_token(std::string_view text);

// HOST:PORT or [HOST]:PORT with a host of letters, digits and .-: and a port of 1 to 65535.
bool is_host_and_port(std::string_view text);

}  // namespace weir
