// Processes, pipes and signals: see process.h.
#include "agent/run/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

namespace weir {
namespace {

constexpr int kSignalled = 128;  // shells add it to the number of the signal

}  // namespace

std::int64_t wall_now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

Result<Pipe> Pipe::make() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(fmt::format("pipe: {}", std::strerror(errno)));
  Pipe pipe;
  pipe.reader_ = Fd(ends[0]);
  pipe.writer_ = Fd(ends[1]);
  return pipe;
}

Result<Process> Process::fork(const std::function<void()>& body) {
  pid_t pid = ::fork();
  if (pid < 0) return fail(fmt::format("fork: {}", std::strerror(errno)));
  if (pid == 0) {
    body();
    ::_exit(1);
  }
  // Our own child is not reaped before wait(), so the number still means it here.
  int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    int cause = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail(fmt::format("pidfd_open: {}", std::strerror(cause)));
  }
  return Process(static_cast<std::uint32_t>(pid), pidfd);
}

void Process::send(int signal) const {
  if (!status_) ::kill(static_cast<pid_t>(pid_), signal);
}

int Process::wait() {
  if (status_) return *status_;
  int status = 0;
  while (::waitpid(static_cast<pid_t>(pid_), &status, 0) < 0 && errno == EINTR) {
  }
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : kSignalled + WTERMSIG(status);
  return *status_;
}

SignalFd::SignalFd(std::initializer_list<int> signals) {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (int signal : signals) ::sigaddset(&wanted, signal);
  ::sigprocmask(SIG_BLOCK, &wanted, &old_);
  fd_ = Fd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
}

SignalFd::~SignalFd() {
  ::sigprocmask(SIG_SETMASK, &old_, nullptr);
}

std::optional<int> SignalFd::take() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != sizeof info) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace weir
