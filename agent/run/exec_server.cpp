// The agent's listener for what other users ask: `weir exec` (exec_served.h), `weir my-events`,
// `weir request` and `weir release` (asked.h). A process of its own that only accepts, checks sizes
// and counts; each request is served by a child. Bounded everywhere: who connects more than it may
// is closed at once.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <list>
#include <optional>
#include <vector>

#include "agent/run/asked.h"
#include "agent/run/exec_lease.h"
#include "agent/run/exec_served.h"
#include "agent/run/state_dir.h"
#include "platform/linux/boot_clock.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // since 6.5
#endif

namespace weir {
namespace {

// A kernel part costs some 10 MB and a look at every packet of the host; a cgroup takes 64 of them.
constexpr std::size_t kMostRuns = 16, kMostRunsOfOne = 4;
// Connections whose request has not come yet: it is the first thing that a caller sends.
constexpr std::size_t kMostWaiting = 64, kMostWaitingOfOne = 4;
constexpr std::uint64_t kWaitNs = 2'000'000'000;
constexpr int kAcceptsAtOnce = 64;  // between two looks at the others
constexpr int kBacklog = 128;
constexpr int kListener = STDERR_FILENO + 1, kStateFolder = kListener + 1,
              kRequestsLine = kStateFolder + 1, kReleasesLine = kRequestsLine + 1,
              kAnswersLine = kReleasesLine + 1;
// Questions: each reads up to 128 MB of reports.
constexpr std::size_t kMostQuestions = 8, kMostQuestionsOfOne = 2;
constexpr std::uint64_t kStopNs = 5'000'000'000;  // for the runs to end their commands

struct Waiting {
  Fd fd;
  ExecPeer peer;
  std::uint32_t person = 0;
  std::uint64_t until_ns = 0;
};

struct Serving {
  Process process;
  std::uint32_t uid = 0, person = 0;
};

// The first thing that a caller says; only its size and first word tell what it is.
union Said {
  ExecRequest exec;
  AskMessage ask;
  Said() : ask() {}
};

// Who the caller is for limits and reports: the login uid of its process, where one is set.
std::optional<std::uint32_t> person_of(const ExecPeer& peer) {
  Fd folder(::open(fmt::format("/proc/{}", peer.pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  Fd login(::openat(folder.get(), "loginuid", O_RDONLY | O_CLOEXEC));
  char text[16] = {};
  const bool read = login && ::read(login.get(), text, sizeof text - 1) > 0;
  pollfd gone{peer.pidfd.get(), POLLIN, 0};
  if (!folder || ::poll(&gone, 1, 0) != 0) return std::nullopt;  // the number may be another's
  const auto uid = static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10));
  return read && uid != 0xffffffff ? uid : peer.uid;
}

bool know_peer(int fd, ExecPeer& peer) {
  ucred cred{};
  socklen_t size = sizeof cred;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0 || cred.pid <= 0) return false;
  peer.pid = static_cast<std::uint32_t>(cred.pid);
  peer.uid = cred.uid;
  peer.gid = cred.gid;
  int pidfd = -1;
  size = sizeof pidfd;
  // Before 6.5 the number may have become another process's since the connect. One of the same user
  // only: serve_lease asks that of the process itself, and to bound oneself is allowed.
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) != 0)
    pidfd = static_cast<int>(::syscall(SYS_pidfd_open, cred.pid, 0));
  peer.pidfd = Fd(pidfd);
  return pidfd >= 0;
}

class Server {
 public:
  Server(Fd listener, std::string cgroup, const AskServer& asked)
      : listener_(std::move(listener)),
        cgroup_(std::move(cgroup)),
        asked_(asked),
        signals_({SIGTERM, SIGINT, SIGHUP, SIGCHLD}) {}

