// A blocked destination with the real programs, counted at the receiver: by address at once, by
// name what is open and what comes, and nobody else.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <memory>

#include "agent/guard/exceptions.h"
#include "core/net/domain.h"
#include "platform/files/fd.h"
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
  // For everybody, or for the user whose number is so much above the desk's.
  std::string block(std::uint8_t id, const std::string& name, const std::string& address,
                    std::uint32_t beside = 0) {
    Body body;
    body.set_verb(Body::block_destination);
    body.set_lease_s(3'600);
    if (beside != 0) body.mutable_person()->mutable_user()->set_uid(person() + beside);
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
  // A process of the desk that does this; it ends with the test.
  void there(const std::function<void()>& does) {
    const pid_t pid = ::fork();
    if (pid != 0) {
      started_.push_back(pid);
      return;
    }
    const int procs = ::open((desk_->place("a") + "/cgroup.procs").c_str(), O_WRONLY);
    if (procs < 0 || ::write(procs, "0", 1) != 1) ::_exit(1);
    does();
    ::_exit(0);
  }
  static sockaddr_in resolver() {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(53);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return to;
  }
  // A resolver of the desk's own answers every question with the peer's addresses.
  void answer_questions() {
    const pid_t pid = ::fork();
    if (pid != 0) {
      started_.push_back(pid);
      return;
    }
    const Fd line(::socket(AF_INET, SOCK_DGRAM, 0));
    const sockaddr_in own = resolver();
    if (::bind(line.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) ::_exit(2);
    for (;;) {
      std::array<char, 512> question{};
      sockaddr_in from{};
      socklen_t size = sizeof from;
      const ssize_t got = ::recvfrom(line.get(), question.data(), question.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 17) continue;
      std::string answer(question.data(), static_cast<std::size_t>(got));
      const bool six = answer[answer.size() - 3] == 28;
      answer[2] = '\x81';
      answer[3] = '\x80';
      answer[7] = 1;
      answer += std::string("\xc0\x0c\0", 3) + (six ? '\x1c' : '\x01') +
                std::string("\0\x01\0\0\x01\x2c\0", 7) + (six ? '\x10' : '\x04');
      std::array<char, 16> address{};
      ::inet_pton(six ? AF_INET6 : AF_INET, six ? test::kPeer6 : test::kPeer4, address.data());
      answer.append(address.data(), six ? 16 : 4);
      (void)!::sendto(line.get(), answer.data(), answer.size(), 0,
                      reinterpret_cast<sockaddr*>(&from), size);
    }
  }
  // For both addresses of files.evil.example.
  void look_up() {
    there([] {
      const Fd line(::socket(AF_INET, SOCK_DGRAM, 0));
      const sockaddr_in to = resolver();
      if (::connect(line.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return;
      for (const char type : {'\x01', '\x1c'}) {
        const std::string question = std::string("\0\x07\x01\0\0\x01\0\0\0\0\0\0", 12) +
                                     "\5files\4evil\7example" + std::string("\0\0", 2) + type +
                                     std::string("\0\x01", 2);
        char answer[512];
        for (bool heard = false; !heard;) {
          if (::send(line.get(), question.data(), question.size(), 0) < 0) ::usleep(50'000);
          ::usleep(50'000);
          heard = ::recv(line.get(), answer, sizeof answer, MSG_DONTWAIT) ==
                  static_cast<ssize_t>(question.size()) + (type == '\x1c' ? 28 : 16);
        }
      }
    });
  }
  void look_up_and_wait() {
    look_up();
    siginfo_t heard{};
    ASSERT_TRUE(await([&] {
      return ::waitid(P_PID, static_cast<id_t>(started_.back()), &heard,
                      WEXITED | WNOHANG | WNOWAIT) == 0 &&
             heard.si_pid == started_.back();
    })) << "no answer came";
  }
  // And says no name: 1000 bytes in 20 ms, whatever becomes of them.
  void send_to(const char* where, int port) {
    there([where, port] {
      const bool six = std::strchr(where, ':') != nullptr;
      const Fd line(::socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM, 0));
      sockaddr_in four{};
      sockaddr_in6 a6{};
      four.sin_family = AF_INET;
      a6.sin6_family = AF_INET6;
      four.sin_port = a6.sin6_port = htons(static_cast<std::uint16_t>(port));
      ::inet_pton(AF_INET, where, &four.sin_addr);
      ::inet_pton(AF_INET6, where, &a6.sin6_addr);
      const auto* to = six ? reinterpret_cast<sockaddr*>(&a6) : reinterpret_cast<sockaddr*>(&four);
      if (::connect(line.get(), to, six ? sizeof a6 : sizeof four) != 0) return;
      const std::string piece(1'000, 'x');
      for (;; ::usleep(20'000)) (void)!::send(line.get(), piece.data(), piece.size(), 0);
    });
  }
  std::unique_ptr<ExceptionTable> on_the_disk() const {
    std::stringstream text;
    text << std::ifstream(state() / "exceptions", std::ios::binary).rdbuf();
    auto table = std::make_unique<ExceptionTable>(ExceptionTable::none());
    const std::string bytes = text.str();
    if (auto read = ExceptionTable::read(bytes_of(bytes))) *table = *read;
    return table;
  }
  // No pin is left, and the file is of another boot, which was up for longer. Its places were seen
  // so much earlier, and there are others.
  void reboot(std::int64_t earlier_s = 0, std::vector<BlockedPlace> others = {}) {
    desk_->end_all();
    stop();
    ASSERT_EQ(::umount2((base_ / "bpf").c_str(), MNT_DETACH), 0);
    const auto table = on_the_disk();
    ASSERT_EQ(table->blocks.blocks, 1u);
    HeldBlock& one = table->blocks.block[0];
    one.boot[0] = static_cast<std::uint8_t>(~one.boot[0]);
    one.until_boot_ns += 900'000'000'000'000;
    for (BlockedPlace& place : table->places.place)
      if (place.name != 0) place.seen_wall_s -= earlier_s;
    for (const BlockedPlace& other : others) table->places.add(other);
    const Bytes bytes = table->bytes();
    std::ofstream(state() / "exceptions", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    ASSERT_EQ(::mount("weir-guarded", (base_ / "bpf").c_str(), "bpf", 0, "mode=700"), 0);
    start();
    ASSERT_EQ(next_state(), "1 1  0") << errors();
  }
  // The kernel has the peer's address as one of the blocked name.
  bool leads_to_evil() const {
    const Fd map(
        bpf_obj_get((base_ / "bpf/weir" / std::to_string(WEIR_LAYOUT) / "maps/prefixes").c_str()));
    weir_prefix_key key{128, {}};
    const IpAddress peer = *IpAddress::parse(test::kPeer4);
    std::copy(peer.bytes.begin(), peer.bytes.end(), key.address);
    weir_prefix found{};
    EXPECT_TRUE(map);
    return bpf_map_lookup_elem(map.get(), &key, &found) == 0 &&
           found.dest == destination_key("evil.example");
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

// What a new engine says of a flow counts, whoever the block is about.
TEST_F(BlockOnADesk, by_name_for_another_user_leaves_a_flow_to_what_a_new_engine_says) {
  const int port = desk_->port();
  answer_questions();
  look_up_and_wait();
  say("files.evil.example", port);
  ASSERT_TRUE(await([&] { return received(port) > 40'000; })) << errors();
  ASSERT_EQ(block(1, "evil.example", "", 1), "command 1  ") << errors();
  EXPECT_TRUE(goes_on(port));
  const pid_t killed = engine();
  ASSERT_GT(killed, 0);
  ::kill(killed, SIGKILL);
  ASSERT_TRUE(await([&] { return engine() != 0 && engine() != killed; })) << errors();
  EXPECT_TRUE(goes_on(port));
  // A number that its own verdict alone takes it off.
  offer({.number = 2,
         .limit = "20KiB",
         .when = "{upload_to: [cloud_storage]}",
         .defaults = "{first_flight: 16KiB}"});
  ASSERT_EQ(next_state(), "1 2  0") << errors();
  const std::uint64_t before = received(port);
  EXPECT_TRUE(await([&] { return received(port) > before + 150'000; }))
      << received(port) - before << " " << errors();
}

// Names move: a day after an answer the address may be another's.
TEST_F(BlockOnADesk, by_name_leaves_its_address_a_day_after_an_answer_gave_it) {
  answer_questions();
  look_up_and_wait();
  send_to(test::kPeer4, desk_->port());
  ASSERT_TRUE(await([&] { return received(desk_->port()) > 4'000; })) << errors();
  ASSERT_EQ(block(1, "evil.example", ""), "command 1  ") << errors();
  ASSERT_TRUE(await([&] { return on_the_disk()->places.count == 2; })) << errors();
  const int soon = desk_->port() + 1;
  reboot(kPlaceLasts_s - 30);
  send_to(test::kPeer4, soon);
  send_to(test::kPeer6, soon);
  EXPECT_EQ(more(soon), 0u) << "half a minute is left";
  EXPECT_EQ(on_the_disk()->places.count, 2u);
  EXPECT_TRUE(leads_to_evil());
  EXPECT_TRUE(await([&] { return on_the_disk()->places.count == 0; })) << errors();
  EXPECT_TRUE(goes_on(soon)) << errors();
  EXPECT_TRUE(await([&] { return !leads_to_evil(); }));
  EXPECT_EQ(on_the_disk()->blocks.blocks, 1u) << "the block itself holds";
  const std::int64_t before = std::time(nullptr) - kPlaceLasts_s;
  reboot(0, {{destination_key("evil.example"), IpAddress::parse(test::kPeer4)->bytes, before}});
  EXPECT_FALSE(leads_to_evil()) << "it had ended before";
}

TEST_F(BlockOnADesk, by_name_stays_shut_over_the_guards_end_and_a_reboot) {
  const int evil = desk_->port(), good = evil + 1;
  answer_questions();
  look_up_and_wait();
  say("files.evil.example", evil);
  send_to(test::kPeer4, evil);
  send_to(test::kPeer6, evil);
  send_to(test::kOther4, good);
  ASSERT_TRUE(await([&] { return received(evil) > 40'000 && received(good) > 40'000; }))
      << errors();
  ASSERT_EQ(block(1, "evil.example", ""), "command 1  ") << errors();
  EXPECT_EQ(more(evil), 0u) << errors();
  ASSERT_TRUE(await([&] { return on_the_disk()->places.count == 2; })) << errors();
  const std::uint64_t before = received(evil);
  // A new engine may judge a flow before it has heard of the block.
  const auto new_ones_are_shut = [&](int port) {
    send_to(test::kPeer4, port);
    send_to(test::kPeer6, port);
    EXPECT_TRUE(goes_on(good));
    EXPECT_EQ(more(port), 0u);
    EXPECT_LE(received(port), 2 * kFirstFlight);
  };
  for (int n = 0; n < 2; ++n) {
    const pid_t killed = guard();
    ::kill(killed, SIGKILL);
    ASSERT_TRUE(await([&] { return guard() != 0 && guard() != killed; })) << errors();
    ASSERT_EQ(next_state(), "1 1  0") << errors();
    new_ones_are_shut(evil + 2 + n);
    std::printf("after %d ends of the guard: %lu bytes, of new flows %lu\n", n + 1,
                received(evil) - before, received(evil + 2 + n));
    EXPECT_EQ(received(evil), before) << "what was open";
  }
  reboot();
  send_to(test::kOther4, good);
  new_ones_are_shut(evil + 4);
  std::printf("after a reboot: %lu bytes of new flows\n", received(evil + 4));
  ASSERT_EQ(undo(2, 1), "command 1  ") << errors();
  EXPECT_TRUE(goes_on(evil + 4));
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
