// Status line and the headers that every answer has: see answer_head.h.
#include "collector/api/answer_head.h"

#include <fmt/format.h>

#include <boost/beast/http/status.hpp>

namespace weir {

std::string answer_head(unsigned status, std::string_view type, std::string_view lines) {
  namespace http = boost::beast::http;
  auto reason = http::obsolete_reason(http::int_to_status(status));
  return fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nCache-Control: no-store\r\n"
      "X-Content-Type-Options: nosniff\r\n"
      "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
      "Strict-Transport-Security: max-age=31536000\r\n{}\r\n",
      status, std::string_view(reason.data(), reason.size()), type, lines);
}

}  // namespace weir
