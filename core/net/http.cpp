// HTTP/1 request heads (RFC 9112).
#include "core/net/http.h"

#include <algorithm>
#include <array>

#include "core/base/text.h"
#include "core/net/zone.h"

namespace weir {
namespace {

constexpr std::array<std::string_view, 21> kMethods = {
    "GET",     "POST",   "PUT",       "HEAD",     "DELETE", "OPTIONS",     "PATCH",
    "CONNECT", "TRACE",  "PRI",       "PROPFIND", "MKCOL",  "COPY",        "MOVE",
    "LOCK",    "UNLOCK", "PROPPATCH", "REPORT",   "SEARCH", "RPC_IN_DATA", "RPC_OUT_DATA"};
constexpr std::size_t kMaxHost = 1024;  // names end at 253; the rest of a longer one says nothing

bool is_space(char c) {
  return c == ' ' || c == '\t';
}

bool is_host_header(std::string_view name) {
  constexpr std::string_view kHost = "host";
  return std::equal(name.begin(), name.end(), kHost.begin(), kHost.end(),
                    [](char a, char b) { return (a | 0x20) == b; });
}

// host[:port], [v6][:port], user@host.
std::string host_of(std::string_view authority) {
  authority = authority.substr(0, kMaxHost);
  if (const auto at = authority.rfind('@'); at != std::string_view::npos)
    authority.remove_prefix(at + 1);
  if (!authority.empty() && authority.front() == '[')
    authority = authority.substr(1, authority.find(']') - 1);
  else
    authority = authority.substr(0, authority.find(':'));
  return normal_host(visible(authority));
}

std::string host_of_target(std::string_view method, std::string_view target) {
  if (method == "CONNECT") return host_of(target);
  const auto scheme = target.find("://");
  if (target.empty() || target.front() == '/' || scheme == std::string_view::npos || scheme > 8)
    return "";
  target.remove_prefix(scheme + 3);
  return host_of(target.substr(0, target.find_first_of("/?#")));
}

}  // namespace

bool maybe_http_request(Bytes stream) {
  const std::string_view text = text_of(stream);
  return std::any_of(kMethods.begin(), kMethods.end(), [&](std::string_view method) {
    const std::size_t n = std::min(text.size(), method.size());
    return text.substr(0, n) == method.substr(0, n) &&
           (text.size() <= method.size() || text[method.size()] == ' ');
  });
}

Parsed<std::optional<HttpRequest>> parse_http_request(Bytes stream, bool last) {
  std::string_view text = text_of(stream);
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos && !last) return std::nullopt;
  std::string_view line = text.substr(0, end);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  HttpRequest out;
  const std::size_t space = line.find(' ');
  out.method = visible(line.substr(0, std::min(space, std::size_t{16})));
  if (space == std::string_view::npos) return tl::unexpected(Damage::bad_header);
  std::string_view target = line.substr(space + 1);
  const std::size_t version = target.rfind(' ');
  if (end != std::string_view::npos) {  // HTTP/0.9 had no version; nobody means it today
    if (version == std::string_view::npos || target.substr(version + 1, 5) != "HTTP/")
      return tl::unexpected(Damage::bad_header);
    out.version_2 = out.method == "PRI" && target.substr(version + 1) == "HTTP/2.0";
  }
  target = target.substr(0, version);
  out.host = host_of_target(out.method, target);
  if (!out.host.empty() || out.version_2 || end == std::string_view::npos) return out;

  for (text.remove_prefix(end + 1);;) {
    const std::size_t stop = text.find('\n');
    if (stop == std::string_view::npos) break;
    line = text.substr(0, stop);
    text.remove_prefix(stop + 1);
    if (line.empty() || line == "\r") return out;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_host_header(line.substr(0, colon))) continue;
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && is_space(value.front())) value.remove_prefix(1);
    while (!value.empty() && (is_space(value.back()) || value.back() == '\r'))
      value.remove_suffix(1);
    out.host = host_of(value);
    return out;
  }
  if (!last) return std::nullopt;
  return out;
}

}  // namespace weir
