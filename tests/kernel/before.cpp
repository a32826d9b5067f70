// A stream that is connected and full before the programs are there.
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "tests/kernel/ways.h"

namespace weir::test {
namespace {

constexpr uid_t kUser = 20077;  // not root, whose account others could share
constexpr int kQueue = 2 << 20;

// A socket of that user with room for a long queue, which only root may ask for.
int roomy_socket_of_user(const Target& to) {
  if (seteuid(kUser) != 0) return -1;
  const int fd = open_socket(to);
  const int room = kQueue;
  if (seteuid(0) != 0 || setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0 ||
      setuid(kUser) != 0)
    return -1;
  return fd;
}

// Bytes that the peer has not acknowledged, once they stand still: it takes no more of them.
int left_over(int fd) {
  int queued = -1;
  for (int before = -2, same = 0; same < 20; usleep(20'000)) {
    ioctl(fd, SIOCOUTQ, &queued);
    same = queued == before ? same + 1 : 0;
    before = queued;
  }
  return queued;
}

}  // namespace

// Prints "arrived": what the peer's kernel has before "ready", and goes on after a line on standard
// input. `orphan`: it ends instead, and leaves its queue to the kernel.
int by_stream_of_before(const Target& to, bool orphan) {
  const int fd = roomy_socket_of_user(to);
  if (connect(fd, address_of(to), to.size) != 0) return 4;
  long written = 0;
  for (ssize_t n; (n = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL)) > 0;) written += n;
  const int queued = left_over(fd);
  std::printf("arrived %ld queued %d\n", written - queued, queued);
  if (orphan) return 0;
  if (!is_told_to_go()) return 5;
  while (!is_over(to))
    if (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) <= 0) usleep(500);
  return 0;
}

}  // namespace weir::test
