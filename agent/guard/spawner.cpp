// The guard's spawner: see spawner.h.
#include "agent/guard/spawner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "agent/guard/descriptors.h"

namespace weir {
namespace {

enum class Request : std::uint32_t { spawn = 1, kill = 2 };

constexpr int kCouldNotExec = 127;
constexpr int kScratch = 32;  // above every fixed number, while they are moved into place

bool send_request(int fd, Request request, const int* fds, std::size_t count) {
  iovec part{&request, sizeof request};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(head), fds, count * sizeof(int));
  }
  return ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof request;
}

// False: the guard is gone.
bool take_request(int fd, Request& request, int (&fds)[2]) {
  iovec part{&request, sizeof request};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  if (got < 0 && errno == EINTR) return take_request(fd, request, fds);
  if (got != sizeof request) return false;
  fds[0] = fds[1] = -1;
  const cmsghdr* head = CMSG_FIRSTHDR(&message);
  if (head != nullptr && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof fds))
    std::memcpy(fds, CMSG_DATA(head), sizeof fds);
  return true;
}

[[noreturn]] void become_engine(const std::vector<std::string>& command, const int (&fds)[2]) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no engine outlives its spawner
  int guard = ::fcntl(fds[0], F_DUPFD, kScratch), source = ::fcntl(fds[1], F_DUPFD, kScratch);
  ::dup2(guard, fds::kGuard);
  ::dup2(source, fds::kSource);
  for (int fd = fds::kRecord; fd <= fds::kLast; ++fd) ::fcntl(fd, F_SETFD, 0);
  ::fcntl(fds::kPolicy, F_SETFD, 0);
  ::syscall(SYS_close_range, fds::kLast + 1, ~0u, 0);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(arguments[0], arguments.data());
  ::_exit(kCouldNotExec);
}

void end(pid_t& engine) {
  if (engine <= 0) return;
  ::kill(engine, SIGKILL);
}

// One child at a time: the guard asks for the next only after the end of the last was told.
[[noreturn]] void serve(int fd, const std::vector<std::string>& command) {
  pid_t engine = 0;
  int pidfd = -1;
  for (;;) {
    pollfd wanted[2] = {{fd, POLLIN, 0}, {pidfd, POLLIN, 0}};
    if (::poll(wanted, pidfd >= 0 ? 2 : 1, -1) < 0) continue;
    if (pidfd >= 0 && wanted[1].revents != 0) {
      int status = 0;
      ::waitpid(engine, &status, 0);
      ::close(std::exchange(pidfd, -1));
      engine = 0;
      (void)!::send(fd, &status, sizeof status, MSG_NOSIGNAL);
    }
    if (wanted[0].revents == 0) continue;
    Request request{};
    int passed[2] = {-1, -1};
    if (!take_request(fd, request, passed)) break;
    if (request == Request::kill) end(engine);
    if (request == Request::spawn && engine == 0) {
      engine = ::fork();
      if (engine == 0) become_engine(command, passed);
      if (engine > 0) pidfd = static_cast<int>(::syscall(SYS_pidfd_open, engine, 0));
    }
    for (int one : passed)
      if (one >= 0) ::close(one);
  }
  end(engine);
  ::_exit(0);
}

}  // namespace

Result<Spawner> Spawner::start(const std::vector<std::string>& command) {
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
    serve(pair[1], command);
  }
  ::close(pair[1]);
  return Spawner(pair[0]);
}

Spawner::Spawner(Spawner&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Spawner::~Spawner() {
  if (fd_ >= 0) ::close(fd_);
}

bool Spawner::spawn(int guard_end, int source) {
  int fds[2] = {guard_end, source};
  return send_request(fd_, Request::spawn, fds, 2);
}

bool Spawner::kill() {
  return send_request(fd_, Request::kill, nullptr, 0);
}

std::optional<int> Spawner::ended() {
  int status = 0;
  ssize_t got = ::recv(fd_, &status, sizeof status, MSG_DONTWAIT);
  if (got == sizeof status) return status;
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  return -1;
}

}  // namespace weir
