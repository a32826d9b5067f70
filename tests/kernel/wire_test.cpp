// What the devices say that they sent, beside what the floor saw.
#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include "platform/files/fd.h"
#include "platform/linux/device_bytes.h"
#include "platform/linux/pinned_tables.h"
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kPlenty = 1 << 30;
constexpr std::uint64_t kShort = 2'000;  // what a few short frames are filled up by
constexpr std::size_t kFrames = 200, kFrame = 1'000;

std::vector<Device> desk0() {
  return {{if_nametoindex("desk0"), "desk0", true}};
}

class Wire : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped()) lay({});
  }
  void lay(KernelOptions options) {
    k->load({limit_row(kPlenty, 0, WEIR_PER_HOST)}, std::move(options), {});
    auto laid = k->part->set_floor(desk0());
    if (!laid) GTEST_SKIP() << laid.error().sentence;
    k->part->look_at_wire();
  }
  WireBytes look() {
    k->part->look_at_wire();
    return k->part->wire();
  }
};

// To the driver itself, past what stands at the device, by a socket that no hook of the desk has
// seen: this process is in no cgroup of the desk's.
void send_past_everything(const char* device) {
  constexpr int kBypass = 20;  // PACKET_QDISC_BYPASS
  constexpr std::uint16_t kNobodys = 0x88b5;
  const Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(kNobodys)));
  ASSERT_TRUE(socket);
  const int on = 1;
  ASSERT_EQ(setsockopt(socket.get(), SOL_PACKET, kBypass, &on, sizeof on), 0);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(if_nametoindex(device));
  std::string frame(kFrame, 'w');
  std::memset(frame.data(), 0xff, 6);
  frame[12] = static_cast<char>(kNobodys >> 8);
  frame[13] = static_cast<char>(kNobodys & 0xff);
  for (std::size_t n = 0; n < kFrames; ++n)
    ASSERT_EQ(sendto(socket.get(), frame.data(), frame.size(), 0,
                     reinterpret_cast<const sockaddr*>(&to), sizeof to),
              static_cast<ssize_t>(frame.size()));
}

// Whether a pair's end takes what the stack has not cut into segments: no wire does.
void take_whole_segments(std::uint32_t yes) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ethtool_value value{ETHTOOL_STSO, yes};
  ifreq ask{};
  std::strncpy(ask.ifr_name, "desk0", sizeof ask.ifr_name - 1);
  ask.ifr_data = reinterpret_cast<char*>(&value);
  EXPECT_EQ(ioctl(socket.get(), SIOCETHTOOL, &ask), 0);
}

TEST_F(Wire, what_programs_send_is_all_seen_and_not_much_more) {
  take_whole_segments(0);
  const WireBytes before = look();
  for (const char* to : {kPeer4, kPeer6}) {
    k->desk.finish(k->desk.start(tcp({"--to", to, "--bytes", "1000000"})));
    k->desk.finish(k->desk.start(udp({"--to", to, "--bytes", "300000"})));
  }
  const std::uint64_t received = k->desk.settled(milliseconds(200), within(4000));
  const WireBytes now = look();
  take_whole_segments(1);
  const std::uint64_t sent = now.sent - before.sent, seen = now.seen - before.seen;
  fmt::print("received {} charged {} sent {} seen {} unattributed {}\n", received, k->charged(0),
             sent, seen, now.unattributed);
  EXPECT_GT(received, 2'000'000U) << "it did send";
  EXPECT_GE(sent, received);
  EXPECT_GE(seen, sent);
  EXPECT_LE(seen, sent + sent / 50 + (64 << 10));
  EXPECT_EQ(now.unattributed, 0U);
  EXPECT_EQ(now.devices, 1U);
}

TEST_F(Wire, frames_of_a_packet_socket_are_charged_and_so_not_unattributed) {
  const Outcome o = k->desk.finish(k->desk.start(
      {"--to", kPeer4, "--ms", std::to_string(1000 * scale()), "--shape", "way", "--", "frames"}));
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_GT(k->charged(0), 10'000U);
  EXPECT_EQ(look().unattributed, 0U);
}

TEST_F(Wire, what_no_program_of_ours_saw_is_unattributed) {
  EXPECT_EQ(look().unattributed, 0U);
  const std::uint64_t charged = k->charged(0);
  send_past_everything("desk0");
  const WireBytes now = look();
  fmt::print("past everything {} unattributed {} charged {}\n", kFrames * kFrame, now.unattributed,
             k->charged(0) - charged);
  EXPECT_LE(now.unattributed, kFrames * kFrame);
  EXPECT_GE(now.unattributed, kFrames * kFrame - kShort);
  EXPECT_LE(k->charged(0), charged + kShort) << "no account knows of it";
}

// A packet socket that asked to go past the queues before there was an agent.
class WireBefore : public Wire, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { KernelTest::SetUp(); }  // the socket first
};
INSTANTIATE_TEST_SUITE_P(kernel, WireBefore, testing::Values(kPeer4, kPeer6), [](const auto& info) {
  return std::string(info.param == kPeer4 ? "ipv4" : "ipv6");
});

