// Tries something from inside a seal: in a child that is sealed first, since no seal can be undone.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

namespace weir {

constexpr int kSealFailed = 200, kDied = 201;  // no errno is as high

// 0 if `attempt` succeeded behind `seal`, else its errno.
inline int tried_behind(const std::function<bool()>& seal, const std::function<long()>& attempt) {
  pid_t child = ::fork();
  if (child == 0) {
    if (!seal()) ::_exit(kSealFailed);
    errno = 0;
    long result = attempt();
    ::_exit(result >= 0 ? 0 : errno);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : kDied;
}

class SealTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: only root can give up another user's rights";
  }
};

// With a folder that everyone may change: what a sealed process can't do there the seal forbids.
class SealedFolderTest : public SealTest {
 protected:
  void SetUp() override {
    SealTest::SetUp();
    if (IsSkipped()) return;
    std::string pattern = (std::filesystem::temp_directory_path() / "weir-seal-XXXXXX").string();
    base_ = ::mkdtemp(pattern.data());
    std::filesystem::permissions(base_, std::filesystem::perms::all);
  }
  void TearDown() override {
    std::error_code ignored;
    if (!base_.empty()) std::filesystem::remove_all(base_, ignored);
  }

  std::filesystem::path base_;
};

}  // namespace weir
