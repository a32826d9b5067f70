// Names of addresses and the listening socket: see addresses.h.
#include "platform/doorman/addresses.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace weir {
namespace {

constexpr int kBacklog = 4'096;
// Of each connection (the kernel takes twice this): the library reads what is there in one go, and
// a ping of 17 bytes costs it some hundred.
constexpr int kSocketBytes = 128 << 10;

struct Addresses {
  ~Addresses() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
  addrinfo* first = nullptr;
};

}  // namespace

std::pair<std::string, std::uint16_t> name_of(const sockaddr_storage& from) {
  char text[INET6_ADDRSTRLEN] = {};
  if (from.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &from, sizeof v4);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return {text, ntohs(v4.sin_port)};
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, &from, sizeof v6);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
    ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
  else
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return {text, ntohs(v6.sin6_port)};
}

bool has_left(int fd) {
  pollfd look{fd, POLLRDHUP, 0};
  return ::poll(&look, 1, 0) == 1 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

std::int64_t silence_ms(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
  return info.tcpi_last_data_recv;
}

std::uint64_t bytes_taken(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  int unread = 0;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
      ::ioctl(fd, FIONREAD, &unread) != 0)
    return 0;
  const auto waiting = static_cast<std::uint64_t>(unread);  // may have grown since
  return info.tcpi_bytes_received - std::min<std::uint64_t>(info.tcpi_bytes_received, waiting);
}

std::string group_of(const std::string& address) {
  in6_addr v6{};
  if (::inet_pton(AF_INET6, address.c_str(), &v6) != 1) return address;
  std::fill(std::begin(v6.s6_addr) + 8, std::end(v6.s6_addr), std::uint8_t{0});
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET6, &v6, text, sizeof text);
  return text;
}

std::string key_of_peer(const std::string& peer) {
  const std::size_t kind = peer.find(':'), port = peer.rfind(':');
  if (kind == std::string::npos || port <= kind) return "";
  std::string host = peer.substr(kind + 1, port - kind - 1);
  for (const char* bracket : {"%5B", "%5D", "[", "]"})
    if (std::size_t at = host.find(bracket); at != std::string::npos)
      host.erase(at, std::strlen(bracket));
  if (host.starts_with("::ffff:")) host.erase(0, 7);
  return host.substr(0, host.find('%')) + " " + peer.substr(port + 1);
}

Result<int> listen_at(const std::string& address, const std::string& door) {
  const std::size_t colon = address.rfind(':');
  std::string host = colon == std::string::npos ? "" : address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  std::vector<std::string> hosts{host};
  if (host == "0.0.0.0") hosts.insert(hosts.begin(), "::");
  if (host == "::") hosts.push_back("0.0.0.0");
  for (const std::string& one : hosts) {
    Addresses found;
    if (::getaddrinfo(one.c_str(), port.c_str(), &hints, &found.first) != 0) continue;
    const addrinfo& at = *found.first;
    int fd = ::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1, off = 0;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    for (int buffer : {SO_RCVBUF, SO_SNDBUF})
      ::setsockopt(fd, SOL_SOCKET, buffer, &kSocketBytes, sizeof kSocketBytes);
    if (at.ai_family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd >= 0 && ::bind(fd, at.ai_addr, at.ai_addrlen) == 0 && ::listen(fd, kBacklog) == 0)
      return fd;
    if (fd >= 0) ::close(fd);
  }
  return fail(fmt::format("{}: {} can't listen there", address, door));
}

}  // namespace weir
