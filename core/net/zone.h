// Registered domains of names, by the public suffix list.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// By the list's ICANN part. "" for an address; the last label or two where no suffix is known.
std::string registered_domain(std::string_view name);
// By its private part as well: what one customer of a provider has (NAME.github.io).
std::string customers_domain(std::string_view name);
// Whether somebody can register just this: no suffix, and not a name below what is registered.
bool is_customers_domain(std::string_view name);

}  // namespace weir
