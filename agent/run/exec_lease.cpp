// One run of `weir exec` that the agent serves: see exec_lease.h.
#include "agent/run/exec_lease.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "agent/run/exec_run.h"
#include "agent/run/keeper.h"
#include "platform/linux/boot_clock.h"

namespace weir {
namespace {

constexpr std::uint64_t kEndNs = 2'000'000'000;  // for what was killed to be gone
constexpr useconds_t kStepUs = 5000;
constexpr int kSendMs = 2000;                // a caller that does not read loses the summary
constexpr std::size_t kMostText = 1u << 20;  // of the summary: 256 places are some 80 KB

bool is_alive(const ExecPeer& peer) {
  pollfd gone{peer.pidfd.get(), POLLIN, 0};
  return ::poll(&gone, 1, 0) == 0;
}

std::string read_at(int folder, const char* name) {
  Fd file(::openat(folder, name, O_RDONLY | O_CLOEXEC));
  std::string text(PATH_MAX + 4096, '\0');
  ssize_t got = file ? ::read(file.get(), text.data(), text.size()) : 0;
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return text;
}

// Below the mount point: "/" for its root, "" where it is not in it.
std::string below_root(const std::string& cgroup) {
  Result<std::string> root = cgroup2_root();
  char path[PATH_MAX];
  if (!root || (!cgroup.empty() && ::realpath(cgroup.c_str(), path) == nullptr)) return "";
  std::string resolved = cgroup.empty() ? *root : path;
  if (resolved == *root) return "/";
  return resolved.starts_with(*root + "/") ? resolved.substr(root->size()) : "";
}

// Asked of the process itself, not of a number: the folder is opened while the pidfd says that the
// number is still this process's.
const char* refusal_of(const ExecPeer& peer, const std::string& cgroup) {
  Fd folder(::open(fmt::format("/proc/{}", peer.pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder || !is_alive(peer)) return "the caller is gone";
  if (!runs_only_as(read_at(folder.get(), "status"), peer.uid))
    return "the caller has changed its user";
  const std::string inside = below_root(cgroup);
  if (inside.empty() || !is_inside(read_at(folder.get(), "cgroup"), inside))
    return "the agent does not bound the cgroup that you are in";
  return nullptr;
}

bool send_all(int fd, const void* data, std::size_t size) {
  pollfd room{fd, POLLOUT, 0};
  if (::poll(&room, 1, kSendMs) != 1) return false;
  return ::send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

void answer(int fd, const char* refusal) {
  ExecAnswer message;
  message.refused = refusal != nullptr ? 1 : 0;
  if (refusal != nullptr) std::strncpy(message.sentence, refusal, sizeof message.sentence - 1);
  (void)send_all(fd, &message, sizeof message);
}

// With the rights of the caller and no others: who changed its user (sudo) is not ended.
void kill_as(const ExecPeer& peer, const std::vector<std::uint32_t>& pids) {
  Result<Process> child = Process::fork([&] {
    ::syscall(SYS_close_range, 0, ~0u, 0);
    if (::setgroups(0, nullptr) != 0 || ::setresgid(peer.gid, peer.gid, peer.gid) != 0 ||
        ::setresuid(peer.uid, peer.uid, peer.uid) != 0)
      ::_exit(1);
    for (std::uint32_t pid : pids) ::kill(static_cast<pid_t>(pid), SIGKILL);
    ::_exit(0);
  });
  if (child) (void)child->wait();
}

void end_tree(Run& run, const ExecPeer& peer) {
  std::vector<std::uint32_t> left = members(run);
  const std::size_t found = left.size();
  for (std::uint64_t until = boot_now_ns() + kEndNs; !left.empty() && boot_now_ns() < until;) {
    kill_as(peer, left);
    ::usleep(kStepUs);
    left = members(run);
  }
  if (found > left.size())
    run.notes.push_back({"left_behind", {fmt::format("{}", found - left.size())}});
  if (!left.empty()) run.notes.push_back({"still_bounded", {fmt::format("{}", left.size())}});
}

enum class Ended { done, caller_gone, agent_ends };

Ended watch(Run& run, int caller, SignalFd& signals, ExecDone& done) {
  for (;;) {
    std::array<pollfd, 4> wanted{{{caller, POLLIN, 0},
                                  {signals.fd(), POLLIN, 0},
                                  {run.kernel.told_poll_fd(), POLLIN, 0},
                                  {run.ring.poll_fd(), POLLIN, 0}}};
    if (::poll(wanted.data(), wanted.size(), wait_ms(run)) < 0 && errno != EINTR)
      return Ended::caller_gone;
    take_told(run);
    take_events(run);
    if (signals.take()) return Ended::agent_ends;
    if (wanted[0].revents == 0) continue;
    ssize_t got = ::recv(caller, &done, sizeof done, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got == sizeof done && done.magic == kExecMagic) return Ended::done;
    return Ended::caller_gone;  // its end, or nonsense
  }
}

void send_summary(int caller, const ExecSummary& summary, std::uint32_t flags) {
  Language language = (flags & kExecChinese) != 0 ? Language::chinese : Language::english;
  std::string text =
      (flags & kExecJson) != 0 ? json_of(summary, language) + "\n" : text_of(summary, language);
  text.resize(std::min(text.size(), kMostText));
  for (std::size_t at = 0; at < text.size(); at += kMostPiece)
    if (!send_all(caller, text.data() + at, std::min(kMostPiece, text.size() - at))) return;
  ExecEnd end;
  end.stopped = summary.stopped ? 1 : 0;
  (void)send_all(caller, &end, sizeof end);
}

// The caller in a tree of its own, bounded. The rows come last: were the number another process's
// by then, nothing of it would have been refused or counted.
Result<Run> bind(const ExecPeer& peer, const ExecRequest& request, const std::string& cgroup) {
  Result<KernelPart> kernel = load_bound(cgroup);
  if (!kernel) return tl::unexpected(kernel.error());
  Result<std::uint64_t> tree = kernel->put_task(peer.pid);
  if (!tree) return tl::unexpected(tree.error());
  if (!is_alive(peer)) return fail("the caller is gone");
  if (auto set = set_bound(*kernel, request.limit, static_cast<std::int64_t>(request.window_ns));
      !set)
    return tl::unexpected(set.error());
  Result<Run> run = Run::make(std::move(*kernel));
  if (run) run->tree = *tree;
  return run;
}

}  // namespace

void serve_lease(Fd caller, const ExecPeer& peer, const ExecRequest& request,
                 const std::string& cgroup) {
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);  // we may outlive those who read these
  for (int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, standard);
  if (const char* refusal = refusal_of(peer, cgroup)) return answer(caller.get(), refusal);
  Result<Run> run = bind(peer, request, cgroup);
  if (!run) return answer(caller.get(), run.error().sentence.c_str());
  SignalFd signals({SIGTERM, SIGINT, SIGHUP});
  Result<Keeper> keeper = Keeper::start(run->kernel, "");
  if (!keeper) return answer(caller.get(), keeper.error().sentence.c_str());
  if (Result<Names> names = Names::start()) run->names.emplace(std::move(*names));
  answer(caller.get(), nullptr);
  ExecDone done;
  Ended how = watch(*run, caller.get(), signals, done);
  if (how == Ended::agent_ends) run->notes.push_back({"agent_ends", {}});
  end_tree(*run, peer);
  if (members(*run).empty()) drain(*run);
  ExecSummary summary = summarize(*run, request.limit, static_cast<std::int64_t>(request.window_ns),
                                  static_cast<int>(done.status & 0xff));
  if (how != Ended::caller_gone) send_summary(caller.get(), summary, request.flags);
  caller.close();
  // Every socket with a byte to send is gone: asked of the sockets, because records get lost.
  Result<std::uint64_t> unsent = run->kernel.unsent();
  if (members(*run).empty() && unsent && *unsent == 0) return keeper->dismiss();
  keeper->stay();  // and so do we: what is bounded counts for the limits on callers
  pollfd gone{keeper->process().pidfd(), POLLIN, 0};
  while (::poll(&gone, 1, -1) < 0 && errno == EINTR) {
  }
}

}  // namespace weir
