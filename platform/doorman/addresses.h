// Addresses of who knocks, whether it still does or speaks, and a socket to knock at. Thread: any.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <utility>

#include "core/base/result.h"

namespace weir {

// "192.0.2.1" or "2001:db8::1", and the port.
std::pair<std::string, std::uint16_t> name_of(const sockaddr_storage& from);
// Whose turn it is: one IPv4 address, or one network of IPv6, in which a machine has 2^64.
std::string group_of(const std::string& address);
// gRPC writes "ipv4:192.0.2.1:5" and "ipv6:%5B2001:db8::1%5D:5"; here "192.0.2.1 5". "": neither.
std::string key_of_peer(const std::string& peer);
// Gave up before its turn: no handshake is worth beginning.
bool has_left(int fd);
std::int64_t silence_ms(int fd);    // since its last byte came
std::uint64_t bytes_taken(int fd);  // that came and were read; 0: not to be had
// HOST:PORT; port 0: any free one. All addresses are those of IPv6 and of IPv4. `door` is named
// where that fails.
Result<int> listen_at(const std::string& address, const std::string& door);

}  // namespace weir
