// SHA-256 (FIPS 180-4), for fingerprints such as JA4 whose definition names it. Protects nothing:
// where a signature or a key hangs on a digest, OpenSSL computes it.
#pragma once

#include <array>
#include <cstdint>

#include "core/base/bytes.h"

namespace weir {

std::array<std::uint8_t, 32> sha256(Bytes message);

}  // namespace weir
