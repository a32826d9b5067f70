// Sizes, then bytes.
#include "collector/store/packed_records.h"

#include "collector/store/fleet_store.h"

namespace weir {
namespace {

constexpr std::size_t kHashBytes = std::tuple_size_v<Digest>;
constexpr std::size_t kSizesBytes = 9;

char byte_of(std::size_t number, int place) {
  return static_cast<char>(number >> (8 * place) & 0xff);
}

}  // namespace

std::size_t packed_size(const PackedRecord& record) {
  return kSizesBytes + kHashBytes + record.ciphertext.size() + record.key_id.size() +
         record.nonce.size();
}

std::size_t pack(std::string& into, const PackedRecord& record) {
  const std::size_t ciphertext = record.ciphertext.size(), key_id = record.key_id.size(),
                    nonce = record.nonce.size();
  const char sizes[kSizesBytes] = {
      byte_of(ciphertext, 3), byte_of(ciphertext, 2), byte_of(ciphertext, 1),
      byte_of(ciphertext, 0), byte_of(key_id, 1),     byte_of(key_id, 0),
      byte_of(nonce, 1),      byte_of(nonce, 0),      byte_of(record.flags, 0)};
  into.append(sizes, kSizesBytes);
  into += text_of(record.previous_hash);
  const std::size_t at = into.size();
  into += text_of(record.ciphertext);
  into += text_of(record.key_id);
  into += text_of(record.nonce);
  return at;
}

std::optional<PackedRecord> unpack(Bytes& rest) {
  Reader from(rest);
  const std::size_t ciphertext = from.u32(), key_id = from.u16(), nonce = from.u16();
  PackedRecord record{.flags = from.u8(),
                      .previous_hash = from.take(kHashBytes),
                      .ciphertext = from.take(ciphertext),
                      .key_id = from.take(key_id),
                      .nonce = from.take(nonce)};
  if (!from.ok()) return std::nullopt;
  rest = from.rest();
  return record;
}

}  // namespace weir
