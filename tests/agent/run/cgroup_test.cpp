// What killed agents leave below a cgroup.
#include "agent/run/cgroup.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace weir {
namespace {

namespace fs = std::filesystem;

TEST(left_cgroups, go_where_their_process_is_gone_and_nobody_is_in_there) {
  std::string name = (fs::temp_directory_path() / "weir-left-XXXXXX").string();
  const fs::path parent = ::mkdtemp(name.data());
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(gone, nullptr, 0), gone);
  const std::string ours = "weir-uplink-" + std::to_string(::getpid());
  const std::string left = "weir-uplink-" + std::to_string(gone);
  for (const std::string& one : {ours, left, left + "x", std::string("weir-uplink-"),
                                 std::string("weir-uplink--1"), std::string("other-1")})
    fs::create_directory(parent / one);
  remove_left_cgroups(parent, "weir-uplink-");
  EXPECT_FALSE(fs::exists(parent / left));
  EXPECT_TRUE(fs::exists(parent / ours));
  fs::create_directories(parent / left / "somebody");
  remove_left_cgroups(parent, "weir-uplink-");
  EXPECT_TRUE(fs::exists(parent / left));
  EXPECT_EQ(fs::remove_all(parent), 8u);
  remove_left_cgroups(parent, "weir-uplink-");  // and where there is nothing
}

}  // namespace
}  // namespace weir
