// Gives up every right that the line does not need: see seal.h.
#include "agent/engine/seal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>

#include "agent/guard/descriptors.h"

namespace weir {
namespace {

// Everything the line and its outlets do: memory, time, poll, read and write of open descriptors.
// No open, socket, connect, bpf, exec, fork, ptrace, ioctl.
constexpr int kAllowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(recvfrom),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
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

// A sanitized build looks whether memory is readable by writing it into a pipe of its own. What
// ships does not.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

// A descriptor is an int: the upper half of its register is not looked at.
scmp_arg_cmp is_fd(int fd) {
  return {0, SCMP_CMP_MASKED_EQ, 0xffffffff, static_cast<scmp_datum_t>(fd)};
}

// The spool has a handful of files open at once.
constexpr int kMaxDescriptors = 1024;

int allow_some(scmp_filter_ctx filter) {
  auto allow = [&](int call, std::initializer_list<scmp_arg_cmp> only) {
    return ::seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call,
                                    static_cast<unsigned>(only.size()), only.begin());
  };
  const scmp_arg_cmp no_address{4, SCMP_CMP_EQ, 0, 0};
  const scmp_arg_cmp not_executable{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
  // Messages go to the guard only. The source is never written to: it may be a packet socket.
  int code = allow(SCMP_SYS(sendto), {is_fd(fds::kGuard), no_address});
  // A new policy comes with a descriptor of its memory.
  if (code == 0) code = allow(SCMP_SYS(recvmsg), {is_fd(fds::kGuard)});
  for (int fd :
       {STDOUT_FILENO, STDERR_FILENO, fds::kRecord, fds::kReports, fds::kUsage, fds::kSessions})
    for (int call : {SCMP_SYS(write), SCMP_SYS(writev)})
      if (code == 0) code = allow(call, {is_fd(fd)});
  if (kSanitized)
    for (int call : {SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(write)})
      if (code == 0) code = allow(call, {});
  // No memory becomes code.
  for (int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)})
    if (code == 0) code = allow(call, {not_executable});
  return code;
}

// What the spool's writer and its thread add. openat and its like take a path, which no filter can
// read: it counts from the spool's folder, which is the root by now, and Landlock says it again.
// The last part of it is no symbolic link.
int allow_spool(scmp_filter_ctx filter) {
  auto allow = [&](int call, std::initializer_list<scmp_arg_cmp> only) {
    return ::seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call,
                                    static_cast<unsigned>(only.size()), only.begin());
  };
  auto is = [](unsigned argument, int value) {
    return scmp_arg_cmp{argument, SCMP_CMP_MASKED_EQ, 0xffffffff, static_cast<scmp_datum_t>(value)};
  };
  auto has = [](unsigned argument, scmp_datum_t bits) {
    return scmp_arg_cmp{argument, SCMP_CMP_MASKED_EQ, bits, bits};
  };
  constexpr scmp_datum_t kThread = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
  int code = allow(SCMP_SYS(openat), {is(0, fds::kSpool), has(2, O_NOFOLLOW)});
  auto add = [&](int call, std::initializer_list<scmp_arg_cmp> only) {
    if (code == 0) code = allow(call, only);
  };
  add(SCMP_SYS(unlinkat), {is(0, fds::kSpool), is(2, 0)});
  for (int call : {SCMP_SYS(renameat), SCMP_SYS(renameat2)})
    add(call, {is(0, fds::kSpool), is(2, fds::kSpool)});
  add(SCMP_SYS(newfstatat), {is(0, fds::kSpool)});
  add(SCMP_SYS(newfstatat), {has(3, AT_EMPTY_PATH)});  // fstat of newer libraries
  for (int call : {SCMP_SYS(fsync), SCMP_SYS(flock), SCMP_SYS(getdents64), SCMP_SYS(rseq),
                   SCMP_SYS(set_robust_list)})
    add(call, {});
  for (int command : {F_GETFL, F_SETFD}) add(SCMP_SYS(fcntl), {is(1, command)});
  for (int call : {SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), SCMP_SYS(fallocate)})
    for (int bit = kFirstOpened; bit < kMaxDescriptors; bit *= 2)
      add(call, {has(0, static_cast<scmp_datum_t>(bit))});
  add(SCMP_SYS(write), {is(0, fds::kNews)});
  add(SCMP_SYS(clone), {has(0, kThread)});
  if (kSanitized) add(SCMP_SYS(sched_getaffinity), {});  // where a thread's stack is
  // Its flags stand in memory: the library goes back to clone.
  if (code == 0) code = ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  return code;
}

