// What somebody typed as the answer of a help desk, or as a challenge. First byte: how many bytes
// it is said to be.
#include "core/base/spoken.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t wanted = data[0] % 65 + 1;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto read = read_spoken(text, wanted);
  if (!read) return 0;
  WEIR_CHECK(read->size() == wanted);
  const auto again = read_spoken(spoken(*read), wanted);
  WEIR_CHECK(again && *again == *read);
  // Bytes are said in one way alone, but for what stands between and look-alikes.
  return 0;
}
