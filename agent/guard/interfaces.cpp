// Interfaces by name: see interfaces.h.
#include "agent/guard/interfaces.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weir {

Interfaces::Interfaces(std::span<const FlatInterface> names)
    : count_(std::min(names.size(), kFlatInterfaces)) {
  std::copy_n(names.begin(), count_, names_.begin());
  forget_told();
  fd_ = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (fd_ >= 0 && ::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd_);
    fd_ = -1;
  }
  look();
}

Interfaces::~Interfaces() {
  if (fd_ >= 0) ::close(fd_);
}

void Interfaces::look() {
  constexpr int kMost = 1024;  // messages thrown away at once; the next look takes the rest
  std::uint8_t ignored[64];    // cut on purpose
  for (int n = 0; n < kMost && fd_ >= 0; ++n)
    if (::recv(fd_, ignored, sizeof ignored, MSG_DONTWAIT | MSG_TRUNC) < 0 && errno != ENOBUFS)
      break;
  for (std::size_t n = 0; n < count_; ++n) index_[n] = ::if_nametoindex(names_[n].data());
}

}  // namespace weir
