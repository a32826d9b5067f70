// Three crashes within a minute; what an administrator ends is none.
#include "agent/guard/crashes.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace weir {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

// What wait says of a process that ended like this.
int status_of(const std::function<void()>& ends) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (int signal : {SIGSEGV, SIGABRT, SIGTERM}) ::signal(signal, SIG_DFL);
    ends();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status;
}

TEST(crashes, are_what_a_program_does_to_itself) {
  for (int signal : {SIGSEGV, SIGABRT})
    EXPECT_TRUE(is_crash(status_of([&] { ::raise(signal); }))) << signal;
  EXPECT_TRUE(is_crash(status_of([] { ::_exit(1); })));
  EXPECT_FALSE(is_crash(status_of([] { ::_exit(0); })));
  for (int signal : {SIGKILL, SIGTERM})
    EXPECT_FALSE(is_crash(status_of([&] { ::raise(signal); }))) << signal;
}

TEST(crashes, three_within_a_minute_are_too_many_and_then_counting_begins_anew) {
  Crashes crashes;
  EXPECT_FALSE(crashes.add(100 * kSecond));
  EXPECT_FALSE(crashes.add(101 * kSecond));
  EXPECT_FALSE(crashes.add(160 * kSecond)) << "the first is a minute old";
  EXPECT_TRUE(crashes.add(160 * kSecond + 1));
  EXPECT_FALSE(crashes.add(162 * kSecond));
  EXPECT_FALSE(crashes.add(163 * kSecond));
  EXPECT_TRUE(crashes.add(164 * kSecond));
}

}  // namespace
}  // namespace weir
