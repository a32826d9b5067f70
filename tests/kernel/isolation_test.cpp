// An isolated host: from that moment nothing is on the wire but what the refuges take, of no
// protocol, no family and no connection of before; and it ends by itself.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <ostream>
#include <thread>

#include "platform/files/fd.h"
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;
constexpr std::uint64_t kLong = 3600ull * kSecond;

// IP packets that leave by the desk's device, whoever sends them: behind every program. What keeps
// the link alive (neighbour discovery, memberships) is none.
class Wire {
 public:
  Wire() : fd_(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL))) {
    int bytes = 8 << 20;
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(::if_nametoindex("desk0"));
    good_ = ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
    (void)passed();
  }
  bool good() const { return good_; }
  // Since the last time.
  std::uint64_t passed() {
    std::uint64_t count = 0;
    std::uint8_t b[128];
    sockaddr_ll from{};
    for (;;) {
      socklen_t size = sizeof from;
      const ssize_t got =
          ::recvfrom(fd_.get(), b, sizeof b, MSG_TRUNC, reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 0) return count;
      if (from.sll_pkttype != PACKET_OUTGOING || is_upkeep(ntohs(from.sll_protocol), b)) continue;
      ++count;
    }
  }

 private:
  static bool is_upkeep(int protocol, const std::uint8_t* b) {
    if (protocol == ETH_P_IP) return false;
    if (protocol != ETH_P_IPV6) return true;
    if (b[6] == 0) return b[48] == 143 || b[48] == 131 || b[48] == 132;
    return b[6] == IPPROTO_ICMPV6 && b[40] >= 133 && b[40] <= 136;
  }
  Fd fd_;
  bool good_ = false;
};

sockaddr_storage address_of(const char* text, int port) {
  sockaddr_storage all{};
  if (auto* v6 = reinterpret_cast<sockaddr_in6*>(&all);
      ::inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<std::uint16_t>(port));
    return all;
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&all);
  v4->sin_family = AF_INET;
  v4->sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, text, &v4->sin_addr);
  return all;
}

struct Case {
  const char* name;
  const char* peer;
};

std::ostream& operator<<(std::ostream& out, const Case& one) {  // in the name of a test
  return out << one.name;
}

class Isolation : public KernelTest, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    KernelOptions options;
    pins_ = options.pin_dir = k->desk.pin_dir();
    k->load({limit_row(kRoomy, 0, WEIR_PER_HOST)}, options);
  }
  void TearDown() override {
    if (!k) return;
    k->events.reset();
    k->part.reset();
    EXPECT_TRUE(KernelPart::release(pins_));
  }
  std::vector<std::string> to_peer(std::vector<std::string> more = {}) {
    std::vector<std::string> a = {"--to", GetParam().peer, "--ms", "60000"};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  // In a process of the desk's cgroup; its exit status.
  int there(const std::function<int()>& does) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const Fd procs(::open((k->desk.place("a") + "/cgroup.procs").c_str(), O_WRONLY));
      if (!procs || ::write(procs.get(), "0", 1) != 1) ::_exit(99);
      ::_exit(does());
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // What connecting there, or sending one packet, comes to: 0 or an errno.
  int try_to(int type, int protocol, int port) {
    const sockaddr_storage to = address_of(GetParam().peer, port);
    const bool v6 = to.ss_family == AF_INET6;
    if (protocol == IPPROTO_ICMP && v6) protocol = IPPROTO_ICMPV6;
    return there([&] {
      const int fd = ::socket(to.ss_family, type | SOCK_NONBLOCK, protocol);
      const auto* a = reinterpret_cast<const sockaddr*>(&to);
      const socklen_t size = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
      if (type == SOCK_STREAM)
        return ::connect(fd, a, size) != 0 && errno != EINPROGRESS ? errno : 0;
      std::uint8_t packet[64] = {static_cast<std::uint8_t>(v6 ? 128 : 8)};
      sockaddr_storage raw = to;  // a raw socket has no port
      if (type == SOCK_RAW) reinterpret_cast<sockaddr_in6*>(&raw)->sin6_port = 0;
      return ::sendto(fd, packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&raw), size) < 0
                 ? errno
                 : 0;
    });
  }
  Result<void> refuge(std::uint32_t what) {
    const std::pair<Prefix, std::uint32_t> one{*Prefix::parse(GetParam().peer), what};
    return k->part->set_refuges({&one, 1});
  }
  Result<void> isolate(std::uint64_t for_ns = kLong) {
    return k->part->isolate(boot_now() + for_ns);
  }

  std::string pins_;
};

