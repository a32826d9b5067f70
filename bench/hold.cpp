// How long a flow that waits for an answer takes to go on, IPv4 only:
//   bench_hold receive ADDRESS PORT                    answers whatever comes with the time at
//   which it
//                                                      came; runs until it is ended
//   bench_hold plain ADDRESS PORT FLOWS ROUNDS         no Weir: from send() to the receiver's first
//   byte bench_hold held ADDRESS PORT FLOWS ROUNDS CGROUP   the kernel part on CGROUP, which we
//   enter: from
//                                                      the answer to the receiver's next byte
// Prints for each flow of each round the ms that it took, or "hung". Receiver and sender share this
// machine's clock. The kernel part is driven as the guard drives it, without its loop.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/linux/kernel_part.h"

namespace {

constexpr std::uint64_t kFlight = 16 << 10;
constexpr std::size_t kSent = 48 << 10;  // three times the first flight
constexpr int kHungMs = 3000;            // TCP tries by itself after 200 and 500 ms
constexpr int kSettleMs = 700;           // until TCP has tried twice, and stopped trickling
constexpr std::uint64_t kRows = 3;       // 0 charges, 1 holds

std::int64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec t{};
  clock_gettime(clock, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

sockaddr_in address(const char* text, const char* port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  inet_pton(AF_INET, text, &a.sin_addr);
  return a;
}

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "bench_hold: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

void add(int epoll, int fd) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

[[noreturn]] void receive(const sockaddr_in& at) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) || listen(listener, 1024))
    give_up("listen");
  const int epoll = epoll_create1(0);
  add(epoll, listener);
  std::vector<char> block(256 << 10);
  for (;;) {
    epoll_event ready[64];
    const int n = epoll_wait(epoll, ready, 64, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = ready[i].data.fd;
      if (fd == listener) {
        for (int one; (one = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;)
          add(epoll, one);
        continue;
      }
      const ssize_t got = recv(fd, block.data(), block.size(), MSG_DONTWAIT);
      const std::int64_t at_ns = now_ns();
      if (got == 0 || (got < 0 && errno != EAGAIN))
        close(fd);
      else if (got > 0)
        (void)!send(fd, &at_ns, sizeof at_ns, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  }
}

struct Flow {
  int fd = -1;
  std::int64_t came_ns = 0;  // of the byte that we wait for
};

Flow connected(const sockaddr_in& to) {
  Flow flow;
  flow.fd = socket(AF_INET, SOCK_STREAM, 0);
  if (flow.fd < 0 || connect(flow.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to))
    give_up("connect");
  fcntl(flow.fd, F_SETFL, O_NONBLOCK);
  return flow;
}

void write_all(const Flow& flow) {
  static const std::vector<char> block(kSent, 'h');
  if (send(flow.fd, block.data(), block.size(), MSG_NOSIGNAL) < 0) give_up("send");
}

// The receiver's times that have come; keeps the first one after `since`.
bool hear(Flow& flow, std::int64_t since) {
  std::int64_t times[64];
  for (;;) {
    const ssize_t got = recv(flow.fd, times, sizeof times, MSG_DONTWAIT);
    if (got <= 0) break;
    for (std::size_t n = 0; n < static_cast<std::size_t>(got) / sizeof times[0]; ++n)
      if (flow.came_ns == 0 && times[n] >= since) flow.came_ns = times[n];
  }
  return flow.came_ns != 0;
}

void await(std::vector<Flow>& flows, std::int64_t since) {
  for (const std::int64_t until = now_ns() + kHungMs * 1'000'000ll; now_ns() < until;) {
    bool all = true;
    for (Flow& flow : flows) all &= hear(flow, since);
    if (all) return;
    usleep(100);
  }
}

void print(const std::vector<Flow>& flows, std::int64_t since) {
  for (const Flow& flow : flows)
    if (flow.came_ns == 0)
      std::printf("hung\n");
    else
      std::printf("%.3f\n", static_cast<double>(flow.came_ns - since) / 1e6);
}

void plain_round(const sockaddr_in& to, std::size_t count) {
  std::vector<Flow> flows;
  for (std::size_t n = 0; n < count; ++n) flows.push_back(connected(to));
  usleep(20'000);
  const std::int64_t since = now_ns();
  for (const Flow& flow : flows) write_all(flow);
  await(flows, since);
  print(flows, since);
  for (const Flow& flow : flows) close(flow.fd);
}

weir::KernelPart loaded(const char* cgroup) {
  weir::KernelOptions options;
  options.cgroup = cgroup;
  options.max_accounts = options.max_tasks = 4096;
  auto part = weir::KernelPart::load(options);
  if (!part) {
    std::fprintf(stderr, "bench_hold: %s\n", part.error().sentence.c_str());
    std::exit(1);
  }
  const std::vector<weir_limit> rows{weir::limit_row(1ull << 40, 0, WEIR_PER_PERSON),
                                     weir::hold_row()};
  weir_state state{};
  state.unclassified = kRows;
  state.first_flight = kFlight;
  state.verdict_wait_ns = 60'000'000'000;
  state.generation = 1;
  if (!part->set_limits(rows) || !part->set_state(state)) give_up("tables");
  return std::move(*part);
}

// `place`: another each round, so that nothing is answered yet.
void held_round(weir::KernelPart& part, const sockaddr_in& to, std::size_t count,
                std::uint64_t place) {
  std::vector<Flow> flows;
  for (std::size_t n = 0; n < count; ++n) {
    flows.push_back(connected(to));
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    getsockopt(flows.back().fd, SOL_SOCKET, SO_COOKIE, &cookie, &size);
    if (!part.put_verdict(cookie, kRows, place)) give_up("verdict");
    write_all(flows.back());
  }
  const std::int64_t until = now_ns() + 10'000'000'000ll;
  while (part.holds().size() < count && now_ns() < until) usleep(1000);
  usleep(kSettleMs * 1000);
  for (Flow& flow : flows) (void)hear(flow, INT64_MAX);
  const std::vector<weir::KernelHold> holds = part.holds();
  if (holds.size() != count) {
    std::fprintf(stderr, "bench_hold: %zu of %zu flows wait\n", holds.size(), count);
    std::exit(1);
  }
  const std::int64_t since = now_ns();
  const auto day = static_cast<std::uint64_t>(now_ns(CLOCK_BOOTTIME)) + 86'400'000'000'000;
  if (!part.answer_hold(holds[0].flow.limit, holds[0].flow.tree, place, day)) give_up("answer");
  for (const weir::KernelHold& one : holds) part.forget_hold(one.cookie);
  part.wake();
  await(flows, since);
  print(flows, since);
  for (const Flow& flow : flows) close(flow.fd);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (argc == 4 && what == "receive") receive(address(argv[2], argv[3]));
  if (argc < 6) return 2;
  const sockaddr_in to = address(argv[2], argv[3]);
  const auto flows = static_cast<std::size_t>(std::atoi(argv[4]));
  const int rounds = std::atoi(argv[5]);
  std::optional<weir::KernelPart> part;
  if (what == "held" && argc == 7) {
    part.emplace(loaded(argv[6]));
    const int procs = open((std::string(argv[6]) + "/cgroup.procs").c_str(), O_WRONLY);
    if (procs < 0 || write(procs, "0", 1) != 1) give_up("cgroup");
    close(procs);
  } else if (what != "plain") {
    return 2;
  }
  for (int round = 0; round < rounds; ++round)
    if (part)
      held_round(*part, to, flows, 1000 + static_cast<std::uint64_t>(round));
    else
      plain_round(to, flows);
}
