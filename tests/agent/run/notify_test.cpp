// What a service manager hears from notify.h.
#include "agent/run/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "agent/run/process.h"

namespace weir {
namespace {

class NotifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(::mkdtemp(folder_), nullptr);
    listen(folder_ + std::string("/socket"));
  }
  void TearDown() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
    std::filesystem::remove_all(folder_);
  }

  // `path`: with '@' for the abstract name space.
  void listen(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path[0] == '@') address.sun_path[0] = '\0';
    manager_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    ASSERT_EQ(::bind(manager_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }

  std::string heard() {
    char text[64];
    ssize_t got = ::recv(manager_.get(), text, sizeof text, 0);
    return got < 0 ? "" : std::string(text, static_cast<std::size_t>(got));
  }

  char folder_[32] = "/tmp/weir-notify.XXXXXX";
  Fd manager_;
};

TEST_F(NotifyTest, each_state_is_one_datagram) {
  notify_manager("READY=1");
  notify_manager("WATCHDOG=1");
  EXPECT_EQ(heard(), "READY=1");
  EXPECT_EQ(heard(), "WATCHDOG=1");
  EXPECT_EQ(heard(), "");
}

TEST_F(NotifyTest, a_socket_of_the_abstract_name_space_is_reached) {
  listen("@weir-notify-" + std::to_string(::getpid()));
  notify_manager("STOPPING=1");
  EXPECT_EQ(heard(), "STOPPING=1");
}

TEST_F(NotifyTest, a_manager_that_does_not_read_stops_nobody) {
  for (int n = 0; n < 10000; ++n) notify_manager("WATCHDOG=1");
  EXPECT_EQ(heard(), "WATCHDOG=1");
}

TEST_F(NotifyTest, without_a_manager_nothing_happens) {
  ::setenv("NOTIFY_SOCKET", "relative", 1);
  notify_manager("READY=1");
  ::setenv("NOTIFY_SOCKET", std::string(200, '/').c_str(), 1);
  notify_manager("READY=1");
  ::unsetenv("NOTIFY_SOCKET");
  notify_manager("READY=1");
  EXPECT_EQ(heard(), "");
}

TEST_F(NotifyTest, the_watchdog_is_fed_twice_as_often_as_it_asks) {
  EXPECT_EQ(watchdog_period_ms(), -1);
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  EXPECT_EQ(watchdog_period_ms(), 15000);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(watchdog_period_ms(), 15000);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(watchdog_period_ms(), -1);
  ::unsetenv("WATCHDOG_PID");
  for (const char* nonsense : {"", "0", "-1", "30s", "99999999999999999999999"}) {
    ::setenv("WATCHDOG_USEC", nonsense, 1);
    EXPECT_EQ(watchdog_period_ms(), -1) << nonsense;
  }
}

}  // namespace
}  // namespace weir
