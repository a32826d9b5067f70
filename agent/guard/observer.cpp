// Tier 4: observing without a kernel part: see observer.h.
#include "agent/guard/observer.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_ether.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/guard/descriptors.h"
#include "agent/guard/messages.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

constexpr int kBackoffMs = 1000;  // nothing is bounded meanwhile, so there is no hurry

// One engine, to its end. True: a signal ended us both.
class Watch {
 public:
  Watch(Spawner& spawner, const FlatPolicy& policy, int signal_fd, int& ready_fd)
      : spawner_(spawner), session_(policy.rows()), signal_fd_(signal_fd), ready_fd_(ready_fd) {}

  Result<bool> run(int packets) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
      return fail(fmt::format("socketpair: {}", std::strerror(errno)));
    const int fds[] = {pair[1], packets, fds::kPolicy};
    bool spawned = spawner_.spawn(Role::engine, fds);
    ::close(pair[1]);
    if (!spawned) {
      ::close(pair[0]);
      return fail("the spawner is gone");
    }
    bool stopped = until_end(pair[0]);
    ::close(pair[0]);
    return stopped;
  }

 private:
  bool until_end(int engine) {
    for (;;) {
      pollfd wanted[3] = {
          {signal_fd_, POLLIN, 0}, {spawner_.fd(), POLLIN, 0}, {heard_ ? engine : -1, POLLIN, 0}};
      ::poll(wanted, 3, -1);
      if (wanted[0].revents != 0) {
        wire::Stop stop;
        std::uint32_t sequence = 0;
        Bytes bytes = wire::seal(stop, sequence);
        (void)!::send(engine, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        pollfd end{spawner_.fd(), POLLIN, 0};
        ::poll(&end, 1, kBackoffMs);
        return true;
      }
      if (wanted[2].revents != 0) hear(engine);
      if (wanted[1].revents != 0 && (spawner_.ended() || spawner_.is_gone())) return false;
    }
  }

  // Orders are heard for their form; there is nothing here that could obey one.
  void hear(int engine) {
    std::uint8_t buffer[wire::kReceiveBuffer];
    ssize_t got = ::recv(engine, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0) return;
    if (got == 0 || !session_.on({buffer, static_cast<std::size_t>(got)}, clock_.next())) {
      heard_ = false;
      spawner_.kill(Role::engine);
      return;
    }
    if (ready_fd_ < 0) return;
    (void)!::write(ready_fd_, "r", 1);
    ::close(std::exchange(ready_fd_, -1));
  }

  struct Clock {  // the rate is no matter here: every message is a second later than the last
    std::uint64_t now = 0;
    std::uint64_t next() { return now += 1'000'000'000; }
  };

  Spawner& spawner_;
  wire::EngineSession session_;
  int signal_fd_;
  int& ready_fd_;
  bool heard_ = true;
  Clock clock_;
};

}  // namespace

bool kernel_takes_bpf() {
  std::vector<KernelProgram> programs = KernelPart::probe();
  return std::all_of(programs.begin(), programs.end(), [](const KernelProgram& program) {
    return program.loaded || !program.required;
  });
}

Result<void> observe(Spawner& spawner, const FlatPolicy& policy, int signal_fd, int ready_fd) {
  for (;;) {
    int packets = ::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (packets < 0) return fail(fmt::format("no packet socket either: {}", std::strerror(errno)));
    Result<bool> stopped = Watch(spawner, policy, signal_fd, ready_fd).run(packets);
    ::close(packets);
    if (!stopped) return tl::unexpected(stopped.error());
    if (*stopped) return {};
    pollfd signal{signal_fd, POLLIN, 0};
    if (::poll(&signal, 1, kBackoffMs) > 0) return {};
  }
}

}  // namespace weir
