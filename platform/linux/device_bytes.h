// How much left by the devices of this network namespace, whoever sent it.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir {

// Bytes sent, headers included, by all devices but the loopback. What passes several of them (a
// bridge and its port) counts for each. 0 where it can't be read.
std::uint64_t bytes_sent_by_devices();

// The same of the text of /proc/net/dev.
std::uint64_t bytes_sent_in(std::string_view table);

}  // namespace weir
