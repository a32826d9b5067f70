// The records of a batch as a day's file holds them: one row, in which each stands after the other
// behind its sizes (big-endian): ciphertext u32, key id u16, nonce u16, flags u8; then
// previous_hash (32 bytes), ciphertext, key id, nonce. Pure. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/bytes.h"

namespace weir {

struct PackedRecord {
  std::uint8_t flags = 0;
  Bytes previous_hash, ciphertext, key_id, nonce;
};

inline constexpr std::size_t kPackedFlagsAt = 8;  // from a record's start

std::size_t packed_size(const PackedRecord& record);
// Where the ciphertext then begins in `into`. previous_hash has 32 bytes, the other two some
// dozens.
std::size_t pack(std::string& into, const PackedRecord& record);

// Takes the first one off `rest`; nothing: it is cut short.
std::optional<PackedRecord> unpack(Bytes& rest);

}  // namespace weir
