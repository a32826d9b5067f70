// The guard's spawner: see spawner.h.
#include "agent/guard/spawner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "agent/guard/control_judge.h"
#include "agent/guard/descriptors.h"

namespace weir {
namespace {

enum class What : std::uint32_t { spawn = 1, kill = 2 };
struct Request {
  What what = What::spawn;
  Role role = Role::engine;
};

constexpr int kCouldNotExec = 127;
constexpr int kScratch = 64;         // above every fixed number, while they are moved into place
constexpr std::size_t kMostFds = 3;  // that come with a request

bool send_request(int fd, Request request, std::span<const int> fds) {
  iovec part{&request, sizeof request};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostFds * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size_bytes());
  }
  return ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof request;
}

// False: the guard is gone.
bool take_request(int fd, Request& request, int (&fds)[kMostFds]) {
  iovec part{&request, sizeof request};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  if (got < 0 && errno == EINTR) return take_request(fd, request, fds);
  if (got != sizeof request || static_cast<std::size_t>(request.role) >= kRoles) return false;
  for (int& one : fds) one = -1;
  const cmsghdr* head = CMSG_FIRSTHDR(&message);
  if (head != nullptr && head->cmsg_type == SCM_RIGHTS && head->cmsg_len <= CMSG_LEN(sizeof fds))
    std::memcpy(fds, CMSG_DATA(head), head->cmsg_len - CMSG_LEN(0));
  return true;
}

constexpr int kByPath = -1;

// `program`: the command's, opened while it could be reached, or kByPath.
[[noreturn]] void become(const std::vector<std::string>& command, int program) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::signal(signal, SIG_DFL);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  if (program == kByPath) {
    ::execv(arguments[0], arguments.data());
  } else {
    ::fcntl(program, F_SETFD, FD_CLOEXEC);
    ::fexecve(program, arguments.data(), environ);
  }
  fmt::print(stderr, "weir-guard: {} can't be started: {}\n", command.front(),
             std::strerror(errno));
  ::_exit(kCouldNotExec);
}

// `from` become 3, 4 … in this order; the rest is closed.
void only(std::span<const int> from) {
  std::array<int, 8> moved{};
  for (std::size_t n = 0; n < from.size(); ++n) moved[n] = ::fcntl(from[n], F_DUPFD, kScratch);
  for (std::size_t n = 0; n < from.size(); ++n) ::dup2(moved[n], 3 + static_cast<int>(n));
  ::syscall(SYS_close_range, 3 + static_cast<unsigned>(from.size()), ~0u, 0);
}

[[noreturn]] void become_engine(const SpawnCommands& commands, const int (&fds)[kMostFds]) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no child outlives its spawner
  int guard = ::fcntl(fds[0], F_DUPFD, kScratch), source = ::fcntl(fds[1], F_DUPFD, kScratch),
      policy = ::fcntl(fds[2], F_DUPFD, kScratch);
  ::dup2(guard, fds::kGuard);
  ::dup2(source, fds::kSource);
  ::dup2(policy, fds::kPolicy);
  for (int fd = fds::kRecord; fd <= fds::kLast; ++fd) ::fcntl(fd, F_SETFD, 0);
  ::syscall(SYS_close_range, fds::kLast + 1, ~0u, 0);
  become(commands.engine, kByPath);
}

// Its own cgroup, whose program lets it speak to the collector alone, then its own user: in this
// order, and not at all if one of them fails.
[[noreturn]] void become_uplink(const SpawnCommands& commands, const int (&fds)[kMostFds]) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const uid_t user = commands.uplink_user;
  // Its folder may be root's alone.
  const int program = ::open(commands.uplink.front().c_str(), O_PATH | O_CLOEXEC);
  bool caged = ::write(fds::kSpawnCgroup, "0", 1) == 1;
  bool dropped = user != 0 && ::setgroups(0, nullptr) == 0 && ::setresgid(user, user, user) == 0 &&
                 ::setresuid(user, user, user) == 0 && ::setuid(0) != 0;
  if (!caged || !dropped || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ::_exit(kCouldNotExec);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of user takes it away
  const int wanted[] = {fds[0],     fds::kSpawnSpool, fds::kSpawnAcknowledged, fds::kSpawnIdentity,
                        fds::kNews, program};
  only(wanted);
  become(commands.uplink, fds::kUplinkLast + 1);
}

[[noreturn]] void become_reader(const char* what, const SpawnCommands& commands,
                                const int (&fds)[kMostFds]) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int null = ::open("/dev/null", O_RDWR);
  const int wanted[] = {fds[0], null, null, fds[1]};  // kCompileEnvelope … kRecord
  only(wanted);
  std::vector<std::string> command = commands.engine;
  command.emplace_back(what);
  become(command, kByPath);
}

