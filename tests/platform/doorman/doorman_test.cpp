// Who of a host's connections goes when it has too many: real sockets, and nobody behind the door.
#include "platform/doorman/doorman.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "platform/files/fd.h"

namespace weir {
namespace {

constexpr std::uint32_t kHost = 7;

void pass(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

class Door : public testing::Test {
 protected:
  struct Caller {
    Fd fd;
    std::string peer;  // as gRPC writes it
    std::shared_ptr<Visitor> visitor{};
  };
  void open(std::int64_t spoke_within_ms) {
    DoormanOptions options;
    options.address = "127.0.0.1:0";
    options.limits.of_host = 2;
    options.limits.spoke_within_ms = spoke_within_ms;
    options.let_in = [this](int fd, const std::shared_ptr<Visitor>&) {
      std::lock_guard lock(mutex_);
      inside_.emplace_back(fd);
    };
    Result<std::unique_ptr<Doorman>> opened = Doorman::open(options);
    ASSERT_TRUE(opened) << opened.error().sentence;
    door_ = std::move(*opened);
    door_->start();
  }
  void TearDown() override {
    if (door_) door_->stop();
  }
  // Connected, let in, and a stream of the host opened.
  Caller come() {
    Caller caller{Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), ""};
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(door_->port());
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(caller.fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    socklen_t size = sizeof at;
    ::getsockname(caller.fd.get(), reinterpret_cast<sockaddr*>(&at), &size);
    caller.peer = fmt::format("ipv4:127.0.0.1:{}", ntohs(at.sin_port));
    say(caller);
    EXPECT_TRUE(soon([&] { return !door_->is_leaving(caller.peer); }));
    caller.visitor = door_->prove(caller.peer, kHost);
    return caller;
  }
  static void say(const Caller& caller) { EXPECT_EQ(::send(caller.fd.get(), "x", 1, 0), 1); }
  bool stays(const Caller& caller) const { return !door_->is_leaving(caller.peer); }
  template <class F>
  static bool soon(const F& done) {
    for (int n = 0; n < 300 && !done(); ++n) pass(10);
    return done();
  }

  std::unique_ptr<Doorman> door_;
  std::mutex mutex_;
  std::vector<Fd> inside_;
};

// The library has not closed them yet: that takes as long as it does.
TEST_F(Door, who_is_leaving_takes_no_place_of_who_comes) {
  for (std::int64_t spoke_within_ms : {0, 12'000}) {
    open(spoke_within_ms);
    std::vector<Caller> before;
    for (int n = 0; n < 2; ++n) before.push_back(come());
    for (const Caller& one : before) ::shutdown(one.fd.get(), SHUT_WR);
    ASSERT_TRUE(soon([&] { return !stays(before[0]) && !stays(before[1]); }));
    EXPECT_EQ(door_->counters().inside, 2u);
    const Caller next = come();
    EXPECT_NE(next.visitor, nullptr);
    EXPECT_TRUE(stays(next));
    EXPECT_EQ(door_->counters().replaced, 0u);
    door_->stop();
    inside_.clear();
  }
}

TEST_F(Door, of_too_many_who_has_been_silent_longest_goes) {
  open(300);
  const Caller first = come(), second = come();
  pass(500);
  say(first);
  const Caller third = come();
  EXPECT_NE(third.visitor, nullptr);
  EXPECT_TRUE(stays(first));
  EXPECT_FALSE(stays(second));
}

TEST_F(Door, of_too_many_that_all_speak_the_newcomer_goes) {
  open(12'000);
  const Caller first = come(), second = come(), third = come();
  EXPECT_EQ(third.visitor, nullptr);
  EXPECT_TRUE(stays(first) && stays(second));
  EXPECT_FALSE(stays(third));
  EXPECT_EQ(door_->counters().replaced, 1u);
}

TEST_F(Door, of_too_many_the_oldest_goes_where_silence_means_nothing) {
  open(0);
  const Caller first = come(), second = come();
  say(first);
  const Caller third = come();
  EXPECT_NE(third.visitor, nullptr);
  EXPECT_FALSE(stays(first));
  EXPECT_TRUE(stays(second));
}

}  // namespace
}  // namespace weir
