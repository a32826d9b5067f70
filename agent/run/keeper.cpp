// The keeper of `weir exec`: see keeper.h.
#include "agent/run/keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weir {
namespace {

constexpr int kRounds = 400;  // × 5 ms: 2 s for a fork storm to be gone
constexpr useconds_t kPauseUs = 5000;
// After the command was killed the kernel still holds what it had written. The bound stays that
// long over it: a refused orphan gives up well within (tcp_orphan_retries), the others have
// drained.
constexpr unsigned kLingerS = 120;
constexpr unsigned kLookS = 1;

void kill_cgroup(const std::string& cgroup) {
  int fd = ::open((cgroup + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!::write(fd, "1", 1);
  ::close(fd);
}

// Every task in the table is the command's: the scope is known_trees.
bool kill_tasks(const KernelPart& kernel) {
  Result<std::vector<KernelTask>> tasks = kernel.tasks();
  if (!tasks || tasks->empty()) return false;
  for (const KernelTask& task : *tasks) ::kill(static_cast<pid_t>(task.pid), SIGKILL);
  return true;
}

void end_command(KernelPart& kernel, const std::string& cgroup) {
  for (int round = 0; round < kRounds; ++round) {
    kill_cgroup(cgroup);
    if (!kill_tasks(kernel)) break;
    ::usleep(kPauseUs);
  }
  kernel.poll_told([](const weir_refused& refused) {
    (void)destroy_socket(refused.tuple, refused.record.cookie);
  });
  // What was killed may still be on its way out on a busy machine.
  for (int round = 0; round < kRounds && ::rmdir(cgroup.c_str()) && errno == EBUSY; ++round)
    ::usleep(kPauseUs);
  ::sleep(kLingerS);
}

// Holds the bound over what is left, and ends nobody.
void outlast_command(const KernelPart& kernel) {
  for (;;) {
    Result<std::vector<KernelTask>> tasks = kernel.tasks();
    if (tasks && tasks->empty()) break;
    ::sleep(kLookS);
  }
  ::sleep(kLingerS);
}

}  // namespace

Result<Keeper> Keeper::start(KernelPart& kernel, const std::string& cgroup) {
  Result<Pipe> pipe = Pipe::make();
  if (!pipe) return tl::unexpected(pipe.error());
  Result<Process> process = Process::fork([&] {
    pipe->close_writer();
    ::setsid();  // the terminal's signals are for the command
    for (int signal : {SIGINT, SIGQUIT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
    // The terminal and the caller's pipes must not stay open because of us.
    int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int standard : {0, 1, 2}) ::dup2(null, standard);
    char byte = 0;
    ssize_t got = 0;
    while ((got = ::read(pipe->reader(), &byte, 1)) < 0 && errno == EINTR) {
    }
    if (got != 1 && cgroup.empty()) outlast_command(kernel);
    if (got != 1 && !cgroup.empty()) end_command(kernel, cgroup);
    ::_exit(0);
  });
  if (!process) return tl::unexpected(process.error());
  pipe->close_reader();
  return Keeper(std::move(*process), std::move(*pipe));
}

void Keeper::dismiss() {
  // One that was killed has closed its end: a write there must not end us.
  auto before = ::signal(SIGPIPE, SIG_IGN);
  (void)!::write(pipe_.writer(), "d", 1);
  ::signal(SIGPIPE, before);
  (void)process_.wait();
}

void Keeper::stay() {
  pipe_.close_writer();
}

}  // namespace weir
