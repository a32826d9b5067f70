// ClientHello: whole, cut anywhere, and as the last that is to come.
#include "core/base/result.h"
#include "core/net/tls.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes stream(data, size);
  const auto whole = parse_client_hello(stream, false);
  const auto last = parse_client_hello(stream, true);
  WEIR_CHECK(!last || last->has_value());  // there is always an answer at the end
  if (!whole || !*whole) return 0;
  WEIR_CHECK((*whole)->server_name == (*last)->server_name);
  WEIR_CHECK((*whole)->ja4.size() == 36);
  for (const char c : (*whole)->server_name) WEIR_CHECK(c > 0x20 && c < 0x7f);
  for (const char c : (*whole)->alpn) WEIR_CHECK(c > 0x20 && c < 0x7f);
  const auto half = parse_client_hello(stream.first(size / 2), false);
  WEIR_CHECK(half || half.error() != Damage::truncated);
  return 0;
}
