// A batch's row, as a damaged day's file may hold it. What is taken off it is what was packed.
#include "collector/store/packed_records.h"
#include "core/base/result.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes row(data, size);
  Bytes rest = row;
  std::string again;
  while (std::optional<PackedRecord> record = unpack(rest)) {
    const std::size_t at = pack(again, *record);
    WEIR_CHECK(at + record->ciphertext.size() <= again.size());
    WEIR_CHECK(again.size() + rest.size() == size);
  }
  WEIR_CHECK(text_of(row).substr(0, again.size()) == again);
  return 0;
}
