// Ways to send that do not look like send(): see ways.cpp.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace weir::test {

struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;
  bool udp = false;
  long until_ms = 0;  // CLOCK_MONOTONIC
};

// Sends as much as it can that way, until the time is over. An exit status; 77: not on this kernel.
int send_by(const std::string& way, const Target& to);

// What ways share.
inline constexpr int kNotHere = 77;
inline constexpr std::size_t kDatagram = 1000;
inline char bytes[65536];  // what is sent: letters

bool is_over(const Target& to);
bool is_told_to_go();  // prints "ready" and waits for a line on standard input
const sockaddr* address_of(const Target& to);
int open_socket(const Target& to);
int connected(const Target& to);  // -1: it can't be

// The others, each an exit status as above.
enum class Past { nothing, queue, queue_since_before };
int by_frames(const Target& to, Past past);
int by_tagged_frames(const Target& to);
int by_frames_of_the_link(const Target& to);
int by_ring(const Target& to, bool polled);
int by_stream_of_before(const Target& to, bool orphan);

}  // namespace weir::test
