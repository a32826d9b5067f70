// Names of hosts: normal form, registered domain (public suffix list, ICANN part), label
// boundaries.
#pragma once

#include <string>
#include <string_view>

namespace weir {

std::string normal_host(std::string_view name);  // lower case, no final dot
// "" for an address; the last label or two where no suffix is known.
std::string registered_domain(std::string_view name);
bool within_domain(std::string_view host, std::string_view domain);  // equal, or ends in "."+domain

}  // namespace weir