  [[noreturn]] void run() {
    for (bool ends = false; !ends;) {
      std::vector<pollfd> wanted{{listener_.get(), POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
      for (const Waiting& one : waiting_) wanted.push_back({one.fd.get(), POLLIN, 0});
      (void)::poll(wanted.data(), wanted.size(), waiting_.empty() ? -1 : 200);
      while (std::optional<int> signal = signals_.take()) ends = ends || *signal != SIGCHLD;
      std::size_t n = 2;
      for (auto at = waiting_.begin(); at != waiting_.end();)
        at = hear(*at, wanted[n++].revents != 0) ? waiting_.erase(at) : std::next(at);
      reap();
      if (wanted[0].revents != 0) take_callers();
    }
    stop();
    ::_exit(0);
  }

 private:
  // By uid and by person: who has a user namespace has thousands of uids, but one login uid.
  template <class Table>
  static std::size_t of(const Table& table, std::uint32_t uid, std::uint32_t person) {
    return static_cast<std::size_t>(
        std::count_if(table.begin(), table.end(), [uid, person](const auto& one) {
          if constexpr (requires { one.uid; })
            return one.uid == uid || one.person == person;
          else
            return one.peer.uid == uid || one.person == person;
        }));
  }

  void take_callers() {
    for (int n = 0; n < kAcceptsAtOnce; ++n) {
      Waiting one;
      one.fd = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!one.fd) return;
      if (!know_peer(one.fd.get(), one.peer) || waiting_.size() >= kMostWaiting)
        continue;  // closed
      const std::optional<std::uint32_t> person = person_of(one.peer);
      if (!person || of(waiting_, one.peer.uid, *person) >= kMostWaitingOfOne) continue;
      one.person = *person;
      one.until_ns = boot_now_ns() + kWaitNs;
      waiting_.push_back(std::move(one));
    }
  }

  // True: the connection is served by a child now, or closed.
  bool hear(Waiting& one, bool readable) {
    if (!readable) return boot_now_ns() > one.until_ns;
    Said said;
    ssize_t got = ::recv(one.fd.get(), &said, sizeof said, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got <= 0) return true;
    if (said.ask.magic == kAskMagic) {
      hear_question(one, said.ask, static_cast<std::size_t>(got));
      return true;
    }
    const ExecRequest& request = said.exec;
    const char* refusal = damage_of(request, static_cast<std::size_t>(got));
    if (*refusal == '\0' && of(serving_, one.peer.uid, one.person) >= kMostRunsOfOne)
      refusal = "you have four commands under a limit already";
    if (*refusal == '\0' && serving_.size() >= kMostRuns)
      refusal = "sixteen commands are under a limit already";
    if (*refusal != '\0') {
      ExecAnswer answer;
      answer.refused = 1;
      std::strncpy(answer.sentence, refusal, sizeof answer.sentence - 1);
      (void)::send(one.fd.get(), &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL);
      return true;
    }
    serve(one, request);
    return true;
  }

  void hear_question(Waiting& one, const AskMessage& message, std::size_t size) {
    std::string refusal = damage_of(message, size);
    if (refusal.empty() && (asked_.state < 0 || answering_.size() >= kMostQuestions ||
                            of(answering_, one.peer.uid, one.person) >= kMostQuestionsOfOne))
      refusal = "the agent answers as many as it can; try again";
    // A program whose login uid was never set may set any, so it alone says nothing. Root may look.
    const bool is_personal = message.kind == AskKind::events || message.kind == AskKind::request ||
                             message.kind == AskKind::holds || message.kind == AskKind::answer;
    if (refusal.empty() && is_personal && one.peer.uid != 0 && one.peer.uid != one.person)
      refusal = "ask as the user who logged in: this program runs as another";
    if (!refusal.empty()) {
      AskEnd end;
      end.status = 2;
      refusal += "\n";
      (void)::send(one.fd.get(), refusal.data(), refusal.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      (void)::send(one.fd.get(), &end, sizeof end, MSG_DONTWAIT | MSG_NOSIGNAL);
      return;
    }
    const std::uint32_t person = one.person;
    const AskCaller who{person, one.peer.uid == 0};
    Result<Process> child = Process::fork([&] {
      ::sigprocmask(SIG_SETMASK, &signals_.before(), nullptr);
      Fd caller = std::move(one.fd);
      waiting_.clear();
      listener_.close();
      serve_asked(std::move(caller), message, who, asked_);
      ::_exit(0);
    });
    if (child) answering_.push_back({std::move(*child), one.peer.uid, person});
  }

  void serve(Waiting& one, const ExecRequest& request) {
    Result<Process> child = Process::fork([&] {
      ::sigprocmask(SIG_SETMASK, &signals_.before(), nullptr);
      Fd caller = std::move(one.fd);
      ExecPeer peer = std::move(one.peer);
      waiting_.clear();
      serving_.clear();
      listener_.close();
      serve_lease(std::move(caller), peer, request, cgroup_);
      ::_exit(0);
    });
    if (child) serving_.push_back({std::move(*child), one.peer.uid, one.person});
  }

  void reap() {
    for (std::list<Serving>* table : {&serving_, &answering_}) reap(*table);
  }

  static void reap(std::list<Serving>& table) {
    for (auto at = table.begin(); at != table.end();) {
      pollfd gone{at->process.pidfd(), POLLIN, 0};
      if (::poll(&gone, 1, 0) != 1) {
        ++at;
        continue;
      }
      (void)at->process.wait();
      at = table.erase(at);
    }
  }

  void stop() {
    listener_.close();
    waiting_.clear();
    for (const Serving& one : serving_) one.process.send(SIGTERM);
    for (std::uint64_t until = boot_now_ns() + kStopNs;
         !serving_.empty() && boot_now_ns() < until;) {
      ::usleep(10'000);
      reap();
    }
  }

  Fd listener_;
  std::string cgroup_;
  AskServer asked_;
  SignalFd signals_;
  std::list<Waiting> waiting_;
  std::list<Serving> serving_, answering_;
};

// The folder is root's and nobody else writes there, so the name in it is ours.
Result<Fd> listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(path + ": too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const std::string folder = path.substr(0, path.rfind('/'));
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
    return fail(fmt::format("{}: {}", folder, std::strerror(errno)));
  struct stat info {};
  if (::lstat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() ||
      (info.st_mode & 022) != 0)
    return fail(folder + ": must be a folder that only root writes to");
  Fd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ::unlink(path.c_str());
  if (!listener ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), 0666) != 0 || ::listen(listener.get(), kBacklog) != 0)
    return fail(fmt::format("{}: {}", path, std::strerror(errno)));
  return listener;
}

}  // namespace

