// The desk of the kernel tests: namespaces, peer, cgroups, traffic programs.
#include "tests/kernel/desk.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/remove_cgroup.h"

namespace weir::test {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr int kFirstPort = 7000;
constexpr int kPorts = 256;  // one a test, kLossyPort and kChattyPort before the last, 53 last
static_assert(kChattyPort == kFirstPort + kPorts - 2 && kLossyPort == kChattyPort - 1);

struct Counted {  // shared with the peer
  std::atomic<std::uint64_t> bytes[kPorts];
  std::atomic<std::uint64_t> datagrams[kPorts];
};

struct World {  // made once per process
  Counted* counted = nullptr;
  pid_t peer = -1;
  std::string bpffs;
  std::string problem;
};

int index_of(int port) {
  return port == 53 ? kPorts - 1 : port - kFirstPort;
}

int run(const std::string& command) {
  // Not system(): the shell must not outlive a failing test, and its words belong to this one.
  return WEXITSTATUS(std::system((command + " >/dev/null 2>&1").c_str()));
}

// The socket, and those that it accepts, lose one packet in eight: a classic filter on a random
// number.
void lose_some(int fd) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(SKF_AD_OFF + SKF_AD_RANDOM)),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 7, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  sock_fprog filter{4, program};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

int listen_on(int type, int port) {
  int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int off = 0, on = 1, room = 8 << 20;
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(static_cast<std::uint16_t>(port));
  if (bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any)) return -1;
  if (port == kLossyPort) lose_some(fd);
  if (type == SOCK_STREAM && listen(fd, 1024)) return -1;
  return fd;
}

