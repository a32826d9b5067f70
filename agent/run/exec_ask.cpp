// The caller's side of a served `weir exec`: see exec_served.h. Has no rights.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>
#include <vector>

#include "agent/run/exec_served.h"
#include "agent/run/process.h"

namespace weir {
namespace {

constexpr int kStopped = 3;
constexpr timeval kAnswerTime{60, 0};   // the kernel part's programs are verified meanwhile
constexpr timeval kSummaryTime{30, 0};  // of which the kernel has ten to send what was written
constexpr const char* kNoAgent =
    "only root can set a limit in the kernel: sudo weir exec … (or let root start `weir run`, "
    "which serves it to others)";

struct Failure {  // the command's process to ours; nothing: it became the command
  int cause = 0;  // errno of the exec, 0: it was refused
  char sentence[248] = {};
};

// In the child: connects, so that the kernel tells the agent who it is.
bool ask(int fd, const AskOptions& options, Failure& failure) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, options.socket.c_str(), sizeof address.sun_path - 1);
  std::strncpy(failure.sentence, kNoAgent, sizeof failure.sentence - 1);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return false;
  ucred server{};
  socklen_t size = sizeof server;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &server, &size) != 0 || server.uid != 0)
    return false;  // a limit that a stranger promises is none
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kAnswerTime, sizeof kAnswerTime);
  ExecAnswer answer;
  const ExecRequest& request = options.request;
  std::strncpy(failure.sentence, "the agent takes no more callers now",
               sizeof failure.sentence - 1);
  if (::send(fd, &request, sizeof request, MSG_NOSIGNAL) != sizeof request) return false;
  if (::recv(fd, &answer, sizeof answer, 0) != sizeof answer || answer.magic != kExecMagic)
    return false;
  std::memcpy(failure.sentence, answer.sentence, sizeof failure.sentence - 1);
  return answer.refused == 0;
}

[[noreturn]] void become_command(int fd, const AskOptions& options, int failed,
                                 const sigset_t& mask) {
  std::vector<char*> arguments;
  for (const std::string& word : options.command)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  Failure failure;
  if (ask(fd, options, failure)) {
    ::execvp(arguments[0], arguments.data());
    failure.cause = errno;
  }
  (void)!::write(failed, &failure, sizeof failure);
  ::_exit(failure.cause == ENOENT ? kNotFound : kNotExecutable);
}

void wait_for(Process& command, SignalFd& signals) {
  for (;;) {
    std::array<pollfd, 2> wanted{{{command.pidfd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
    if (::poll(wanted.data(), wanted.size(), -1) < 0 && errno != EINTR) return;
    while (std::optional<int> signal = signals.take())
      if (*signal == SIGTERM || *signal == SIGHUP) command.send(*signal);
    if (wanted[0].revents != 0) return;
  }
}

// False: the agent went without a word.
bool take_summary(int fd, int status, std::string& text, ExecEnd& end) {
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kSummaryTime, sizeof kSummaryTime);
  ExecDone done;
  done.status = static_cast<std::uint32_t>(status);
  (void)::send(fd, &done, sizeof done, MSG_NOSIGNAL);  // it may have sent its own end already
  std::vector<char> piece(kMostPiece);
  bool reset = false;
  for (;;) {
    ssize_t got = ::recv(fd, piece.data(), piece.size(), 0);
    // It closed without having read what we sent just now; what it sent before that is still here.
    if (got < 0 && errno == ECONNRESET && !std::exchange(reset, true)) continue;
    if (got <= 0) return false;
    if (got == sizeof end) {
      std::memcpy(&end, piece.data(), sizeof end);
      if (end.magic == kExecMagic) return true;
    }
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace

Result<int> ask_limited(const AskOptions& options) {
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  Result<Pipe> failed = Pipe::make();
  if (!fd || !failed) return fail("no descriptors left");
  SignalFd signals({SIGINT, SIGQUIT, SIGTERM, SIGHUP});
  Result<Process> command = Process::fork([&] {
    failed->close_reader();
    become_command(fd.get(), options, failed->writer(), signals.before());
  });
  if (!command) return tl::unexpected(command.error());
  failed->close_writer();
  Failure failure;
  if (::read(failed->reader(), &failure, sizeof failure) == sizeof failure) {
    int status = command->wait();
    failure.sentence[sizeof failure.sentence - 1] = '\0';
    if (failure.cause == 0) return fail(failure.sentence);
    fmt::print(stderr, "weir: {}: {}\n", options.command[0], std::strerror(failure.cause));
    return status;
  }
  wait_for(*command, signals);
  int status = command->wait();
  std::string text;
  ExecEnd end;
  if (!take_summary(fd.get(), status, text, end)) {
    fmt::print(stderr, "weir exec: the agent went away: no summary\n");
    return status;
  }
  fmt::print((options.request.flags & kExecJson) != 0 ? stdout : stderr, "{}", text);
  return end.stopped != 0 ? kStopped : status;
}

}  // namespace weir
