// What the seals of our programs are made of: another user, no path but those named, no call but
// those named. What a program keeps it says itself (agent/engine/seal.cpp, agent/uplink/seal.cpp);
// `program` only names it in sentences. Nothing here can be taken back. Thread: one.
#pragma once

#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/types.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>

#include "core/base/result.h"

namespace weir {

// A sanitized build looks whether memory is readable by writing it into a pipe of its own, and
// asks where a thread's stack is. What ships does not.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

// With errno.
tl::unexpected<Error> seal_failed(const char* program, const char* what);

// uid and gid become `user`, never 0; no other group is left.
Result<void> drop_user(const char* program, uid_t user);
// No core file, no look into it by its equals, no right gained by what it runs.
Result<void> gain_nothing(const char* program);

// Landlock: everything that this kernel's ABI knows is denied but for what was allowed. Several
// calls, since a program opens paths between making the rules and taking them on.
class PathRules {
 public:
  // ABI 3; the headers at hand may be older.
  static constexpr std::uint64_t kTruncate = 1ull << 14;
  static constexpr std::uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  // Plain files are made, written and removed.
  static constexpr std::uint64_t kChange = LANDLOCK_ACCESS_FS_WRITE_FILE |
                                           LANDLOCK_ACCESS_FS_MAKE_REG |
                                           LANDLOCK_ACCESS_FS_REMOVE_FILE | kTruncate;

  PathRules();
  PathRules(const PathRules&) = delete;
  PathRules& operator=(const PathRules&) = delete;
  ~PathRules();

  // A file, or a folder and all below it. What this ABI does not know of `access` is left out.
  void allow(int path, std::uint64_t access);
  // The ABI by which they hold from now on. 0: nothing is denied, the kernel has no Landlock or
  // refused one of the rules.
  int take_on();

 private:
  int abi_ = 0, rules_ = -1;
  std::uint64_t handled_ = 0;
  bool ruled_ = false;
};

// Of the low half of an argument: its type is int, the upper half of its register is not looked at.
constexpr scmp_arg_cmp arg_is(unsigned argument, int value) {
  return {argument, SCMP_CMP_MASKED_EQ, 0xffffffff, static_cast<scmp_datum_t>(value)};
}
constexpr scmp_arg_cmp arg_has(unsigned argument, scmp_datum_t bits) {
  return {argument, SCMP_CMP_MASKED_EQ, bits, bits};
}

// seccomp: a call that was not allowed fails with EPERM. Not a kill: a library that tries something
// optional goes on without it.
class CallFilter {
 public:
  CallFilter();

  void allow(std::span<const int> calls);
  void allow(int call, std::initializer_list<scmp_arg_cmp> only);
  void allow_data_memory();  // mapped and changed, but never into code
  void allow_threads();      // no process
  Result<void> take_on(const char* program);

 private:
  struct Release {
    void operator()(void* filter) const { ::seccomp_release(filter); }
  };
  std::unique_ptr<void, Release> filter_;
  int code_ = 0;  // of the first rule that failed
};

}  // namespace weir
