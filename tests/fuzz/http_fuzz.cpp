// HTTP/1 request heads.
#include "core/base/result.h"
#include "core/net/http.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes stream(data, size);
  (void)maybe_http_request(stream);
  const auto first = parse_http_request(stream, false);
  const auto last = parse_http_request(stream, true);
  WEIR_CHECK(!last || last->has_value());
  if (!first || !*first) return 0;
  WEIR_CHECK(last && (*first)->host == (*last)->host);
  for (const char c : (*first)->host) WEIR_CHECK(c > 0x20 && c < 0x7f);
  return 0;
}
