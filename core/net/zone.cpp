// Registered domains by the public suffix list (libpsl's own copy, else the system's file).
#include "core/net/zone.h"

#include "core/event/address.h"
#include "core/net/domain.h"
#include "core/net/suffix.h"

namespace weir {
namespace {

constexpr std::size_t kMaxHost = 1024;  // escaped DNS names reach 4 x 255 characters

using IsSuffix = bool (*)(std::string_view);

std::string domain_above(std::string_view name, IsSuffix is_suffix) {
  std::string host = normal_host(name.substr(0, kMaxHost));
  if (host.empty()) return "";
  const bool maybe_address =  // a cheap test first: names outnumber addresses
      host.find(':') != std::string::npos || (host.back() >= '0' && host.back() <= '9');
  if (maybe_address && IpAddress::parse(host)) return "";
  // From the right: the suffix is the longest known one, the registered domain one label more.
  std::size_t suffix = std::string::npos, label = host.size();
  for (int depth = 0; depth < 8 && label != 0; ++depth) {  // the list's longest rules have five
    const std::size_t dot = host.rfind('.', label - 1);
    label = dot == std::string::npos ? 0 : dot;
    const std::size_t begin = dot == std::string::npos ? 0 : dot + 1;
    if (is_suffix(std::string_view(host).substr(begin))) suffix = begin;
    if (dot == std::string::npos) break;
  }
  if (suffix == 0) return host;       // a public suffix itself
  if (suffix == std::string::npos) {  // not on the list: taken as registered below the last label
    const std::size_t last = host.rfind('.');
    if (last == std::string::npos || last == 0) return host;
    suffix = last + 1;
  }
  if (suffix < 2) return host;
  const std::size_t dot = host.rfind('.', suffix - 2);
  return dot == std::string::npos ? host : host.substr(dot + 1);
}

}  // namespace

std::string registered_domain(std::string_view name) {
  return domain_above(name, is_icann_suffix);
}

std::string customers_domain(std::string_view name) {
  return domain_above(name, is_any_suffix);
}

bool is_customers_domain(std::string_view name) {
  const std::string host = normal_host(name);
  return host.find('.') != std::string::npos && !is_any_suffix(host) &&
         customers_domain(host) == host;
}

}  // namespace weir
