// Ways to send that do not look like send(): from files and pipes, without a copy, on shared ports,
// on a socket that is connected again or put into another connection by hand. By a ring: ring.cpp;
// by frames: frames.cpp; by sockets from before the programs: before.cpp.
#include "tests/kernel/ways.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace weir::test {
namespace {

constexpr std::size_t kFile = 1 << 20;

volatile std::sig_atomic_t told_to_end = 0;

}  // namespace

bool is_over(const Target& to) {
  if (told_to_end) return true;
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1'000'000 >= to.until_ms;
}

const sockaddr* address_of(const Target& to) {
  return reinterpret_cast<const sockaddr*>(&to.address);
}

bool is_told_to_go() {
  std::puts("ready");
  std::fflush(stdout);
  char line[16];
  return read(0, line, sizeof line) > 0;
}

int open_socket(const Target& to) {
  int fd = socket(to.address.ss_family, (to.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  timeval patience{0, 200'000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  return fd;
}

int connected(const Target& to) {
  int fd = open_socket(to);
  return connect(fd, address_of(to), to.size) ? -1 : fd;
}

namespace {

// A file of any letters; a datagram takes at most kDatagram of it at once.
int file_of_letters() {
  int fd = memfd_create("letters", MFD_CLOEXEC);
  for (std::size_t done = 0; done < kFile; done += sizeof bytes)
    if (write(fd, bytes, sizeof bytes) < 0) return -1;
  return fd;
}

int by_sendfile(const Target& to) {
  int fd = connected(to), file = file_of_letters();
  while (!is_over(to)) {
    off_t at = 0;
    if (sendfile(fd, file, &at, to.udp ? kDatagram : kFile) <= 0) usleep(500);
  }
  return 0;
}

int by_splice(const Target& to) {
  int fd = connected(to), file = file_of_letters(), ends[2];
  if (pipe2(ends, O_CLOEXEC)) return 3;
  while (!is_over(to)) {
    loff_t at = 0;
    ssize_t n = splice(file, &at, ends[1], nullptr, to.udp ? kDatagram : 65536, SPLICE_F_MOVE);
    while (n > 0 && !is_over(to)) {
      ssize_t sent = splice(ends[0], nullptr, fd, nullptr, static_cast<std::size_t>(n), 0);
      if (sent > 0) n -= sent;
      if (sent <= 0) usleep(500);
    }
  }
  return 0;
}

int without_copy(const Target& to) {
  int fd = connected(to), on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on)) return kNotHere;
  char notice[512];
  while (!is_over(to)) {
    if (send(fd, bytes, to.udp ? kDatagram : sizeof bytes, MSG_ZEROCOPY | MSG_NOSIGNAL) <= 0)
      usleep(500);
    msghdr m{};  // what is finished is told on the error queue, which would fill up
    m.msg_control = notice;
    m.msg_controllen = sizeof notice;
    while (recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0) m.msg_controllen = sizeof notice;
  }
  return 0;
}

// Eight sockets on one local port.
int on_a_shared_port(const Target& to) {
  Target bound = to;
  std::vector<int> fds;
  for (int i = 0; i < 8; i++) {
    int fd = open_socket(to), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (i == 0) {
      std::memset(&bound.address, 0, sizeof bound.address);
      bound.address.ss_family = to.address.ss_family;
    }
    if (bind(fd, address_of(bound), bound.size)) return 3;
    if (i == 0) {
      getsockname(fd, reinterpret_cast<sockaddr*>(&bound.address), &bound.size);
    }
    // One TCP connection a pair of ends: the others fail, which is as well. Datagrams all go.
    if (connect(fd, address_of(to), to.size) == 0) {
      fcntl(fd, F_SETFL, O_NONBLOCK);
      fds.push_back(fd);
    }
  }
  while (!is_over(to)) {
    bool any = false;
    for (int fd : fds)
      any = send(fd, bytes, to.udp ? kDatagram : sizeof bytes, MSG_NOSIGNAL) > 0 || any;
    if (!any) usleep(500);
  }
  return 0;
}

// Connects the same socket again and again: each connection begins at a sequence of its own.
int connected_again(const Target& to) {
  int fd = open_socket(to);
  sockaddr nowhere{};
  nowhere.sa_family = AF_UNSPEC;
  while (!is_over(to)) {
    if (connect(fd, address_of(to), to.size) == 0)
      for (int i = 0; i < 4; i++) (void)!send(fd, bytes, 16384, MSG_NOSIGNAL | MSG_DONTWAIT);
    usleep(20'000);  // until it has left
    connect(fd, &nowhere, sizeof nowhere);
  }
  return 0;
}

// One datagram socket, two peers: the one that is named and the same in the next /16.
int two_peers(const Target& to) {
  int fd = open_socket(to);
  Target other = to;
  reinterpret_cast<sockaddr_in*>(&other.address)->sin_addr.s_addr += htonl(1 << 16);
  for (; !is_over(to); usleep(500))
    for (const Target& one : {to, other})
      (void)!sendto(fd, bytes, kDatagram, MSG_NOSIGNAL, address_of(one), one.size);
  return 0;
}

// Connection after connection, the first bytes of each with its SYN.
int with_the_syn(const Target& to) {
  while (!is_over(to)) {
    int fd = open_socket(to);
    (void)!sendto(fd, bytes, 1000, MSG_FASTOPEN | MSG_NOSIGNAL, address_of(to), to.size);
    usleep(2000);
    close(fd);
  }
  return 0;
}

// TCP_REPAIR: what one connection holds is put into a socket by hand, without a packet.
struct Kept {
  sockaddr_storage local{};
  socklen_t size = sizeof local;
  std::uint32_t sent = 0, received = 0;
  std::uint32_t scale = 0;  // of windows: the peer's, and ours in the upper half
};

bool repair(int fd, bool on) {
  int value = on ? 1 : 0;
  return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &value, sizeof value) == 0;
}

std::uint32_t queue_sequence(int fd, int queue, const std::uint32_t* put) {
  std::uint32_t sequence = 0;
  socklen_t size = sizeof sequence;
  setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof queue);
  if (put != nullptr)
    setsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, put, sizeof *put);
  else
    getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &sequence, &size);
  return sequence;
}

