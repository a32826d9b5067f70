// Addresses of the resolvers in a resolv.conf; the file is the host's.
#pragma once

#include <string_view>
#include <vector>

#include "core/event/address.h"

namespace weir {

inline constexpr std::size_t kMaxHostResolvers = 16;  // glibc asks three

// `nameserver` lines; loopback ones are left out (the stub behind them is not charged).
std::vector<IpAddress> resolvers_in(std::string_view resolv_conf, bool with_loopback = false);

// The host's own: behind the stub of systemd-resolved, where there is one. Reads files.
std::vector<IpAddress> host_resolvers(bool with_loopback = false);

}  // namespace weir