INSTANTIATE_TEST_SUITE_P(kernel, Isolation, testing::Values(Case{"v4", kPeer4}, Case{"v6", kPeer6}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(Isolation, stops_connections_that_are_there_already_at_once) {
  Wire wire;
  ASSERT_TRUE(wire.good());
  k->desk.start(to_peer());
  k->desk.start(to_peer({"--udp", "--size", "1000"}));
  ASSERT_TRUE(await([&] { return k->desk.received() > 1'000'000; }, within(4000)));
  ASSERT_TRUE(isolate());
  usleep(100'000);  // what had passed the programs before is with the peer
  (void)wire.passed();
  const std::uint64_t before = k->desk.received();
  usleep(static_cast<unsigned>(2'000'000 * scale()));
  fmt::print("before {}, after {} bytes, {} packets, {} kept in\n", before, k->desk.received(),
             wire.passed(), k->count(WEIR_COUNT_ISOLATED));
  EXPECT_EQ(k->desk.received(), before);
  EXPECT_EQ(wire.passed(), 0U) << "not an acknowledgement either";
  EXPECT_GT(k->count(WEIR_COUNT_ISOLATED), 0U);
  ASSERT_TRUE(k->part->isolate(0));
  EXPECT_TRUE(await([&] { return k->desk.received() > before; }, within(4000))) << "it has ended";
}

TEST_P(Isolation, refuses_what_is_new_with_a_word_to_the_program) {
  ASSERT_TRUE(isolate());
  Wire wire;
  EXPECT_EQ(try_to(SOCK_STREAM, 0, k->desk.port()), EPERM);
  EXPECT_EQ(try_to(SOCK_DGRAM, 0, k->desk.port()), EPERM);
  EXPECT_EQ(try_to(SOCK_DGRAM, 0, 53), EPERM) << "no refuge of any resolver";
  EXPECT_EQ(try_to(SOCK_RAW, IPPROTO_ICMP, 0), EPERM);
  EXPECT_EQ(try_to(SOCK_RAW, IPPROTO_SCTP, 0), EPERM);
  k->desk.finish(k->desk.start(to_peer({"--ms", "500"})));
  EXPECT_EQ(wire.passed(), 0U);
  EXPECT_EQ(k->desk.received(), 0U);
  const auto told = k->records<weir_refused>(WEIR_REC_REFUSED);
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0].account.limit, WEIR_ISOLATED);
  EXPECT_EQ(told[0].tuple.remote_port, k->desk.port());
}

TEST_P(Isolation, stops_frames_that_no_socket_of_a_network_protocol_sent) {
  auto laid = k->part->set_floor(std::vector<Device>{{if_nametoindex("desk0"), "desk0", true}});
  if (!laid) GTEST_SKIP() << laid.error().sentence;
  ASSERT_TRUE(isolate());
  Wire wire;
  const Outcome o = k->desk.finish(k->desk.start(
      {"--to", kPeer4, "--ms", std::to_string(1000 * scale()), "--shape", "way", "--", "frames"}));
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_EQ(k->desk.received(), 0U);
  EXPECT_EQ(wire.passed(), 0U);
  EXPECT_GT(k->count(WEIR_COUNT_ISOLATED), 0U);
}

TEST_P(Isolation, answers_nobody) {
  const std::string port = std::to_string(k->desk.port());
  k->desk.start({"--shape", "answer", "--port", port, "--size", "500", "--ms", "20000"});
  const pid_t listens = ::fork();
  if (listens == 0) {
    const Fd procs(::open((k->desk.place("a") + "/cgroup.procs").c_str(), O_WRONLY));
    if (::write(procs.get(), "0", 1) != 1) ::_exit(1);
    const Fd socket(::socket(AF_INET6, SOCK_STREAM, 0));  // of the cgroup that it is made in
    sockaddr_storage any = address_of("::", k->desk.port());
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&any), sizeof(sockaddr_in6)) != 0 ||
        ::listen(socket.get(), 16) != 0)
      ::_exit(1);
    for (;;) {
      const Fd one(::accept(socket.get(), nullptr, nullptr));
      (void)!::write(one.get(), "hello", 5);
    }
  }
  ASSERT_TRUE(await([&] { return k->desk.peer_fetches(k->desk.port()) > 0; }, within(4000)));
  ASSERT_TRUE(
      await([&] { return k->desk.peer_asks(k->desk.port(), 1, 100).bytes > 0; }, within(4000)));
  ASSERT_TRUE(isolate());
  Wire wire;
  EXPECT_EQ(k->desk.peer_asks(k->desk.port(), 5, 100).bytes, 0U);
  EXPECT_EQ(k->desk.peer_fetches(k->desk.port()), 0U);
  EXPECT_EQ(wire.passed(), 0U) << "nor does it accept a connection";
  ::kill(listens, SIGKILL);
  ::waitpid(listens, nullptr, 0);
}

