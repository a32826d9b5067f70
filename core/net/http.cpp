// HTTP/1 request heads (RFC 9112).
#include "core/net/http.h"

#include <algorithm>

#include "core/base/text.h"
#include "core/net/domain.h"

namespace weir {
namespace {

constexpr std::size_t kMaxMethod = 20;  // of those registered the longest has 17 letters
constexpr std::size_t kMaxHost = 1024;  // names end at 253; the rest of a longer one says nothing

bool is_space(char c) {
  return c == ' ' || c == '\t';
}

bool is_host_header(std::string_view name) {
  constexpr std::string_view kHost = "host";
  return std::equal(name.begin(), name.end(), kHost.begin(), kHost.end(),
                    [](char a, char b) { return (a | 0x20) == b; });
}

bool is_method_letter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

bool is_common(std::string_view method) {
  constexpr std::string_view kCommon[] = {"GET",     "POST",  "PUT",    "HEAD",
                                          "OPTIONS", "PATCH", "DELETE", "CONNECT"};
  return std::find(std::begin(kCommon), std::end(kCommon), method) != std::end(kCommon);
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
  if (target.empty() || target.front() == '/') return "";
  if (method == "CONNECT") return host_of(target);
  const auto scheme = target.find("://");
  if (scheme > 8) return "";  // or there is none
  target.remove_prefix(scheme + 3);
  return host_of(target.substr(0, target.find_first_of("/?#")));
}

}  // namespace

bool maybe_http_request(Bytes stream) {
  const std::string_view text = text_of(stream.first(std::min(stream.size(), kMaxMethod + 1)));
  const auto end = std::find_if_not(text.begin(), text.end(), is_method_letter);
  if (end == text.end()) return text.size() <= kMaxMethod;
  return end != text.begin() && *end == ' ';
}

Parsed<std::optional<HttpRequest>> parse_http_request(Bytes stream, bool last) {
  std::string_view text = text_of(stream);
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos && !last) return std::nullopt;
  std::string_view line = text.substr(0, end);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  HttpRequest out;
  const std::size_t space = line.find(' ');
  out.method = visible(line.substr(0, std::min(space, kMaxMethod)));
  if (space == std::string_view::npos) return tl::unexpected(Damage::bad_header);
  std::string_view target = line.substr(space + 1), version;
  if (const std::size_t gap = target.rfind(' '); gap != std::string_view::npos) {
    version = target.substr(gap + 1);
    target = target.substr(0, gap);
  } else if (target.starts_with("HTTP/")) {  // some send no target
    std::swap(version, target);
  }
  // HTTP/0.9 had no version; nobody means it today. A line that was cut proves less: only the
  // methods that are common are believed then.
  const bool cut = end == std::string_view::npos;
  if (cut ? !is_common(out.method) : !version.starts_with("HTTP/"))
    return tl::unexpected(Damage::bad_header);
  out.version_2 = out.method == "PRI" && version == "HTTP/2.0";
  out.host = host_of_target(out.method, target);
  if (!out.host.empty() || out.version_2 || cut) return out;

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
