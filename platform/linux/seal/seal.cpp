// Users, Landlock and seccomp: see seal.h.
#include "platform/linux/seal/seal.h"

#include <fmt/format.h>
#include <grp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weir {

tl::unexpected<Error> seal_failed(const char* program, const char* what) {
  return fail(fmt::format("the {} can't be sealed: {}: {}", program, what, std::strerror(errno)));
}

Result<void> drop_user(const char* program, uid_t user) {
  if (user == 0) return fail(fmt::format("the {} can't be sealed: it may not stay root", program));
  if (::setgroups(0, nullptr) != 0) return seal_failed(program, "setgroups");
  if (::setresgid(user, user, user) != 0) return seal_failed(program, "setresgid");
  if (::setresuid(user, user, user) != 0) return seal_failed(program, "setresuid");
  if (::setuid(0) == 0) return fail(fmt::format("the {} can't be sealed: root came back", program));
  return {};
}

Result<void> gain_nothing(const char* program) {
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);  // keys and foreign bytes stay out of core files
  ::prctl(PR_SET_DUMPABLE, 0);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return seal_failed(program, "no_new_privs");
  return {};
}

PathRules::PathRules() {
  abi_ = static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
  if (abi_ < 1) return;
  // Accesses of ABI 1 are bits 0–12; 2 adds refer, 3 truncate, 5 ioctl. The headers at hand may be
  // older than the kernel, so the bits are counted and not named.
  constexpr int kBits[] = {0, 13, 14, 15, 15, 16};
  constexpr int kKnown = 5;
  handled_ = (1ull << kBits[abi_ < kKnown ? abi_ : kKnown]) - 1;
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = handled_;
  rules_ =
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0));
  ruled_ = rules_ >= 0;
}

PathRules::~PathRules() {
  if (rules_ >= 0) ::close(rules_);
}

void PathRules::allow(int path, std::uint64_t access) {
  if (!ruled_) return;
  landlock_path_beneath_attr beneath{};
  beneath.parent_fd = path;
  beneath.allowed_access = access & handled_;
  ruled_ = ::syscall(SYS_landlock_add_rule, rules_, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0;
}

int PathRules::take_on() {
  return ruled_ && ::syscall(SYS_landlock_restrict_self, rules_, 0) == 0 ? abi_ : 0;
}

CallFilter::CallFilter() : filter_(::seccomp_init(SCMP_ACT_ERRNO(EPERM))) {
  if (kSanitized)
    for (int call : {SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(write)}) allow(call, {});
}

void CallFilter::allow(std::span<const int> calls) {
  for (int call : calls) allow(call, {});
}

void CallFilter::allow(int call, std::initializer_list<scmp_arg_cmp> only) {
  if (filter_ && code_ == 0)
    code_ = ::seccomp_rule_add_array(filter_.get(), SCMP_ACT_ALLOW, call,
                                     static_cast<unsigned>(only.size()), only.begin());
}

void CallFilter::allow_data_memory() {
  for (int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)})
    allow(call, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}});
}

void CallFilter::allow_threads() {
  constexpr scmp_datum_t kThread = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
  allow(SCMP_SYS(clone), {arg_has(0, kThread)});
  for (int call : {SCMP_SYS(rseq), SCMP_SYS(set_robust_list)}) allow(call, {});
  if (kSanitized) allow(SCMP_SYS(sched_getaffinity), {});
  // Its flags stand in memory: the library goes back to clone.
  if (filter_ && code_ == 0)
    code_ = ::seccomp_rule_add(filter_.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

Result<void> CallFilter::take_on(const char* program) {
  if (!filter_) return seal_failed(program, "seccomp_init");
  const char* step = "seccomp_rule_add";
  if (code_ == 0) {
    step = "seccomp_load";
    code_ = ::seccomp_load(filter_.get());
  }
  if (code_ == 0) return {};
  errno = -code_;
  return seal_failed(program, step);
}

}  // namespace weir
