// The usual launchers: only as a package leaves them.
#include "platform/linux/launchers.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace weir {
namespace {

namespace fs = std::filesystem;

TEST(Launchers, are_those_that_are_there_and_that_root_alone_can_change) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to own files";
  const std::string root =
      fs::temp_directory_path() / ("weir-launchers-" + std::to_string(getpid()));
  for (const char* name :
       {"/usr/sbin/cron", "/usr/sbin/atd", "/usr/bin/dbus-daemon", "/usr/bin/curl"}) {
    fs::create_directories(fs::path(root + name).parent_path());
    std::ofstream(root + name) << "x";
    ::chmod((root + name).c_str(), 0755);
  }
  ::chmod((root + "/usr/sbin/atd").c_str(), 0775);
  ASSERT_EQ(::chown((root + "/usr/bin/dbus-daemon").c_str(), 1000, 1000), 0);
  EXPECT_EQ(usual_launchers(root), (std::vector<std::string>{root + "/usr/sbin/cron"}));
  fs::remove_all(root);
}

}  // namespace
}  // namespace weir
