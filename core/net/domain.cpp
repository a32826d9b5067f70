// Names of hosts as text: see domain.h.
#include "core/net/domain.h"

#include <xxhash.h>

#include <algorithm>

namespace weir {

std::string normal_host(std::string_view name) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return out;
}

bool within_domain(std::string_view host, std::string_view domain) {
  if (domain.empty() || host.size() < domain.size()) return false;
  if (host.substr(host.size() - domain.size()) != domain) return false;
  return host.size() == domain.size() || host[host.size() - domain.size() - 1] == '.';
}

std::uint64_t destination_key(std::string_view group) {
  return std::max<std::uint64_t>(XXH3_64bits(group.data(), group.size()), 1);
}

}  // namespace weir