// Leaves the connection without a word and enters the one that `kept` tells of.
bool put_into(int fd, const Kept& kept, const Target& to) {
  sockaddr nowhere{};
  nowhere.sa_family = AF_UNSPEC;
  int on = 1;
  if (!repair(fd, true) || connect(fd, &nowhere, sizeof nowhere)) return false;
  if (!repair(fd, true)) return false;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  queue_sequence(fd, TCP_SEND_QUEUE, &kept.sent);
  queue_sequence(fd, TCP_RECV_QUEUE, &kept.received);
  // The second time it has its end already.
  if (bind(fd, reinterpret_cast<const sockaddr*>(&kept.local), kept.size) && errno != EINVAL)
    return false;
  if (connect(fd, address_of(to), to.size)) return false;
  // Without the scale that was agreed on, a window of 64 KiB is read as one of 64 bytes.
  tcp_repair_opt scale{TCPOPT_WINDOW, kept.scale};
  setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, &scale, sizeof scale);
  return repair(fd, false);
}

int repaired(const Target& to) {
  int fd = connected(to);
  Kept kept;
  usleep(100'000);  // until the peer's greeting is here: its sequence does not move after that
  if (!repair(fd, true)) return kNotHere;
  getsockname(fd, reinterpret_cast<sockaddr*>(&kept.local), &kept.size);
  tcp_info info{};
  socklen_t info_size = sizeof info;
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_size);
  kept.scale = info.tcpi_snd_wscale | static_cast<std::uint32_t>(info.tcpi_rcv_wscale) << 16;
  kept.sent = queue_sequence(fd, TCP_SEND_QUEUE, nullptr);
  kept.received = queue_sequence(fd, TCP_RECV_QUEUE, nullptr);
  // Once far ahead, to a neighbour that is not there, and back.
  Target away = to;
  reinterpret_cast<sockaddr_in*>(&away.address)->sin_addr.s_addr += htonl(7);
  Kept ahead = kept;
  ahead.sent += 1u << 29;
  if (!put_into(fd, ahead, away)) return 4;
  (void)!send(fd, bytes, 1, MSG_NOSIGNAL);
  usleep(50'000);
  if (!put_into(fd, kept, to)) return 5;
  while (!is_over(to))
    if (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) <= 0) usleep(500);
  return 0;
}

