// Names of hosts: normal form, registered domain (public suffix list), label boundaries.
#pragma once

#include <string>
#include <string_view>

namespace weir {

std::string normal_host(std::string_view name);  // lower case, no final dot
// By the list's ICANN part. "" for an address; the last label or two where no suffix is known.
std::string registered_domain(std::string_view name);
// By its private part as well: what one customer of a provider has (NAME.github.io).
std::string customers_domain(std::string_view name);
// Whether somebody can register just this: no suffix, and not a name below what is registered.
bool is_customers_domain(std::string_view name);
bool within_domain(std::string_view host, std::string_view domain);  // equal, or ends in "."+domain

}  // namespace weir
