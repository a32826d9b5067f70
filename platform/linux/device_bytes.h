// How much left by the devices of this network namespace, whoever sent it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

// Bytes sent, headers included, by all devices but the loopback. What passes several of them (a
// bridge and its port) counts for each. 0 where it can't be read.
std::uint64_t bytes_sent_by_devices();

// The text of /proc/net/dev, "" where it can't be read.
std::string device_table();

// The same of such a text; and of one device, if it is there.
std::uint64_t bytes_sent_in(std::string_view table);
std::optional<std::uint64_t> bytes_sent_in(std::string_view table, std::string_view device);

}  // namespace weir
