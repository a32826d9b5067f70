// Gives up every right that the uplink does not need: see seal.h.
#include "agent/uplink/seal.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/linux/seal/seal.h"

namespace weir {
namespace {

constexpr char kProgram[] = "uplink";

// What gRPC, TLS, the name service and the spool's reader do. No exec, fork, ptrace, bpf, mount,
// listen, accept, io_uring, kill.
constexpr int kAllowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(stat),
    SCMP_SYS(lseek),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(unlinkat),
    SCMP_SYS(getdents64),
    SCMP_SYS(flock),
    SCMP_SYS(memfd_create),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt),
    SCMP_SYS(shutdown),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_getparam),  // Abseil's locks, of the thread that waits
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(getcpu),
};

// What the name service reads. They may be links: what they lead to is let through.
constexpr const char* kNameFiles[] = {"/etc/resolv.conf", "/etc/hosts",    "/etc/nsswitch.conf",
                                      "/etc/host.conf",   "/etc/gai.conf", "/etc/services"};

// Everything is denied but for the two folders and the name service's files.
int keep_paths(int spool, int identity) {
  PathRules rules;
  rules.allow(spool, PathRules::kRead);
  rules.allow(identity, PathRules::kRead | PathRules::kChange);
  for (const char* path : kNameFiles) {
    int file = ::open(path, O_PATH | O_CLOEXEC);
    if (file < 0) continue;  // not every host has each
    rules.allow(file, LANDLOCK_ACCESS_FS_READ_FILE);
    ::close(file);
  }
  return rules.take_on();
}

void allow_sockets(CallFilter& filter) {
  // The type without its flags (SOCK_CLOEXEC, SOCK_NONBLOCK).
  constexpr scmp_datum_t kType = 0xf;
  for (int family : {AF_INET, AF_INET6})
    for (int type : {SOCK_STREAM, SOCK_DGRAM})
      for (int protocol : {0, static_cast<int>(IPPROTO_TCP), static_cast<int>(IPPROTO_UDP)})
        filter.allow(SCMP_SYS(socket),
                     {arg_is(0, family),
                      {1, SCMP_CMP_MASKED_EQ, kType, static_cast<scmp_datum_t>(type)},
                      arg_is(2, protocol)});
  // getaddrinfo asks which addresses this host has (NETLINK_ROUTE, 0).
  filter.allow(SCMP_SYS(socket), {arg_is(0, AF_NETLINK), arg_is(2, 0)});
}

Result<void> keep_calls() {
  CallFilter filter;
  filter.allow(kAllowed);
  allow_sockets(filter);
  for (int command : {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC, F_ADD_SEALS})
    filter.allow(SCMP_SYS(fcntl), {arg_is(1, command)});
  for (unsigned long request : {FIONREAD, FIONBIO})
    filter.allow(SCMP_SYS(ioctl), {arg_is(1, static_cast<int>(request))});
  filter.allow(SCMP_SYS(prctl), {arg_is(0, PR_SET_NAME)});
  filter.allow_data_memory();
  filter.allow_threads();
  return filter.take_on(kProgram);
}

// The name service loads what /etc/nsswitch.conf names at the first question: while it still may.
void load_name_service() {
  addrinfo* found = nullptr;
  if (::getaddrinfo("localhost", nullptr, nullptr, &found) == 0) ::freeaddrinfo(found);
}

}  // namespace

Result<UplinkSealReport> seal_uplink(int spool, int identity, uid_t user) {
  UplinkSealReport report;
  load_name_service();
  bool dropped_already = ::geteuid() != 0 && ::geteuid() == user;
  if (!dropped_already)
    if (Result<void> dropped = drop_user(kProgram, user); !dropped)
      return tl::unexpected(dropped.error());
  if (Result<void> closed = gain_nothing(kProgram); !closed) return tl::unexpected(closed.error());
  report.landlock_abi = keep_paths(spool, identity);
  if (report.landlock_abi == 0) report.missing.emplace_back("Landlock");
  if (Result<void> filtered = keep_calls(); !filtered) return tl::unexpected(filtered.error());
  return report;
}

}  // namespace weir
