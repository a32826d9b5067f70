// The request line and the Host of an HTTP/1 stream's first request.
#pragma once

#include <optional>
#include <string>

#include "core/base/bytes.h"
#include "core/net/damage.h"

namespace weir {

struct HttpRequest {
  std::string method;
  std::string host;  // lower case, without port; of CONNECT and of absolute targets the target's
  bool version_2 = false;  // the preface of HTTP/2 without TLS
};

// True while `stream` may be the start of an HTTP request: a method, whatever it is, then a space.
bool maybe_http_request(Bytes stream);

// nullopt: more of the stream is needed; with `last` there is no more.
Parsed<std::optional<HttpRequest>> parse_http_request(Bytes stream, bool last);

}  // namespace weir
