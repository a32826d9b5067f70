// A blocked destination with the real programs, counted at the receiver: by address at once, by
// name what is open and what comes, and nobody else.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/e2e/desk/guarded_desk.h"

namespace weir {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kFirstFlight = 16 << 10;

class BlockOnADesk : public GuardedDesk {
 protected:
  void SetUp() override {
    GuardedDesk::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    offer({.number = 1, .then = "{limit: {bytes: 1GiB, per: [person, destination]}}"});
    ASSERT_EQ(next_state(), "1 1  0") << errors();
  }
  void TearDown() override {
    for (pid_t pid : started_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    GuardedDesk::TearDown();
  }
  std::string block(std::uint8_t id, const std::string& name, const std::string& address) {
    Body body;
    body.set_verb(Body::block_destination);
    body.set_lease_s(3'600);
    body.mutable_destination()->set_name(name);
    body.mutable_destination()->set_address(address);
    return send(body, id, "");
  }
  std::string undo(std::uint8_t id, std::uint8_t lease) {
    Body body;
    body.set_verb(Body::undo);
    body.set_lease_id(id_text(lease));
    return send(body, id, "");
  }
  // A program of the desk that says whom it means and goes on sending, 1000 bytes in 20 ms.
  void say(const std::string& host, int port) {
    const pid_t pid = ::fork();
    if (pid != 0) {
      started_.push_back(pid);
      return;
    }
    const int procs = ::open((desk_->place("a") + "/cgroup.procs").c_str(), O_WRONLY);
    if (procs < 0 || ::write(procs, "0", 1) != 1) ::_exit(1);
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, test::kPeer4, &to.sin_addr);
    const std::string head =
        "POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 99999999\r\n\r\n";
    const std::string piece(1'000, 'x');
    if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 ||
        ::write(fd, head.data(), head.size()) < 0)
      ::_exit(2);
    while (::write(fd, piece.data(), piece.size()) > 0) ::usleep(20'000);
    ::_exit(3);
  }
  std::uint64_t received(int port) const { return desk_->received(port); }
  bool goes_on(int port) {
    const std::uint64_t before = received(port);
    return await([&] { return received(port) > before + 4'000; });
  }
  // What still arrives from a moment after the answer on: what had left before is there by then.
  std::uint64_t more(int port) {
    ::usleep(300'000);
    const std::uint64_t before = received(port);
    ::usleep(2'000'000);
    return received(port) - before;
  }

  std::vector<pid_t> started_;
};

TEST_F(BlockOnADesk, by_name_has_what_says_it_open_and_new_and_leaves_the_rest) {
  const int evil = desk_->port(), good = evil + 1, later = evil + 2;
  say("files.evil.example", evil);
  say("good.example", good);
  ASSERT_TRUE(await([&] { return received(evil) > 40'000 && received(good) > 40'000; }))
      << errors();
  ASSERT_EQ(block(1, "evil.example", ""), "command 1  ") << errors();
  EXPECT_EQ(more(evil), 0u) << errors();
  EXPECT_TRUE(goes_on(good));
  say("evil.example", later);
  EXPECT_EQ(more(later), 0u);
  std::printf("a new stream to a blocked name that no answer led to: %lu bytes\n", received(later));
  EXPECT_LE(received(later), kFirstFlight);
  EXPECT_NE(status().find("BLOCKED by an administrator: evil.example"), std::string::npos)
      << status();
  EXPECT_TRUE(await([&] {
    return ask("my-events").second.find("blocked evil.example") != std::string::npos;
  })) << ask("my-events").second;
  ASSERT_EQ(undo(2, 1), "command 1  ") << errors();
  EXPECT_TRUE(goes_on(evil));
  EXPECT_TRUE(goes_on(later));
}

TEST_F(BlockOnADesk, by_address_has_everything_that_goes_there) {
  const int port = desk_->port();
  say("good.example", port);
  ASSERT_TRUE(await([&] { return received(port) > 40'000; })) << errors();
  ASSERT_EQ(block(1, "", "10.77.0.0/24"), "command 1  ") << errors();
  EXPECT_EQ(more(port), 0u);
  ASSERT_EQ(undo(2, 1), "command 1  ") << errors();
  EXPECT_TRUE(goes_on(port));
  EXPECT_TRUE(block(3, "", "127.0.0.0/8").starts_with("command 2 command_never_blocked ")) << "3";
  EXPECT_TRUE(block(4, "", "0.0.0.0/0").starts_with("command 2 command_damaged ")) << "4";
}

}  // namespace
}  // namespace weir