TEST_P(WireBefore, a_packet_socket_is_put_back_behind_the_floor) {
  const pid_t pid = k->desk.start({"--to", GetParam(), "--ms", std::to_string(60'000 * scale()),
                                   "--shape", "way", "--", "frames_of_before"});
  k->desk.await_line(pid, "ready");
  constexpr std::uint64_t kLimit = 200'003;
  k->load({limit_row(kLimit, 0, WEIR_PER_HOST)}, {}, {});
  auto laid = k->part->set_floor(desk0());
  if (!laid) GTEST_SKIP() << laid.error().sentence;
  k->part->look_at_wire();
  k->desk.write_line(pid);
  EXPECT_TRUE(await([&] { return k->count(WEIR_COUNT_FLOOR_REFUSED) > 100; }, within(20'000)));
  kill(pid, SIGTERM);
  const Outcome o = k->desk.finish(pid);
  const std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  fmt::print("limit {} charged {} received {}\n", kLimit, k->charged(0), received);
  EXPECT_NE(o.output.find("past the queue: 0"), std::string::npos) << o.output;
  EXPECT_NE(o.output.find("refused"), std::string::npos) << "asking again: " << o.output;
  EXPECT_GT(received, 0U) << "it did send";
  EXPECT_LE(received, k->charged(0));
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_EQ(look().unattributed, 0U);
}

// What leaves while no agent lives is found by the next one.
TEST_F(Wire, it_goes_on_over_the_end_of_an_agent) {
  k->part.reset();
  KernelOptions options;
  options.pin_dir = k->desk.pin_dir();
  lay(options);
  send_past_everything("desk0");
  look();
  k->part.reset();
  send_past_everything("desk0");
  lay(options);
  ASSERT_TRUE(k->part->adopted());
  const WireBytes now = look();
  EXPECT_LE(now.unattributed, 2 * kFrames * kFrame);
  EXPECT_GE(now.unattributed, 2 * kFrames * kFrame - kShort);
  const auto pinned = read_pinned(options.pin_dir);
  ASSERT_TRUE(pinned) << pinned.error().sentence;
  EXPECT_EQ(pinned->wire.unattributed, now.unattributed);
  EXPECT_EQ(pinned->wire.devices, 1U);
  k->part.reset();
  EXPECT_TRUE(KernelPart::release(options.pin_dir));
}

TEST_F(Wire, a_device_that_goes_leaves_what_was_found_at_it) {
  ASSERT_EQ(std::system("ip link add gone0 type veth peer name gone1 && ip link set gone0 up && "
                        "ip link set gone1 up"),
            0);
  std::vector<Device> both = desk0();
  both.push_back({if_nametoindex("gone0"), "gone0", true});
  ASSERT_TRUE(k->part->set_floor(both));
  EXPECT_EQ(look().devices, 2U);
  send_past_everything("gone0");
  look();
  ASSERT_EQ(std::system("ip link del gone0"), 0);
  ASSERT_TRUE(k->part->set_floor(desk0()));
  const WireBytes now = look();
  EXPECT_EQ(now.devices, 1U);
  EXPECT_LE(now.unattributed, kFrames * kFrame);
  EXPECT_GE(now.unattributed, kFrames * kFrame - kShort);
}

TEST(DeviceBytes, of_one_device) {
  const char* text =
      " face |bytes\n  eth0: 5 1 0 0 0 0 0 0 70 9 0\n eth01: 5 1 0 0 0 0 0 0 80 9 0\n";
  EXPECT_EQ(bytes_sent_in(text, "eth0"), 70U);
  EXPECT_EQ(bytes_sent_in(text, "eth01"), 80U);
  EXPECT_EQ(bytes_sent_in(text, "eth"), std::nullopt);
}

}  // namespace
}  // namespace weir::test
