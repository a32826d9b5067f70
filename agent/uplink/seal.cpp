// Gives up every right that the uplink does not need: see seal.h.
#include "agent/uplink/seal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/landlock.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>

namespace weir {
namespace {

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
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(getcpu),
};

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

// What the name service reads. They may be links: what they lead to is let through.
constexpr const char* kNameFiles[] = {"/etc/resolv.conf", "/etc/hosts",    "/etc/nsswitch.conf",
                                      "/etc/host.conf",   "/etc/gai.conf", "/etc/services"};

// Of the low half of an argument: its type is int.
scmp_arg_cmp is(unsigned argument, int value) {
  return {argument, SCMP_CMP_MASKED_EQ, 0xffffffff, static_cast<scmp_datum_t>(value)};
}
scmp_arg_cmp has(unsigned argument, scmp_datum_t bits) {
  return {argument, SCMP_CMP_MASKED_EQ, bits, bits};
}

int allow_some(scmp_filter_ctx filter) {
  int code = 0;
  auto add = [&](int call, std::initializer_list<scmp_arg_cmp> only) {
    if (code == 0)
      code = ::seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call,
                                      static_cast<unsigned>(only.size()), only.begin());
  };
  // The type without its flags (SOCK_CLOEXEC, SOCK_NONBLOCK).
  constexpr scmp_datum_t kType = 0xf;
  for (int family : {AF_INET, AF_INET6})
    for (int type : {SOCK_STREAM, SOCK_DGRAM})
      for (int protocol : {0, static_cast<int>(IPPROTO_TCP), static_cast<int>(IPPROTO_UDP)})
        add(SCMP_SYS(socket), {is(0, family),
                               {1, SCMP_CMP_MASKED_EQ, kType, static_cast<scmp_datum_t>(type)},
                               is(2, protocol)});
  // getaddrinfo asks which addresses this host has (NETLINK_ROUTE, 0).
  add(SCMP_SYS(socket), {is(0, AF_NETLINK), is(2, 0)});
  for (int command : {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC, F_ADD_SEALS})
    add(SCMP_SYS(fcntl), {is(1, command)});
  for (unsigned long request : {FIONREAD, FIONBIO})
    add(SCMP_SYS(ioctl), {is(1, static_cast<int>(request))});
  add(SCMP_SYS(prctl), {is(0, PR_SET_NAME)});
  constexpr scmp_datum_t kThread = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
  add(SCMP_SYS(clone), {has(0, kThread)});
  // No memory becomes code.
  const scmp_arg_cmp not_executable{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
  for (int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) add(call, {not_executable});
  if (kSanitized)
    for (int call : {SCMP_SYS(pipe), SCMP_SYS(pipe2)}) add(call, {});
  // Its flags stand in memory: the library goes back to clone.
  if (code == 0) code = ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  return code;
}

tl::unexpected<Error> failed(const char* what) {
  return fail(fmt::format("the uplink can't be sealed: {}: {}", what, std::strerror(errno)));
}

Result<void> drop_user(uid_t user) {
  if (user == 0) return fail("the uplink can't be sealed: it may not stay root");
  if (::geteuid() != 0 && ::geteuid() == user) return {};
  if (::setgroups(0, nullptr) != 0) return failed("setgroups");
  if (::setresgid(user, user, user) != 0) return failed("setresgid");
  if (::setresuid(user, user, user) != 0) return failed("setresuid");
  if (::setuid(0) == 0) return fail("the uplink can't be sealed: root came back");
  return {};
}

bool allow_beneath(int rules, int folder, std::uint64_t access) {
  landlock_path_beneath_attr beneath{};
  beneath.parent_fd = folder;
  beneath.allowed_access = access;
  return ::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0;
}

// Everything that this ABI knows is denied but for the two folders and the name service's files.
int landlock(int spool, int identity) {
  auto abi = static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
  if (abi < 1) return 0;
  // Accesses of ABI 1 are bits 0–12; 2 adds refer, 3 truncate, 5 ioctl. The headers at hand may be
  // older than the kernel, so the bits are counted and not named.
  constexpr int kBits[] = {0, 13, 14, 15, 15, 16};
  constexpr int kKnown = 5;
  constexpr std::uint64_t kTruncate = 1ull << 14;
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = (1ull << kBits[abi < kKnown ? abi : kKnown]) - 1;
  const std::uint64_t all = attributes.handled_access_fs;
  auto rules =
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0));
  if (rules < 0) return 0;
  constexpr std::uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  constexpr std::uint64_t kChange = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
                                    LANDLOCK_ACCESS_FS_REMOVE_FILE | kTruncate;
  bool ruled =
      allow_beneath(rules, spool, kRead) && allow_beneath(rules, identity, (kRead | kChange) & all);
  for (const char* path : kNameFiles) {
    int file = ::open(path, O_PATH | O_CLOEXEC);
    if (file < 0) continue;  // not every host has each
    ruled = ruled && allow_beneath(rules, file, LANDLOCK_ACCESS_FS_READ_FILE);
    ::close(file);
  }
  bool restricted = ruled && ::syscall(SYS_landlock_restrict_self, rules, 0) == 0;
  ::close(rules);
  return restricted ? abi : 0;
}

Result<void> filter_calls() {
  struct Release {
    void operator()(void* filter) const { ::seccomp_release(filter); }
  };
  // EPERM and not a kill: a library that tries something optional goes on without it.
  std::unique_ptr<void, Release> filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) return failed("seccomp_init");
  int code = 0;
  for (int call : kAllowed)
    if (code == 0) code = ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0);
  if (code == 0) code = allow_some(filter.get());
  if (code == 0) code = ::seccomp_load(filter.get());
  if (code == 0) return {};
  errno = -code;
  return failed("seccomp");
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
  if (Result<void> dropped = drop_user(user); !dropped) return tl::unexpected(dropped.error());
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);  // keys and reports stay out of core files
  ::prctl(PR_SET_DUMPABLE, 0);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("no_new_privs");
  report.landlock_abi = landlock(spool, identity);
  if (report.landlock_abi == 0) report.missing.emplace_back("Landlock");
  if (Result<void> filtered = filter_calls(); !filtered) return tl::unexpected(filtered.error());
  return report;
}

}  // namespace weir
