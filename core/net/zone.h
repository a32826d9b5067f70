// Names of hosts: normal form, registered domain (public suffix list, ICANN part), label boundaries.
#pragma once

#include <string>
#include <string_view>

namespace weir {

std::string normal_host(std::string_view name);      // lower case, no final dot
std::string registered_domain(std::string_view name);  // "" for an address; the last label or two where no suffix is known
bool within_domain(std::string_view host, std::string_view domain);  // host equals it or ends in "."+domain

}  // namespace weir
