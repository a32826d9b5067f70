// Gives up every right that the line does not need: see seal.h.
#include "agent/engine/seal.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/guard/descriptors.h"
#include "platform/linux/seal/seal.h"

namespace weir {
namespace {

constexpr char kProgram[] = "engine";

// Everything the line and its outlets do: memory, time, poll, read and write of open descriptors.
// No open, socket, connect, bpf, exec, fork, ptrace, ioctl.
constexpr int kAllowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(recvfrom),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(lseek),
    SCMP_SYS(fdatasync),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getrandom),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(sched_yield),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
};

// The spool has a handful of files open at once.
constexpr int kMaxDescriptors = 1024;

void allow_line(CallFilter& filter) {
  // Messages go to the guard only. The source is never written to: it may be a packet socket.
  filter.allow(SCMP_SYS(sendto), {arg_is(0, fds::kGuard), {4, SCMP_CMP_EQ, 0, 0}});
  // A new policy comes with a descriptor of its memory.
  filter.allow(SCMP_SYS(recvmsg), {arg_is(0, fds::kGuard)});
  for (int fd :
       {STDOUT_FILENO, STDERR_FILENO, fds::kRecord, fds::kReports, fds::kUsage, fds::kSessions})
    for (int call : {SCMP_SYS(write), SCMP_SYS(writev)}) filter.allow(call, {arg_is(0, fd)});
}

// What the spool's writer and its thread add. openat and its like take a path, which no filter can
// read: it counts from the spool's folder, which is the root by now, and Landlock says it again.
// The last part of it is no symbolic link.
void allow_spool(CallFilter& filter) {
  filter.allow(SCMP_SYS(openat), {arg_is(0, fds::kSpool), arg_has(2, O_NOFOLLOW)});
  filter.allow(SCMP_SYS(unlinkat), {arg_is(0, fds::kSpool), arg_is(2, 0)});
  for (int call : {SCMP_SYS(renameat), SCMP_SYS(renameat2)})
    filter.allow(call, {arg_is(0, fds::kSpool), arg_is(2, fds::kSpool)});
  filter.allow(SCMP_SYS(newfstatat), {arg_is(0, fds::kSpool)});
  filter.allow(SCMP_SYS(newfstatat), {arg_has(3, AT_EMPTY_PATH)});  // fstat of newer libraries
  for (int call : {SCMP_SYS(fsync), SCMP_SYS(flock), SCMP_SYS(getdents64)}) filter.allow(call, {});
  for (int command : {F_GETFL, F_SETFD}) filter.allow(SCMP_SYS(fcntl), {arg_is(1, command)});
  for (int call : {SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), SCMP_SYS(fallocate)})
    for (int bit = kFirstOpened; bit < kMaxDescriptors; bit *= 2)
      filter.allow(call, {arg_has(0, static_cast<scmp_datum_t>(bit))});
  filter.allow(SCMP_SYS(write), {arg_is(0, fds::kNews)});
  filter.allow_threads();
}

// No path can be opened, made, run or removed, but for plain files of the spool.
int keep_paths(SpoolAccess spool) {
  PathRules rules;
  if (spool == SpoolAccess::folder) rules.allow(fds::kSpool, PathRules::kRead | PathRules::kChange);
  return rules.take_on();
}

Result<void> keep_calls(SpoolAccess spool) {
  CallFilter filter;
  filter.allow(kAllowed);
  allow_line(filter);
  filter.allow_data_memory();
  if (spool == SpoolAccess::folder) allow_spool(filter);
  return filter.take_on(kProgram);
}

void limit_tasks(SpoolAccess spool) {
  // Threads count, and all of a user's together: a few engines may run beside each other.
  rlimit none{0, 0}, tasks{64, 64};
  ::setrlimit(RLIMIT_NPROC, spool == SpoolAccess::folder ? &tasks : &none);
}

}  // namespace

Result<void> take_low_descriptors() {
  int fd = 0;
  while (fd < kFirstOpened) {
    fd = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return seal_failed(kProgram, "descriptors");
  }
  ::close(fd);
  return {};
}

Result<SealReport> seal_engine(uid_t user, SpoolAccess spool) {
  SealReport report;
  report.network_namespace = ::unshare(CLONE_NEWNET) == 0;
  if (!report.network_namespace) report.missing.emplace_back("own network namespace");
  // Once more than Landlock, and where there is none the only wall around openat.
  bool rooted = spool == SpoolAccess::none || (::fchdir(fds::kSpool) == 0 && ::chroot(".") == 0);
  if (!rooted) report.missing.emplace_back("right to make the spool its root");
  if (Result<void> dropped = drop_user(kProgram, user); !dropped)
    return tl::unexpected(dropped.error());
  limit_tasks(spool);
  if (Result<void> closed = gain_nothing(kProgram); !closed) return tl::unexpected(closed.error());
  report.landlock_abi = keep_paths(spool);
  if (report.landlock_abi == 0) report.missing.emplace_back("Landlock");
  if (!rooted && report.landlock_abi == 0)
    return fail("the engine can't be sealed: neither Landlock nor chroot keeps it to its spool");
  if (Result<void> filtered = keep_calls(spool); !filtered) return tl::unexpected(filtered.error());
  return report;
}

}  // namespace weir