// Not another program: it needs the spawner's rights, and reads nothing that is foreign.
[[noreturn]] void become_canary(const SpawnCommands& commands, const int (&fds)[kMostFds]) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int wanted[] = {fds[0]};
  only(wanted);
  const std::string procs = commands.canary_cgroup + "/cgroup.procs";
  const int cgroup = ::open(procs.c_str(), O_WRONLY | O_CLOEXEC);
  const auto tried = cgroup < 0 ? fail(procs + ": " + std::strerror(errno))
                                : try_controls(commands.canary_pins, cgroup);
  if (!tried) fmt::print(stderr, "weir-guard: {}\n", tried.error().sentence);
  const CanaryAnswer answer = tried ? answer_of(*tried) : CanaryAnswer{};
  ::_exit(::write(3, &answer, sizeof answer) == sizeof answer ? 0 : 1);
}

struct Child {
  pid_t pid = 0;
  int pidfd = -1;

  void end() const {
    if (pid > 0) ::kill(pid, SIGKILL);
  }
};

void start_child(Child& child, Role role, const SpawnCommands& commands,
                 const int (&fds)[kMostFds]) {
  child.pid = ::fork();
  if (child.pid == 0) {
    if (role == Role::engine) become_engine(commands, fds);
    if (role == Role::uplink) become_uplink(commands, fds);
    if (role == Role::canary) become_canary(commands, fds);
    if (role == Role::read_command) become_reader("--read-command", commands, fds);
    if (role == Role::read_trust) become_reader("--read-trust", commands, fds);
    become_reader("--compile", commands, fds);
  }
  if (child.pid > 0) child.pidfd = static_cast<int>(::syscall(SYS_pidfd_open, child.pid, 0));
  if (child.pid < 0 || child.pidfd >= 0) return;
  child.end();  // nobody would hear of its end
  ::waitpid(child.pid, nullptr, 0);
  child.pid = -1;
}

// One child of a role at a time: the guard asks for the next only after the end of the last.
[[noreturn]] void serve(int fd, const SpawnCommands& commands) {
  std::array<Child, kRoles> children;
  for (;;) {
    pollfd wanted[1 + kRoles] = {{fd, POLLIN, 0}};
    for (std::size_t n = 0; n < kRoles; ++n) wanted[1 + n] = {children[n].pidfd, POLLIN, 0};
    if (::poll(wanted, 1 + kRoles, -1) < 0) continue;
    for (std::size_t n = 0; n < kRoles; ++n) {
      if (wanted[1 + n].revents == 0) continue;
      Spawner::Ended ended{static_cast<Role>(n), 0};
      ::waitpid(children[n].pid, &ended.status, 0);
      ::close(children[n].pidfd);
      children[n] = {};
      (void)!::send(fd, &ended, sizeof ended, MSG_NOSIGNAL);
    }
    if (wanted[0].revents == 0) continue;
    Request request{};
    int passed[kMostFds] = {-1, -1, -1};
    if (!take_request(fd, request, passed)) break;
    Child& child = children[static_cast<std::size_t>(request.role)];
    if (request.what == What::kill) child.end();
    if (request.what == What::spawn && child.pid == 0)
      start_child(child, request.role, commands, passed);
    if (child.pid < 0) {  // no process, no descriptor: as one that could not be executed
      child = {};
      const Spawner::Ended ended{request.role, kCouldNotExec << 8};
      (void)!::send(fd, &ended, sizeof ended, MSG_NOSIGNAL);
    }
    for (int one : passed)
      if (one >= 0) ::close(one);
  }
  for (const Child& child : children) child.end();
  ::_exit(0);
}

}  // namespace

Result<Spawner> Spawner::start(const SpawnCommands& commands) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return fail(fmt::format("socketpair: {}", std::strerror(errno)));
  pid_t child = ::fork();
  if (child < 0) return fail(fmt::format("fork: {}", std::strerror(errno)));
  if (child == 0) {
    ::close(pair[0]);
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::signal(signal, SIG_IGN);
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    serve(pair[1], commands);
  }
  ::close(pair[1]);
  return Spawner(pair[0]);
}

Spawner::Spawner(Spawner&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Spawner::~Spawner() {
  if (fd_ >= 0) ::close(fd_);
}

bool Spawner::spawn(Role role, std::span<const int> fds) {
  return fds.size() <= kMostFds && send_request(fd_, {What::spawn, role}, fds);
}

bool Spawner::kill(Role role) {
  return send_request(fd_, {What::kill, role}, {});
}

std::optional<Spawner::Ended> Spawner::ended() {
  Ended ended;
  ssize_t got = ::recv(fd_, &ended, sizeof ended, MSG_DONTWAIT);
  if (got == sizeof ended) return ended;
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  gone_ = true;
  return std::nullopt;
}

}  // namespace weir