Result<void> failed(const char* what) {
  return fail(fmt::format("the engine can't be sealed: {}: {}", what, std::strerror(errno)));
}

Result<void> drop_user(uid_t user) {
  if (user == 0) return fail("the engine can't be sealed: it may not stay root");
  if (::setgroups(0, nullptr) != 0) return failed("setgroups");
  if (::setresgid(user, user, user) != 0) return failed("setresgid");
  if (::setresuid(user, user, user) != 0) return failed("setresuid");
  if (::setuid(0) == 0) return fail("the engine can't be sealed: root came back");
  return {};
}

// Everything that this ABI knows is denied: no path can be opened, made, run or removed, but for
// plain files of the spool.
int landlock(SpoolAccess spool) {
  auto abi = static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
  if (abi < 1) return 0;
  // Accesses of ABI 1 are bits 0–12; 2 adds refer, 3 truncate, 5 ioctl. The headers at hand may be
  // older than the kernel, so the bits are counted and not named.
  constexpr int kBits[] = {0, 13, 14, 15, 15, 16};
  constexpr int kKnown = 5;
  landlock_ruleset_attr rules{};
  rules.handled_access_fs = (1ull << kBits[abi < kKnown ? abi : kKnown]) - 1;
  auto fd = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0));
  if (fd < 0) return 0;
  bool ruled = true;
  if (spool == SpoolAccess::folder) {
    constexpr std::uint64_t kTruncate = 1ull << 14;  // ABI 3; the headers at hand may be older
    landlock_path_beneath_attr beneath{};
    beneath.parent_fd = fds::kSpool;
    beneath.allowed_access =
        rules.handled_access_fs & (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                   LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                   LANDLOCK_ACCESS_FS_REMOVE_FILE | kTruncate);
    ruled = ::syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0;
  }
  bool restricted = ruled && ::syscall(SYS_landlock_restrict_self, fd, 0) == 0;
  ::close(fd);
  return restricted ? abi : 0;
}

Result<void> filter_calls(SpoolAccess spool) {
  struct Release {
    void operator()(void* filter) const { ::seccomp_release(filter); }
  };
  // EPERM and not a kill: a library that tries something optional must not end the line.
  std::unique_ptr<void, Release> filter(::seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) return failed("seccomp_init");
  for (int call : kAllowed)
    if (int bad = ::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0); bad != 0) {
      errno = -bad;
      return failed("seccomp_rule_add");
    }
  int code = allow_some(filter.get());
  if (code == 0 && spool == SpoolAccess::folder) code = allow_spool(filter.get());
  if (code != 0) {
    errno = -code;
    return failed("seccomp_rule_add");
  }
  if (code = ::seccomp_load(filter.get()); code != 0) {
    errno = -code;
    return failed("seccomp_load");
  }
  return {};
}

void limit_resources(SpoolAccess spool) {
  rlimit none{0, 0};
  // Threads count, and all of a user's together: a few engines may run beside each other.
  rlimit tasks{64, 64};
  ::setrlimit(RLIMIT_CORE, &none);  // foreign bytes stay out of core files
  ::setrlimit(RLIMIT_NPROC, spool == SpoolAccess::folder ? &tasks : &none);
  ::prctl(PR_SET_DUMPABLE, 0);
}

}  // namespace

Result<void> take_low_descriptors() {
  int fd = 0;
  while (fd < kFirstOpened) {
    fd = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return failed("descriptors");
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
  if (Result<void> dropped = drop_user(user); !dropped) return tl::unexpected(dropped.error());
  limit_resources(spool);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return tl::unexpected(failed("no_new_privs").error());
  report.landlock_abi = landlock(spool);
  if (report.landlock_abi == 0) report.missing.emplace_back("Landlock");
  if (!rooted && report.landlock_abi == 0)
    return fail("the engine can't be sealed: neither Landlock nor chroot keeps it to its spool");
  if (Result<void> filtered = filter_calls(spool); !filtered)
    return tl::unexpected(filtered.error());
  return report;
}

}  // namespace weir
