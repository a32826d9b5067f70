// Loads and sinks for the benches, IPv4 only:
//   net_load sink ADDRESS PORT              TCP and UDP sink; prints nothing, runs until it is
//   ended net_load tcp|udp|connect|dial ADDRESS PORT SECONDS   one figure: Gbit/s, 64-byte
//   datagrams/s, connects and closes/s, us that half of all connect() calls take at most
//   net_load hasty ADDRESS PORT SECONDS     60 processes that connect, write 128 KiB, close, again
//   and again
#include <arpa/inet.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kProcesses = 60;
constexpr std::size_t kHastyBytes =
    64 * 1024;  // what one connection of `hasty` leaves in the send buffer
constexpr int kConnectWaitMs = 200;
constexpr int kReadsPerTurn = 64;  // one busy flow must not keep the others waiting
std::vector<char> g_block(128 * 1024, 'x');

sockaddr_in address(const char* text, const char* port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  inet_pton(AF_INET, text, &a.sin_addr);
  return a;
}

const sockaddr* generic(const sockaddr_in& a) {
  return reinterpret_cast<const sockaddr*>(&a);
}

// Everything on one thread: what waits to be accepted must never fill the backlog.
void swallow(int fd, bool datagrams) {
  for (int i = 0; i < kReadsPerTurn; ++i) {
    const auto n = recv(fd, g_block.data(), g_block.size(),
                        MSG_TRUNC | MSG_DONTWAIT);  // TCP: dropped uncopied
    if (n > 0 || (n == 0 && datagrams)) continue;
    if (n == 0 || (errno != EAGAIN && errno != EINTR && !datagrams)) close(fd);
    return;
  }
}

void add(int epoll, int fd) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

int sink(const sockaddr_in& at) {
  const int on = 1, epoll = epoll_create1(0);
  const int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
            udp = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(tcp, generic(at), sizeof at) != 0 || listen(tcp, 4096) != 0 ||
      bind(udp, generic(at), sizeof at) != 0) {
    std::perror("net_load: sink");
    return 1;
  }
  add(epoll, tcp);
  add(epoll, udp);
  std::vector<epoll_event> ready(256);
  for (;;) {
    const int n = epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), -1);
    for (int i = 0; i < n; ++i) {
      const int fd = ready[static_cast<std::size_t>(i)].data.fd;
      if (fd != tcp) {
        swallow(fd, fd == udp);
        continue;
      }
      for (int one; (one = accept4(tcp, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) add(epoll, one);
    }
  }
}

double tcp(const sockaddr_in& to, Clock::time_point end) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, generic(to), sizeof to) != 0) return 0;
  std::uint64_t sent = 0;
  const auto began = Clock::now();
  while (Clock::now() < end) {
    const auto n = send(fd, g_block.data(), g_block.size(), MSG_NOSIGNAL);
    if (n < 0) break;
    sent += static_cast<std::uint64_t>(n);
  }
  const std::chrono::duration<double> took = Clock::now() - began;
  close(fd);
  return static_cast<double>(sent) * 8 / took.count() / 1e9;
}

double udp(const sockaddr_in& to, Clock::time_point end) {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (connect(fd, generic(to), sizeof to) != 0) return 0;
  std::uint64_t sent = 0;
  const auto began = Clock::now();
  while (Clock::now() < end) {
    for (int i = 0; i < 64; ++i)
      sent += send(fd, g_block.data(), 64, 0) == 64;  // a refused one is not sent
  }
  const std::chrono::duration<double> took = Clock::now() - began;
  close(fd);
  return static_cast<double>(sent) / took.count();
}

const linger reset{1, 0};  // no TIME_WAIT: ports would run out

double dial(const sockaddr_in& to, Clock::time_point end) {
  std::vector<double> took;
  while (Clock::now() < end) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const auto began = Clock::now();
    const bool done = connect(fd, generic(to), sizeof to) == 0;
    const std::chrono::duration<double, std::micro> one = Clock::now() - began;
    if (done) took.push_back(one.count());
    close(fd);
  }
  if (took.empty()) return 0;
  std::nth_element(took.begin(), took.begin() + static_cast<std::ptrdiff_t>(took.size() / 2),
                   took.end());
  return took[took.size() / 2];
}

double connects(const sockaddr_in& to, Clock::time_point end) {
  std::uint64_t done = 0;
  const auto began = Clock::now();
  while (Clock::now() < end) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    done += connect(fd, generic(to), sizeof to) == 0;
    close(fd);
  }
  const std::chrono::duration<double> took = Clock::now() - began;
  return static_cast<double>(done) / took.count();
}

void hasty_one(const sockaddr_in& to, Clock::time_point end) {
  while (Clock::now() < end) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    pollfd p{fd, POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    const int room = kHastyBytes;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    connect(fd, generic(to), sizeof to);
    if (poll(&p, 1, kConnectWaitMs) == 1 &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0) {
      [[maybe_unused]] const auto n = send(fd, g_block.data(), kHastyBytes, MSG_NOSIGNAL);
    }
    close(fd);  // what is in the buffer leaves after it: the socket has no owner any more
  }
}

int hasty(const sockaddr_in& to, Clock::time_point end) {
  for (int i = 0; i < kProcesses; ++i) {
    if (fork() == 0) {
      hasty_one(to, end);
      _exit(0);
    }
  }
  while (wait(nullptr) > 0 || errno == EINTR) {
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (argc < 4 || (what != "sink" && argc < 5)) {
    return std::fprintf(stderr,
                        "usage: net_load sink|tcp|udp|connect|dial|hasty ADDRESS PORT [SECONDS]\n"),
           2;
  }
  const sockaddr_in a = address(argv[2], argv[3]);
  if (what == "sink") return sink(a);
  const auto end =
      Clock::now() + std::chrono::milliseconds(static_cast<long>(std::atof(argv[4]) * 1000));
  if (what == "hasty") return hasty(a, end);
  const double figure = what == "tcp"    ? tcp(a, end)
                        : what == "udp"  ? udp(a, end)
                        : what == "dial" ? dial(a, end)
                                         : connects(a, end);
  std::printf("%.3f\n", figure);
}
