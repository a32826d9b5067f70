// Hashes, random bytes and signatures of the collector; OpenSSL and libsodium do them. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/base/bytes.h"

namespace weir {

std::array<std::uint8_t, 32> sha256_of(std::initializer_list<Bytes> parts);
std::string random_bytes(std::size_t count);  // from the system; ends the process if it has none
std::string random_uuid();                    // version 4, lower case
std::string hex(Bytes bytes);
std::string unhex(std::string_view text);  // empty: no hex
std::string base64url(Bytes bytes);        // without padding

struct Ed25519Pair {
  std::string public_key, secret_key;  // 32 and 64 bytes
};
Ed25519Pair new_ed25519();
// Over `context`, a zero byte, and `message`.
std::string sign_ed25519(std::string_view secret_key, std::string_view context, Bytes message);
bool verify_ed25519(std::string_view public_key, std::string_view context, Bytes message,
                    std::string_view signature);

}  // namespace weir