// The peer: counts payload, answers each first read of a TCP flow with one byte and each datagram
// of port 53 with itself.
[[noreturn]] void be_peer(Counted* counted) {
  int poller = epoll_create1(EPOLL_CLOEXEC);
  enum : std::uint64_t { kListener = 1, kStream = 2, kDatagram = 3 };
  auto watch = [&](int fd, std::uint64_t kind, int index) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = kind << 60 | static_cast<std::uint64_t>(index) << 32 | static_cast<unsigned>(fd);
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
  };
  for (int i = 0; i < kPorts; i++) {
    int port = i == kPorts - 1 ? 53 : kFirstPort + i;
    watch(listen_on(SOCK_STREAM, port), kListener, i);
    watch(listen_on(SOCK_DGRAM, port), kDatagram, i);
  }
  static char buffer[1 << 20];
  for (;;) {
    epoll_event events[256];
    int n = epoll_wait(poller, events, 256, -1);
    for (int k = 0; k < n; k++) {
      std::uint64_t data = events[k].data.u64;
      int fd = static_cast<int>(data & 0xffffffff);
      int index = static_cast<int>(data >> 32 & 0xfff);
      if (data >> 60 == kListener) {
        for (int flow; (flow = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
          watch(flow, kStream, index);
          (void)!send(flow, "k", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        continue;
      }
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      ssize_t got = 0;
      while ((got = recvfrom(fd, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from),
                             &(size = sizeof from))) > 0) {
        counted->bytes[index] += static_cast<std::uint64_t>(got);
        counted->datagrams[index]++;
        int answers = data >> 60 != kDatagram ? 0
                      : index == kPorts - 1   ? 1
                      : index == kPorts - 2   ? 3
                                              : 0;
        for (; answers > 0; answers--)
          sendto(fd, buffer, static_cast<std::size_t>(got), MSG_DONTWAIT,
                 reinterpret_cast<sockaddr*>(&from), size);
      }
      bool over = data >> 60 == kStream && (got == 0 || (errno != EAGAIN && errno != EINTR));
      if (over) close(fd);
    }
  }
}

// Addresses and neighbours are fixed, so that no datagram is lost while one is looked for.
std::string wire_up(pid_t peer) {
  std::string out = fmt::format("nsenter --net=/proc/{}/ns/net ", peer);
  const std::vector<std::string> commands = {
      "ip link set lo up",
      // Takes data without a cookie. Before its device is there: then it listens.
      out + "sh -c 'echo 1543 > /proc/sys/net/ipv4/tcp_fastopen'",
      fmt::format("ip link add desk0 address 02:00:00:00:77:01 type veth peer name peer0 address "
                  "02:00:00:00:77:02 netns {}",
                  peer),
      "ip addr add 10.77.0.1/24 dev desk0",
      "ip addr add 10.78.0.1/24 dev desk0",
      "ip addr add fd77::1/64 dev desk0 nodad",
      "ip link set desk0 up",
      out + "ip link set lo up",
      out + "ip addr add 10.77.0.2/24 dev peer0",
      out + "ip addr add 10.78.0.2/24 dev peer0",
      out + "ip addr add fd77::2/64 dev peer0 nodad",
      out + "ip link set peer0 up",
      "ip neigh replace 10.77.0.2 lladdr 02:00:00:00:77:02 dev desk0 nud permanent",
      "ip neigh replace 10.78.0.2 lladdr 02:00:00:00:77:02 dev desk0 nud permanent",
      "ip neigh replace fd77::2 lladdr 02:00:00:00:77:02 dev desk0 nud permanent",
      out + "ip neigh replace 10.77.0.1 lladdr 02:00:00:00:77:01 dev peer0 nud permanent",
      out + "ip neigh replace 10.78.0.1 lladdr 02:00:00:00:77:01 dev peer0 nud permanent",
      out + "ip neigh replace fd77::1 lladdr 02:00:00:00:77:01 dev peer0 nud permanent",
  };
  for (const std::string& c : commands)
    if (run(c) != 0) return "cannot set up the network of the test: " + c;
  return "";
}

World make_world() {
  World w;
  if (geteuid() != 0) {
    w.problem = "kernel tests need root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)";
    return w;
  }
  // Below a changed root a program's own path counts from elsewhere once the mounts are our own.
  (void)traffic_program();
  if (unshare(CLONE_NEWNET | CLONE_NEWNS) ||
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr)) {
    w.problem = "kernel tests need namespaces of their own (CAP_SYS_ADMIN)";
    return w;
  }
  w.bpffs = fmt::format("/tmp/weir-kernel-{}", getpid());
  mkdir(w.bpffs.c_str(), 0700);
  if (mount("bpf", w.bpffs.c_str(), "bpf", 0, "mode=0700")) {
    w.problem = "kernel tests need to mount a bpffs";
    return w;
  }
  w.counted = static_cast<Counted*>(
      mmap(nullptr, sizeof(Counted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  int ready[2];
  if (pipe2(ready, O_CLOEXEC)) std::abort();
  w.peer = fork();
  if (w.peer == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool own = unshare(CLONE_NEWNET) == 0;
    (void)!write(ready[1], own ? "y" : "n", 1);
    char go = 0;
    while (run("ip link show peer0") != 0) usleep(10000);
    (void)go;
    be_peer(w.counted);
  }
  char answer = 0;
  (void)!read(ready[0], &answer, 1);
  close(ready[0]);
  close(ready[1]);
  w.problem = answer == 'y' ? wire_up(w.peer) : "kernel tests need network namespaces";
  usleep(300'000);  // until the peer listens
  return w;
}

World& world() {
  static World* w = new World(make_world());  // outlives what ends with the process
  return *w;
}

struct AtExit {
  ~AtExit() {
    pid_t owner = getpid();
    if (world().peer > 0 && owner != world().peer) kill(world().peer, SIGKILL);
    if (!world().bpffs.empty()) {
      umount2(world().bpffs.c_str(), MNT_DETACH);
      rmdir(world().bpffs.c_str());
    }
  }
};

}  // namespace

std::string missing_capability() {
  static AtExit at_exit;
  return world().problem;
}

int scale() {
  const char* s = std::getenv("WEIR_KERNEL_SCALE");
  return s ? std::max(std::atoi(s), 1) : 1;
}

bool await(const std::function<bool()>& done, milliseconds most) {
  auto end = Clock::now() + most;
  while (!done()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

// Cgroups of runs that crashed: their number is a process that is gone.
static void sweep(const std::string& root) {
  std::error_code e;
  for (const auto& entry : std::filesystem::directory_iterator(root, e)) {
    int pid = 0;
    std::string name = entry.path().filename();
    if (std::sscanf(name.c_str(), "weir-kernel-%d-", &pid) != 1 || pid <= 0) continue;
    if (kill(pid, 0) == 0 || errno != ESRCH) continue;
    remove_cgroup(entry.path());
  }
}

Desk::Desk() {
  static int number = 0;
  auto root = cgroup2_root();
  if (number == 0 && root) sweep(*root);
  cgroup_ = fmt::format("{}/weir-kernel-{}-{}", root.value_or("/nowhere"), getpid(), number);
  port_ = kFirstPort + number++ % (kPorts - 3);
  for (const std::string& dir : {cgroup_, place("a"), place("b")}) mkdir(dir.c_str(), 0755);
}

Desk::~Desk() {
  end_all();
  for (Child& c : children_) {
    if (c.in >= 0) close(c.in);
    if (c.out >= 0) close(c.out);
  }
  await([&] { return remove_cgroup(cgroup_); }, milliseconds(3000));
}

std::string Desk::pin_dir() const {
  return world().bpffs;
}

std::string Desk::at_peer() const {
  return fmt::format("nsenter --net=/proc/{}/ns/net ", world().peer);
}

std::uint64_t Desk::received(int port) const {
  return world().counted->bytes[index_of(port)];
}
std::uint64_t Desk::datagrams(int port) const {
  return world().counted->datagrams[index_of(port)];
}

std::uint64_t Desk::peer_fetches(int port) const {
  int result[2];
  if (pipe2(result, O_CLOEXEC)) std::abort();
  pid_t pid = fork();
  if (pid == 0) {
    int space = open(fmt::format("/proc/{}/ns/net", world().peer).c_str(), O_RDONLY);
    std::uint64_t total = 0;
    if (setns(space, CLONE_NEWNET) == 0) {
      int fd = socket(AF_INET, SOCK_STREAM, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(static_cast<std::uint16_t>(port));
      inet_pton(AF_INET, "10.77.0.1", &to.sin_addr);
      const timeval patience{kPeerPatience_s, 0};
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      char buffer[65536];
      if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0)
        for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;)
          total += static_cast<std::uint64_t>(n);
    }
    (void)!write(result[1], &total, sizeof total);
    _exit(0);
  }
  std::uint64_t total = 0;
  (void)!read(result[0], &total, sizeof total);
  waitpid(pid, nullptr, 0);
  close(result[0]);
  close(result[1]);
  return total;
}

Desk::Answers Desk::peer_asks(int port, int count, std::size_t size) const {
  int result[2];
  if (pipe2(result, O_CLOEXEC)) std::abort();
  pid_t pid = fork();
  if (pid == 0) {
    Answers got;
    int space = open(fmt::format("/proc/{}/ns/net", world().peer).c_str(), O_RDONLY);
    int fd = setns(space, CLONE_NEWNET) == 0 ? socket(AF_INET, SOCK_DGRAM, 0) : -1;
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    inet_pton(AF_INET, "10.77.0.1", &to.sin_addr);
    static char buffer[65536];
    for (int n = 0; n < count; n++) {
      sendto(fd, buffer, size, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
      pollfd p{fd, POLLIN, 0};
      if (poll(&p, 1, 200) <= 0) continue;
      got.questions++;
      for (ssize_t b; (b = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0;)
        got.bytes += static_cast<std::uint64_t>(b);
    }
    (void)!write(result[1], &got, sizeof got);
    _exit(0);
  }
  Answers got;
  (void)!read(result[0], &got, sizeof got);
  waitpid(pid, nullptr, 0);
  close(result[0]);
  close(result[1]);
  return got;
}

std::uint64_t Desk::settled(milliseconds quiet, milliseconds most) const {
  auto end = Clock::now() + most * scale();
  std::uint64_t last = received();
  auto since = Clock::now();
  while (Clock::now() < end && (last == 0 || Clock::now() - since < quiet * scale())) {
    std::this_thread::sleep_for(milliseconds(10));
    if (received() != last) {
      last = received();
      since = Clock::now();
    }
  }
  return received();
}

pid_t Desk::start(std::vector<std::string> arguments, const std::string& place_name) {
  std::vector<std::string> all = {traffic_program()};
  if (!arguments.empty() && arguments[0].starts_with("/")) {
    all[0] = arguments[0];
    arguments.erase(arguments.begin());
  }
  bool has_port = std::find(arguments.begin(), arguments.end(), "--port") != arguments.end();
  if (!has_port) all.insert(all.end(), {"--port", std::to_string(port_)});
  all.insert(all.end(), arguments.begin(), arguments.end());
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) std::abort();
  std::string procs = place(place_name) + "/cgroup.procs";
  pid_t pid = fork();
  if (pid == 0) {
    int fd = open(procs.c_str(), O_WRONLY);  // before exec, so that exec is seen in the cgroup
    if (fd < 0 || write(fd, "0", 1) != 1) _exit(126);
    dup2(in[0], 0);
    dup2(out[1], 1);
    std::vector<char*> args;
    for (std::string& a : all) args.push_back(a.data());
    args.push_back(nullptr);
    execv(args[0], args.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  children_.push_back({pid, in[1], out[0], ""});
  return pid;
}

Desk::Child& Desk::child(pid_t pid) {
  for (Child& c : children_)
    if (c.pid == pid) return c;
  std::abort();
}

Outcome Desk::finish(pid_t pid) {
  Child& c = child(pid);
  char buffer[4096];
  for (ssize_t n; (n = read(c.out, buffer, sizeof buffer)) > 0;)
    c.output.append(buffer, static_cast<std::size_t>(n));
  int status = 0;
  waitpid(pid, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, c.output};
}

void Desk::end(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

// Ours first: one that has not entered the cgroup yet would still start others there.
void Desk::end_all() {
  for (const Child& c : children_)  // the number of one that was waited for may be another's by now
    if (waitpid(c.pid, nullptr, WNOHANG) == 0) kill(c.pid, SIGKILL);
  for (const Child& c : children_) waitpid(c.pid, nullptr, 0);
  std::ofstream(cgroup_ + "/cgroup.kill") << "1";
  await(
      [&] {
        std::ifstream events(cgroup_ + "/cgroup.events");
        std::string line;
        return !std::getline(events, line) || line == "populated 0";
      },
      milliseconds(3000));
}

void Desk::write_line(pid_t pid) {
  (void)!write(child(pid).in, "go\n", 3);
}

void Desk::await_line(pid_t pid, const std::string& line) {
  Child& c = child(pid);
  char byte = 0;
  while (c.output.find(line) == std::string::npos && read(c.out, &byte, 1) == 1) c.output += byte;
}

std::string traffic_program() {
  static const std::string program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "weir_traffic";
  return program;
}

std::string copy_of_traffic(const std::string& name) {
  std::string path = fmt::format("/tmp/{}-{}", name, getpid());
  std::filesystem::copy_file(traffic_program(), path,
                             std::filesystem::copy_options::overwrite_existing);
  return path;
}

}  // namespace weir::test
