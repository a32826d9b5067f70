// Ways to send that do not look like send(): see ways.cpp.
#pragma once

#include <sys/socket.h>

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

}  // namespace weir::test
