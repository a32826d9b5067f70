// Sends as much as it can, in the shapes that a bound must survive: many flows, forks, daemons, a
// leader that exits before its thread, storms of short-lived processes. Small, without sanitizers.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/kernel/ways.h"

namespace {

constexpr std::size_t kMostSize = 65536;

struct Options {
  std::string shape = "flows";
  std::string cgroup;       // directory to enter first
  std::string address;      // IPv6, or IPv4
  std::string then_cgroup;  // directory to enter after the first half of the time
  int port = 7000;
  bool udp = false;
  bool multipath = false;  // MPTCP: the kernel makes the socket that sends
  bool fast_open = false;  // the first bytes go with the SYN
  int count = 1;           // flows or processes
  std::size_t size = 16384;
  long bytes = -1;     // per flow; -1: as much as goes
  long wait_ms = 0;    // before the first byte
  long pace_us = 200;  // between two datagrams that are refused
  long milliseconds = 3000;
  bool reply = false;  // wait for one byte of the peer, then print the milliseconds it took
  std::string self;
  std::vector<std::string> rest;
};

Options options;
char payload[kMostSize];

long now_ms() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
}

long deadline = 0;

bool enter(const std::string& cgroup) {
  int fd = open((cgroup + "/cgroup.procs").c_str(), O_WRONLY);
  bool ok = fd >= 0 && write(fd, "0", 1) == 1;
  close(fd);
  return ok;
}

weir::test::Target target() {
  weir::test::Target to;
  to.udp = options.udp;
  to.until_ms = deadline;
  auto port = htons(static_cast<std::uint16_t>(options.port));
  if (options.address.find(':') != std::string::npos) {
    auto* a = reinterpret_cast<sockaddr_in6*>(&to.address);
    a->sin6_family = AF_INET6;
    a->sin6_port = port;
    inet_pton(AF_INET6, options.address.c_str(), &a->sin6_addr);
    to.size = sizeof *a;
  } else {
    auto* a = reinterpret_cast<sockaddr_in*>(&to.address);
    a->sin_family = AF_INET;
    a->sin_port = port;
    inet_pton(AF_INET, options.address.c_str(), &a->sin_addr);
    to.size = sizeof *a;
  }
  return to;
}

int connect_one(bool block) {
  const auto [to, size, udp, until_ms] = target();
  int fd = socket(to.ss_family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC,
                  options.multipath ? IPPROTO_MPTCP : 0);
  if (fd < 0) return -1;
  if (options.fast_open) {
    ssize_t n = sendto(fd, payload, options.size, MSG_FASTOPEN | MSG_NOSIGNAL,
                       reinterpret_cast<const sockaddr*>(&to), size);
    std::printf("fast open took %zd\n", n);
    if (options.bytes > 0) options.bytes -= n;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
  }
  if (!block) fcntl(fd, F_SETFL, O_NONBLOCK);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), size) && errno != EINPROGRESS) {
    int e = errno;
    close(fd);
    errno = e;
    return -1;
  }
  return fd;
}

// Until everything is acknowledged. Reads what came: closing with unread bytes would reset the
// connection and throw away what is still queued.
void drain(int fd) {
  char answer[64];
  for (int queued = 1; queued > 0 && now_ms() < deadline;) {
    while (recv(fd, answer, sizeof answer, MSG_DONTWAIT) > 0) {
    }
    if (ioctl(fd, SIOCOUTQ, &queued)) return;
    if (queued > 0) usleep(2000);
  }
}

