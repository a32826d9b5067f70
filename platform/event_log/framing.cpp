// Framing of the event log's records: see framing.h.
#include "platform/event_log/framing.h"

#include <xxhash.h>

namespace weir::event_log {
namespace {

void put_little(std::uint64_t value, std::size_t width, std::uint8_t* out) {
  for (std::size_t i = 0; i < width; ++i) out[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

}  // namespace

// The record's number is the seed, so that a record left out, doubled or moved shows; the length is
// mixed in, so that a damaged length shows even where the bytes that follow are zero.
RecordHeader header_of(std::uint64_t number, Bytes payload) {
  RecordHeader header{};
  put_little(payload.size(), 4, header.data());
  std::uint64_t seed = number * 0x100000001ULL + payload.size();
  put_little(XXH3_64bits_withSeed(payload.data(), payload.size(), seed), 8, header.data() + 4);
  return header;
}

std::uint32_t length_in(const RecordHeader& header) {
  std::uint32_t length = 0;
  for (std::size_t i = 4; i-- > 0;) length = length << 8 | header[i];
  return length;
}

bool matches(const RecordHeader& header, std::uint64_t number, Bytes payload) {
  return header == header_of(number, payload);
}

}  // namespace weir::event_log