// Fifty datagrams that the first router throws away.
int by_one_hop(const Target& to) {
  int fd = connected(to);
  int hops = 1;
  const int level = to.address.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const int name = level == IPPROTO_IP ? IP_TTL : IPV6_UNICAST_HOPS;
  if (setsockopt(fd, level, name, &hops, sizeof hops) != 0) return 4;
  for (int n = 0; n < 50; n++) {
    send(fd, bytes, kDatagram, MSG_NOSIGNAL);
    usleep(1'000);
  }
  return 0;
}

// One association of SCTP; its peer is `sink_sctp` below.
int by_sctp(const Target& to) {
  int fd = socket(to.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP);
  if (fd < 0) return kNotHere;
  timeval patience{0, 200'000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  while (connect(fd, address_of(to), to.size) != 0 && errno != EISCONN)
    if (is_over(to)) return 4;
  while (!is_over(to))
    if (send(fd, bytes, kDatagram, MSG_NOSIGNAL) <= 0) usleep(500);
  return 0;
}

// Takes what comes by SCTP until the time is over, and prints how much it was. "ready": it listens.
int sink_sctp(const Target& at) {
  int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_SCTP);
  if (listener < 0) return kNotHere;
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = reinterpret_cast<const sockaddr_in*>(&at.address)->sin_port;
  if (bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof any) || listen(listener, 8))
    return 4;
  std::puts("ready");
  std::fflush(stdout);
  long total = 0;
  int fd = -1;
  for (; !is_over(at); usleep(1000)) {
    if (fd < 0) fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
    for (ssize_t n; fd >= 0 && (n = recv(fd, bytes, sizeof bytes, 0)) > 0;) total += n;
  }
  std::printf("received %ld\n", total);
  return 0;
}

// Joins groups until the socket's own memory is used up, so that nothing can be stored with it.
// "ready" tells that it is; a line on standard input starts the sending.
int without_memory(const Target& to) {
  int fd = connected(to);
  ipv6_mreq group{};
  group.ipv6mr_multiaddr.s6_addr[0] = 0xff;
  group.ipv6mr_multiaddr.s6_addr[1] = 0x01;  // of this interface: no packet tells of it
  group.ipv6mr_interface = 1;
  int joined = 0;
  for (; joined < 60'000; joined++) {
    group.ipv6mr_multiaddr.s6_addr[14] = static_cast<std::uint8_t>(joined >> 8);
    group.ipv6mr_multiaddr.s6_addr[15] = static_cast<std::uint8_t>(joined);
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group)) break;
  }
  std::printf("joined %d groups: %s\n", joined, std::strerror(errno));
  if (!is_told_to_go()) return 5;
  int refused = 0;
  for (int i = 0; i < 100; i++) refused += send(fd, bytes, kDatagram, MSG_NOSIGNAL) < 0;
  std::printf("refused %d of 100\n", refused);
  return 0;
}

}  // namespace

int send_by(const std::string& way, const Target& to) {
  struct sigaction end {};
  end.sa_handler = [](int) { told_to_end = 1; };
  sigaction(SIGTERM, &end, nullptr);
  std::memset(bytes, 'w', sizeof bytes);
  if (way == "sendfile") return by_sendfile(to);
  if (way == "splice") return by_splice(to);
  if (way == "zerocopy") return without_copy(to);
  if (way == "shared_port") return on_a_shared_port(to);
  if (way == "connected_again") return connected_again(to);
  if (way == "two_peers") return two_peers(to);
  if (way == "fast_open") return with_the_syn(to);
  if (way == "repair") return repaired(to);
  if (way == "ring") return by_ring(to, false);
  if (way == "ring_polled") return by_ring(to, true);
  if (way == "frames") return by_frames(to, Past::nothing);
  if (way == "frames_past_queue") return by_frames(to, Past::queue);
  if (way == "frames_of_before") return by_frames(to, Past::queue_since_before);
  if (way == "stream_of_before") return by_stream_of_before(to, false);
  if (way == "orphan_of_before") return by_stream_of_before(to, true);
  if (way == "one_hop") return by_one_hop(to);
  if (way == "frames_tagged") return by_tagged_frames(to);
  if (way == "frames_of_the_link") return by_frames_of_the_link(to);
  if (way == "sctp") return by_sctp(to);
  if (way == "sink_sctp") return sink_sctp(to);
  if (way == "without_memory") return without_memory(to);
  return 2;
}

}  // namespace weir::test
