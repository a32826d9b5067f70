// Names of hosts as text: normal form, label boundaries, keys. What a suffix is stands in zone.h,
// which brings the public suffix list along; the guard includes this alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

std::string normal_host(std::string_view name);                      // lower case, no final dot
bool within_domain(std::string_view host, std::string_view domain);  // equal, or ends in "."+domain
// Of a registered domain, a blocked name or a network as text: XXH3, 0 becomes 1. Accounts on disk
// and in the kernel are found by it.
std::uint64_t destination_key(std::string_view group);

}  // namespace weir
