// Finding the cgroup2 mount in a mountinfo, whatever the host's layout.
#include "agent/run/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace weir {
namespace {

class MountInfo {
 public:
  explicit MountInfo(const char* text) { std::ofstream(path) << text; }
  ~MountInfo() { std::remove(path.c_str()); }
  std::string path = "mountinfo." + std::to_string(::getpid());
};

TEST(cgroup, a_hybrid_host_has_cgroup2_below_unified) {
  MountInfo mounts(
      "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
      "40 31 0:37 / /sys/fs/cgroup/systemd rw shared:9 master:2 - cgroup cgroup rw,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n");
  Result<std::string> root = cgroup2_root(mounts.path);
  ASSERT_TRUE(root);
  EXPECT_EQ(*root, "/sys/fs/cgroup/unified");
}

TEST(cgroup, a_host_without_cgroup2_gets_a_sentence_that_names_the_option) {
  MountInfo mounts("31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n");
  Result<std::string> root = cgroup2_root(mounts.path);
  ASSERT_FALSE(root);
  EXPECT_NE(root.error().sentence.find("--cgroup"), std::string::npos);
}

}  // namespace
}  // namespace weir