TEST_P(Isolation, lets_pass_what_a_refuge_takes_and_nothing_else_there) {
  ASSERT_TRUE(refuge(WEIR_REFUGE_DNS));
  ASSERT_TRUE(isolate());
  EXPECT_EQ(try_to(SOCK_DGRAM, 0, 53), 0);
  EXPECT_EQ(try_to(SOCK_STREAM, 0, 53), 0);
  EXPECT_EQ(try_to(SOCK_STREAM, 0, k->desk.port()), EPERM);
  EXPECT_EQ(try_to(SOCK_RAW, IPPROTO_ICMP, 0), EPERM);
  ASSERT_TRUE(refuge(WEIR_REFUGE_ALL));
  EXPECT_EQ(try_to(SOCK_RAW, IPPROTO_ICMP, 0), 0);
  k->desk.finish(k->desk.start(to_peer({"--bytes", "100000"})));
  EXPECT_EQ(k->desk.settled(milliseconds(200), within(2000)), 100'000U);
  ASSERT_TRUE(k->part->set_refuges({}));
  EXPECT_EQ(try_to(SOCK_STREAM, 0, 53), EPERM);
}

TEST_P(Isolation, leaves_the_uplink_alone_whose_cage_lets_it_reach_the_collector) {
  ASSERT_TRUE(k->part->set_home(k->desk.place("b"), 0));
  ASSERT_TRUE(isolate());
  k->desk.finish(k->desk.start(to_peer({"--bytes", "100000"}), "b"));
  EXPECT_EQ(k->desk.settled(milliseconds(200), within(2000)), 100'000U);
  EXPECT_EQ(try_to(SOCK_STREAM, 0, k->desk.port()), EPERM) << "by nobody else";
}

TEST_P(Isolation, leaves_the_loopback_alone) {
  ASSERT_TRUE(isolate());
  EXPECT_EQ(there([&] {
              const Fd listener(::socket(AF_INET, SOCK_STREAM, 0));
              sockaddr_in at{};
              at.sin_family = AF_INET;
              at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
              socklen_t size = sizeof at;
              if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&at), size) ||
                  ::listen(listener.get(), 1) ||
                  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size))
                return 1;
              const Fd client(::socket(AF_INET, SOCK_STREAM, 0));
              if (::connect(client.get(), reinterpret_cast<sockaddr*>(&at), size)) return 2;
              const Fd server(::accept(listener.get(), nullptr, nullptr));
              char byte = 0;
              return ::write(client.get(), "x", 1) == 1 && ::read(server.get(), &byte, 1) == 1 ? 0
                                                                                               : 3;
            }),
            0);
}

TEST_P(Isolation, ends_by_itself_also_without_a_guard) {
  k->desk.start(to_peer({"--udp", "--size", "1000", "--pace", "20000"}));
  ASSERT_TRUE(await([&] { return k->desk.received() > 0; }, within(4000)));
  const std::uint64_t lease = 3ull * kSecond * static_cast<std::uint64_t>(scale());
  ASSERT_TRUE(isolate(lease));
  const std::uint64_t until = boot_now() + lease;
  k->events.reset();
  k->part.reset();  // as if killed: what is pinned holds
  usleep(100'000);
  const std::uint64_t before = k->desk.received();
  EXPECT_EQ(try_to(SOCK_STREAM, 0, k->desk.port()), EPERM);
  usleep(1'000'000);
  EXPECT_EQ(k->desk.received(), before);
  EXPECT_LT(boot_now(), until) << "it held still when that was counted";
  EXPECT_TRUE(await([&] { return k->desk.received() > before; }, within(8000)));
}

TEST_P(Isolation, list_of_what_is_never_blocked_stands_above_every_order_of_the_engine) {
  const std::uint64_t place = default_destination(Prefix::parse(GetParam().peer)->address);
  const pid_t pid = k->desk.start(to_peer({"--udp", "--size", "1000", "--pace", "20000"}));
  std::optional<weir_task> task;
  ASSERT_TRUE(await(
      [&] {
        return (task = k->part->task(static_cast<std::uint32_t>(pid))) && k->desk.received() > 0;
      },
      within(4000)));
  const auto goes_on = [&] {
    usleep(200'000);
    const std::uint64_t before = k->desk.received();
    return await([&] { return k->desk.received() > before; }, within(1000));
  };
  const std::uint64_t until = boot_now() + 600ull * kSecond;
  ASSERT_TRUE(k->part->put_block(task->tree, place, until));
  EXPECT_FALSE(goes_on());
  ASSERT_TRUE(refuge(WEIR_REFUGE_DNS));
  EXPECT_FALSE(goes_on()) << "this is no question to a resolver";
  ASSERT_TRUE(refuge(WEIR_REFUGE_ALL));
  EXPECT_TRUE(goes_on());
  ASSERT_TRUE(k->part->put_block(task->tree, WEIR_TARGET_EVERYTHING, until));
  EXPECT_TRUE(goes_on());
  ASSERT_TRUE(k->part->set_refuges({}));
  EXPECT_FALSE(goes_on());
}

TEST_P(Isolation, holds_while_a_policy_takes_the_place_of_another) {
  ASSERT_TRUE(isolate());
  k->desk.start(to_peer());
  k->desk.start(to_peer({"--udp", "--size", "1000"}));
  Wire wire;
  for (int n = 0; n < 50; ++n) {
    const weir_limit row = limit_row(kRoomy - static_cast<std::uint64_t>(n), 0, WEIR_PER_HOST);
    weir_state state{};
    state.unclassified = 1;
    ASSERT_TRUE(k->part->replace({{&row, 1}, {}, state}));
  }
  EXPECT_EQ(k->desk.received(), 0U);
  EXPECT_EQ(wire.passed(), 0U) << "not a SYN either";
}

}  // namespace
}  // namespace weir::test