// All flows of this process in one loop, until the time is over or each has sent its bytes.
int send_flows(int flows) {
  std::vector<pollfd> fds;
  std::vector<long> left;
  if (options.wait_ms) usleep(static_cast<useconds_t>(options.wait_ms) * 1000);
  for (int i = 0; i < flows; i++) {
    int fd = connect_one(false);
    if (fd < 0) {
      std::printf("connect: %s\n", std::strerror(errno));
      return 3;
    }
    fds.push_back({fd, POLLOUT, 0});
    left.push_back(options.bytes);
  }
  int failed = 0;
  bool moved = options.then_cgroup.empty();
  long half = now_ms() + (deadline - now_ms()) / 2;
  while (now_ms() < deadline) {
    if (!moved && now_ms() > half) {
      if (!enter(options.then_cgroup)) return 4;
      for (pollfd& p : fds) close(p.fd), p.fd = connect_one(false);  // and new sockets there
      moved = true;
    }
    bool open_flow = false;
    poll(fds.data(), fds.size(), 20);
    for (std::size_t i = 0; i < fds.size(); i++) {
      if (fds[i].fd < 0 || left[i] == 0) continue;
      open_flow = true;
      if (!fds[i].revents) continue;
      std::size_t n = options.size;
      if (left[i] > 0 && n > static_cast<std::size_t>(left[i]))
        n = static_cast<std::size_t>(left[i]);
      ssize_t sent = send(fds[i].fd, payload, n, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0 && left[i] > 0) left[i] -= sent;
      if (sent < 0 && errno == EPERM) usleep(static_cast<useconds_t>(options.pace_us));
      if (sent < 0 && errno != EAGAIN && errno != EPERM && errno != ENOTCONN && errno != ENOBUFS) {
        std::printf("send: %s after %ld ms\n", std::strerror(errno),
                    now_ms() - (deadline - options.milliseconds));
        failed = 3;
        close(fds[i].fd);
        fds[i].fd = -1;
      }
    }
    if (!open_flow) break;
  }
  if (options.bytes >= 0 && !options.udp && !options.reply)
    for (const pollfd& p : fds)
      if (p.fd >= 0) drain(p.fd);
  if (options.reply) {
    char answer = 0;
    for (pollfd& p : fds) {
      fcntl(p.fd, F_SETFL, 0);
      p.events = POLLIN;
      if (poll(&p, 1, static_cast<int>(options.milliseconds)) > 0 && recv(p.fd, &answer, 1, 0) == 1)
        std::printf("reply after %ld ms\n", now_ms() - (deadline - options.milliseconds));
    }
  }
  return failed;
}

void wait_all() {
  while (wait(nullptr) > 0 || errno == EINTR) {
  }
}

void log_in_as(int uid) {
  int fd = open("/proc/self/loginuid", O_WRONLY);
  std::string text = std::to_string(uid);
  if (fd < 0 || write(fd, text.c_str(), text.size()) < 0)
    std::printf("loginuid: %s\n", std::strerror(errno));
  close(fd);
}

int forks(bool own_login) {
  for (int i = 0; i < options.count; i++) {
    if (fork() != 0) continue;
    if (own_login) log_in_as(20000 + i);
    _exit(send_flows(1));
  }
  wait_all();
  return 0;
}

int daemons() {
  for (int i = 0; i < options.count; i++) {
    if (fork() != 0) continue;
    setsid();
    if (fork() != 0) _exit(0);
    while (getppid() != 1 && now_ms() < deadline) usleep(1000);  // wait to be re-parented
    setsid();
    _exit(send_flows(1));
  }
  wait_all();
  while (now_ms() < deadline) usleep(20000);
  return 0;
}

