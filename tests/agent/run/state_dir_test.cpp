// The agent's folder: who may use it.
#include "agent/run/state_dir.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

namespace weir {
namespace {

// What another process gets: 0 the folder, 1 an error that names it, 2 another error.
int tried_by_another(const std::string& dir) {
  const pid_t child = ::fork();
  if (child == 0) {
    Result<Fd> lock = lock_folder(dir);
    ::_exit(lock ? 0 : lock.error().sentence.find(dir) != std::string::npos ? 1 : 2);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(state_dir, one_agent_to_a_folder_and_the_next_once_it_is_gone) {
  const std::string dir = testing::TempDir() + "weir_state_dir_" + std::to_string(::getpid());
  std::filesystem::create_directories(dir);
  std::filesystem::create_directories(dir + "2");
  {
    Result<Fd> lock = lock_folder(dir);
    ASSERT_TRUE(lock) << lock.error().sentence;
    EXPECT_EQ(tried_by_another(dir), 1);
    EXPECT_EQ(tried_by_another(dir + "2"), 0);
  }
  EXPECT_EQ(tried_by_another(dir), 0);
  std::filesystem::remove_all(dir);
  std::filesystem::remove_all(dir + "2");
}

}  // namespace
}  // namespace weir