Result<Process> serve_exec(const std::string& socket, const std::string& cgroup,
                           const AskServer& asked) {
  Result<Fd> listener = listen_at(socket);
  if (!listener) return tl::unexpected(listener.error());
  return Process::fork([&] {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    // Nothing else of `weir run` stays open here or in a run: its locks end with it.
    int fd = ::dup2(listener->get(), kListener);
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    AskServer ours{-1, -1, asked.pin_dir, -1, -1};
    const int high[] = {::fcntl(asked.state, F_DUPFD, 64), ::fcntl(asked.requests, F_DUPFD, 64),
                        ::fcntl(asked.releases, F_DUPFD, 64), ::fcntl(asked.answers, F_DUPFD, 64)};
    if (high[0] >= 0) ours.state = ::dup3(high[0], kStateFolder, O_CLOEXEC);
    if (high[1] >= 0) ours.requests = ::dup3(high[1], kRequestsLine, O_CLOEXEC);
    if (high[2] >= 0) ours.releases = ::dup3(high[2], kReleasesLine, O_CLOEXEC);
    if (high[3] >= 0) ours.answers = ::dup3(high[3], kAnswersLine, O_CLOEXEC);
    if (ours.state < 0) ::close(kStateFolder);
    if (ours.requests < 0) ::close(kRequestsLine);
    if (ours.releases < 0) ::close(kReleasesLine);
    if (ours.answers < 0) ::close(kAnswersLine);
    ::syscall(SYS_close_range, kAnswersLine + 1, ~0u, 0);
    (void)listener->release();
    Server(Fd(fd), cgroup, ours).run();
  });
}

}  // namespace weir