void* late_thread(void*) {
  usleep(200'000);  // the leader is a zombie by now
  _exit(send_flows(options.count));
}

int leader_exits() {
  int fd = connect_one(true);  // the leader sends too, so that a tree lost with it would show
  send(fd, payload, options.udp ? options.size : 1400, MSG_NOSIGNAL);
  pthread_t thread;
  pthread_create(&thread, nullptr, late_thread, nullptr);
  syscall(SYS_exit, 0);  // this thread only
  return 0;
}

// Each child sends one packet's worth and is gone; every second one calls exec in between.
int storm() {
  int running = 0;
  for (long n = 0; now_ms() < deadline; n++) {
    while (running >= 20) running -= wait(nullptr) > 0;
    if (fork() != 0) {
      running++;
      continue;
    }
    if (n % 2) {
      std::string port = std::to_string(options.port), size = std::to_string(options.size);
      const char* udp = options.udp ? "--udp" : "--tcp";
      execl(options.self.c_str(), options.self.c_str(), "--to", options.address.c_str(), "--port",
            port.c_str(), "--size", size.c_str(), "--bytes", size.c_str(), "--ms", "300", udp,
            nullptr);
      _exit(9);
    }
    deadline = now_ms() + 300;
    options.bytes = static_cast<long>(options.size);
    _exit(send_flows(1));
  }
  wait_all();
  return 0;
}

// Calls exec of itself `count` times, each time with one slash more in front of its path (up to
// 64).
int exec_itself() {
  const std::size_t slashes = options.self.find_first_not_of('/');
  const std::string path = std::string(slashes % 64 + 1, '/') + options.self.substr(slashes);
  const std::string left = std::to_string(options.count - 1);
  if (options.count > 0)
    execl(path.c_str(), path.c_str(), "--shape", "execs", "--count", left.c_str(), nullptr);
  std::puts("done");
  return static_cast<int>(sleep(600));
}

enum class Logins { none, one, each };

// Starts `count` programs, as a launcher does: each by exec of the arguments after "--". With
// logins as cron does it: a child logs a person in and forks once more.
int launch(Logins logins) {
  for (int i = 0; i < options.count; i++) {
    if (fork() != 0) continue;
    if (logins != Logins::none) {
      log_in_as(20000 + (logins == Logins::each ? i : 0));
      if (fork() != 0) {
        wait_all();
        _exit(0);
      }
    }
    std::vector<char*> args;
    for (std::string& a : options.rest) args.push_back(a.data());
    args.push_back(nullptr);
    execv(args[0], args.data());
    _exit(9);
  }
  wait_all();
  return 0;
}

// Prints "ready", waits for a line on standard input, then sends on the socket made before.
int socket_first() {
  int fd = connect_one(true);
  std::puts("ready");
  char line[16];
  if (read(0, line, sizeof line) <= 0) return 5;
  deadline = now_ms() + options.milliseconds;
  long sent = 0;
  while (now_ms() < deadline && (options.bytes < 0 || sent < options.bytes)) {
    ssize_t n = send(fd, payload, options.size, MSG_NOSIGNAL);
    if (n > 0)
      sent += n;
    else
      usleep(200);
  }
  return 0;
}

// `count` datagrams, each after the answers to the one before.
int ping() {
  int fd = connect_one(true);
  char answer[2048];
  for (int i = 0; i < options.count; i++) {
    send(fd, payload, options.size, MSG_NOSIGNAL);
    pollfd p{fd, POLLIN, 0};
    poll(&p, 1, 200);
    usleep(20'000);
    while (recv(fd, answer, sizeof answer, MSG_DONTWAIT) > 0) {
    }
  }
  return 0;
}

// A datagram each millisecond, whatever becomes of it, until the time is over.
int pulse() {
  int fd = connect_one(true);
  for (; fd >= 0 && now_ms() < deadline; usleep(1000))
    (void)send(fd, payload, options.size, MSG_NOSIGNAL | MSG_DONTWAIT);
  return fd < 0 ? 3 : 0;
}

// What the kernel asks its neighbours, from a raw socket: `count` of `size` bytes.
int neighbour() {
  int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
  int hops = 255;
  setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof hops);
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  if (fd < 0 || inet_pton(AF_INET6, options.address.c_str(), &to.sin6_addr) != 1) return 3;
  std::memset(payload, 0, options.size);
  payload[0] = static_cast<char>(135);  // neighbour solicitation
  int left = 0;
  for (int i = 0; i < options.count; i++)
    left += sendto(fd, payload, options.size, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) > 0;
  return left > 0 ? 0 : 3;
}

// Sends `bytes`, then keeps the connection until the time is over.
int send_and_stay() {
  int fd = connect_one(true);
  if (fd < 0) return 3;
  for (long left = options.bytes; left > 0;) {
    ssize_t n =
        send(fd, payload, static_cast<std::size_t>(left < 65536 ? left : 65536), MSG_NOSIGNAL);
    if (n <= 0) return 3;
    left -= n;
  }
  while (now_ms() < deadline) usleep(10'000);
  return 0;
}

// One stream: sends `bytes` and prints "sent", again after each line from its standard input.
int send_in_steps() {
  int fd = connect_one(true);
  if (fd < 0) return 3;
  char line[16];
  do {
    for (long left = options.bytes; left > 0;) {
      ssize_t n =
          send(fd, payload, static_cast<std::size_t>(left < 65536 ? left : 65536), MSG_NOSIGNAL);
      if (n <= 0) return 4;
      left -= n;
    }
    std::puts("sent");
  } while (read(0, line, sizeof line) > 0);
  return 0;
}

// Answers each datagram at the port with `count` times `size` bytes, until the time is over.
int answer_all() {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(static_cast<std::uint16_t>(options.port));
  if (bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any)) return 3;
  std::puts("ready");
  char question[2048];
  while (now_ms() < deadline) {
    pollfd p{fd, POLLIN, 0};
    if (poll(&p, 1, 50) <= 0) continue;
    sockaddr_in from{};
    socklen_t size = sizeof from;
    if (recvfrom(fd, question, sizeof question, 0, reinterpret_cast<sockaddr*>(&from), &size) <= 0)
      continue;
    for (int n = 0; n < options.count; n++)
      sendto(fd, payload, options.size, 0, reinterpret_cast<sockaddr*>(&from), size);
  }
  return 0;
}

// Listens on the port, prints "ready", sends `bytes` to the first who connects.
int serve() {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(static_cast<std::uint16_t>(options.port));
  if (bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof any) || listen(listener, 1))
    return 3;
  std::puts("ready");
  int fd = accept(listener, nullptr, nullptr);
  for (long left = options.bytes; left > 0;) {
    ssize_t n =
        send(fd, payload, static_cast<std::size_t>(left < 65536 ? left : 65536), MSG_NOSIGNAL);
    if (n <= 0) return 4;
    left -= n;
  }
  close(fd);
  return 0;
}

void parse(int argc, char** argv) {
  options.self = argv[0];
  for (int i = 1; i < argc; i++) {
    std::string a = argv[i];
    auto value = [&] { return std::string(i + 1 < argc ? argv[++i] : ""); };
    if (a == "--") {
      for (i++; i < argc; i++) options.rest.push_back(argv[i]);
    } else if (a == "--udp") {
      options.udp = true;
    } else if (a == "--multipath") {
      options.multipath = true;
    } else if (a == "--fast-open") {
      options.fast_open = true;
    } else if (a == "--reply") {
      options.reply = true;
    } else if (a == "--shape") {
      options.shape = value();
    } else if (a == "--cgroup") {
      options.cgroup = value();
    } else if (a == "--then-cgroup") {
      options.then_cgroup = value();
    } else if (a == "--to") {
      options.address = value();
    } else if (a == "--port") {
      options.port = std::atoi(value().c_str());
    } else if (a == "--count") {
      options.count = std::atoi(value().c_str());
    } else if (a == "--size") {
      options.size = std::strtoul(value().c_str(), nullptr, 10);
    } else if (a == "--bytes") {
      options.bytes = std::atol(value().c_str());
    } else if (a == "--wait") {
      options.wait_ms = std::atol(value().c_str());
    } else if (a == "--pace") {
      options.pace_us = std::atol(value().c_str());
    } else if (a == "--ms") {
      options.milliseconds = std::atol(value().c_str());
    }
  }
  if (options.size > kMostSize) options.size = kMostSize;
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  parse(argc, argv);
  deadline = now_ms() + options.milliseconds;
  std::memset(payload, 'w', sizeof payload);
  if (!options.cgroup.empty() && !enter(options.cgroup)) {
    std::printf("cannot enter %s\n", options.cgroup.c_str());
    return 2;
  }
  if (options.shape == "forks") return forks(false);
  if (options.shape == "logins") return forks(true);
  if (options.shape == "daemons") return daemons();
  if (options.shape == "leader") return leader_exits();
  if (options.shape == "storm") return storm();
  if (options.shape == "execs") return exec_itself();
  if (options.shape == "launch") return launch(Logins::none);
  if (options.shape == "log_in") return launch(Logins::one);
  if (options.shape == "log_in_each") return launch(Logins::each);
  if (options.shape == "stay") return send_and_stay();
  if (options.shape == "steps") return send_in_steps();
  if (options.shape == "serve") return serve();
  if (options.shape == "ping") return ping();
  if (options.shape == "pulse") return pulse();
  if (options.shape == "neighbour") return neighbour();
  if (options.shape == "answer") return answer_all();
  if (options.shape == "way") return weir::test::send_by(options.rest.at(0), target());
  if (options.shape == "socket_first") return socket_first();
  return send_flows(options.count);
}
