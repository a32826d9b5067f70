// The floor: what no socket of a network protocol sent is charged where it leaves the machine.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>
#include <ostream>

#include "agent/guard/host_needs.h"
#include "platform/files/fd.h"
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kLimit = 200'003;
constexpr std::uint64_t kSlack = 2'000;  // one frame that no longer fits

class Floor : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    lay({limit_row(kLimit, 0, WEIR_PER_HOST)}, {});
  }
  void lay(const std::vector<weir_limit>& rows, weir_state state) {
    k->load(rows, {}, state);
    auto laid = k->part->set_floor(std::vector<Device>{{if_nametoindex("desk0"), "desk0", true}});
    if (!laid) GTEST_SKIP() << laid.error().sentence;
  }
  Outcome send(const std::string& way) {
    std::vector<std::string> a = {"--to",    kPeer4, "--ms", std::to_string(1500 * scale()),
                                  "--shape", "way",  "--",   way};
    return k->desk.finish(k->desk.start(a));
  }
};

TEST_F(Floor, frames_by_a_packet_socket_stay_within_the_limit) {
  Outcome o = send("frames");
  EXPECT_EQ(o.status, 0) << o.output;
  std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  fmt::print("limit {} charged {} received {}\n", kLimit, k->charged(0), received);
  EXPECT_LE(received, k->charged(0));
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_GE(k->charged(0), kLimit - kSlack) << "it did send";
  EXPECT_GT(k->count(WEIR_COUNT_FLOOR_REFUSED), 0U);
}

// A tag moves the packet: read where an untagged frame has it, its source is its destination.
TEST_F(Floor, a_tag_before_the_packet_does_not_choose_whom_it_goes_to) {
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse("10.99.0.0/16"), {}));
  Outcome o = send("frames_tagged");
  EXPECT_EQ(o.status, 0) << o.output;
  std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  fmt::print("limit {} charged {} received {}\n", kLimit, k->charged(0), received);
  EXPECT_LE(received, k->charged(0));
  EXPECT_GE(k->charged(0), kLimit - kSlack) << "it did send, to no approved address";
  EXPECT_GT(k->count(WEIR_COUNT_FLOOR_REFUSED), 0U);
}

// Drivers of the kernel's own devices have a name too. A container that has one of them beside its
// own must not have its floor there alone.
TEST_F(Floor, a_device_of_the_kernels_own_is_no_hardware) {
  if (std::system("ip link add ifb7 type ifb 2>/dev/null && ip link set ifb7 up") != 0)
    GTEST_SKIP() << "this kernel has no such device";
  const std::vector<Device> found = devices_to_the_world({});
  EXPECT_TRUE(std::ranges::any_of(found, [](const Device& d) { return d.name == "desk0"; }));
  EXPECT_EQ(std::system("ip link del ifb7"), 0);
}

TEST_F(Floor, who_asks_hears_whether_it_holds) {
  const auto holds = [&](const std::string& name) {
    for (const KernelProgram& program : k->part->programs())
      if (program.name == name) return program.attached;
    return false;
  };
  EXPECT_TRUE(holds("weir_floor"));
  EXPECT_TRUE(k->part->set_floor(std::vector<Device>{{999'999, "gone0", true}}))
      << "it went between two looks: nothing is open";
  EXPECT_FALSE(holds("weir_floor"));
  EXPECT_TRUE(holds("weir_floor_ip")) << "there is no such device";
}

// Kernels that Weir runs on have all that a policy of `enforce` rests on, but for BPF LSM.
TEST_F(Floor, a_policy_that_enforces_lacks_nothing_here) {
  FlatHeader header;
  header.enforce = header.proves_names = 1;
  header.limits = 2;
  header.table[0] = limit_row(kLimit, 0, WEIR_PER_PERSON);
  header.table[0].name = 1;
  header.table[1] = hold_row();
  FlatPolicy policy;
  policy.header = &header;
  EXPECT_EQ(lacks_of(policy, {k->part->programs()}), std::vector<std::string>());
  header.state.charged_only = 1;
  EXPECT_EQ(lacks_of(policy, {k->part->programs()}).size(), k->part->has_lsm() ? 0u : 1u);
}

TEST_F(Floor, nobody_gets_around_the_queues) {
  Outcome o = send("frames_past_queue");
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_NE(o.output.find("refused"), std::string::npos) << o.output;
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_LE(k->desk.settled(milliseconds(100), milliseconds(500)), kLimit);
}

TEST_F(Floor, what_a_socket_sent_is_charged_once) {
  Outcome o = k->desk.finish(k->desk.start(tcp({"--bytes", "100000"})));
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_EQ(k->desk.settled(milliseconds(200), milliseconds(2000)), 100'000U);
  EXPECT_EQ(k->charged(0), 100'000U);
  EXPECT_EQ(k->count(WEIR_COUNT_FLOOR_CHARGED), 0U);
}

// Of what no socket sends a row per flow can't tell flows apart: it is one of each person's, a day.
TEST_F(Floor, frames_are_one_flow_of_their_person) {
  const std::vector<weir_limit> rows{limit_row(kLimit, 0, WEIR_PER_FLOW)};
  ASSERT_TRUE(k->part->set_limits(rows));
  EXPECT_EQ(send("frames").status, 0);
  EXPECT_EQ(send("frames").status, 0) << "another socket";
  std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  fmt::print("limit {} charged {} received {}\n", kLimit, k->charged(0), received);
  ASSERT_EQ(k->accounts_of(0).size(), 1U);
  EXPECT_LE(received, k->charged(0));
  EXPECT_LE(k->charged(0), kLimit / 2 + kSlack) << "half at once, and little comes back meanwhile";
  EXPECT_GE(k->charged(0), kLimit / 2 - kSlack) << "it did send";
  EXPECT_GT(k->count(WEIR_COUNT_FLOOR_REFUSED), 0U);
  EXPECT_EQ(k->desk.finish(k->desk.start(tcp({"--bytes", "200003"}))).status, 0);
  EXPECT_EQ(k->desk.settled(milliseconds(300), milliseconds(3000)), received + kLimit)
      << "a socket has its own";
}

// A machine whose account is spent can still take part in its network, but not without an end.
class FloorSpent : public Floor {
 protected:
  void SetUp() override { KernelTest::SetUp(); }
  void spend_with(std::uint64_t answers) {
    if (IsSkipped()) return;
    weir_state state{};
    state.unclassified = 1;
    state.answers = 2;
    lay({limit_row(1'000, 0, WEIR_PER_HOST), limit_row(answers, 0, WEIR_PER_HOST)}, state);
  }
};
constexpr std::uint64_t kOfTheLink = 20 * (114 + 42 + 1042);

TEST_F(FloorSpent, what_a_link_cannot_live_without_goes_on_by_the_number_of_answers) {
  spend_with(1 << 20);
  Outcome o = send("frames_of_the_link");
  EXPECT_NE(o.output.find("refused 0 of 60"), std::string::npos) << o.output;
  EXPECT_EQ(k->charged(1), kOfTheLink);
  EXPECT_EQ(k->charged(0), 0U);
  EXPECT_EQ(send("frames").status, 0);
  EXPECT_LE(k->charged(0), 1'000U);
  EXPECT_EQ(k->charged(1), kOfTheLink) << "nothing else has a part in it";
}

TEST_F(FloorSpent, what_a_link_cannot_live_without_ends_at_that_number) {
  spend_with(5'000);
  send("frames_of_the_link");
  EXPECT_LE(k->charged(1), 5'000U);
  EXPECT_GT(k->charged(1), 3'900U);
  EXPECT_LE(k->charged(0), 1'000U);
  EXPECT_GT(k->count(WEIR_COUNT_FLOOR_REFUSED), 0U);
}

struct Case {
  const char* name;
  const char* peer;
  int version;
  const char* container;
  const char* desk;
  const char* forwarding;
};
std::ostream& operator<<(std::ostream& out, const Case& one) {
  return out << one.name;
}

// A network namespace behind the desk, which forwards for it, as for a container or a virtual
// machine. Who has which address is fixed, as in desk.cpp. Ends with the object.
class Behind {
 public:
  Behind(const Desk& desk, const Case& by) : forwarding_(by.forwarding) {
    home_ = Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (unshare(CLONE_NEWNET) != 0) return;
    inside_ = Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    (void)setns(home_.get(), CLONE_NEWNET);
    const std::string pid = std::to_string(getpid()), fd = std::to_string(inside_.get());
    const std::string enter = "nsenter --net=/proc/" + pid + "/fd/" + fd + " ";
    const std::string ip = fmt::format("ip -{} ", by.version),
                      host = by.version == 4 ? "/32" : "/128";
    const std::string container = by.container, ours = by.desk;
    good_ =
        run("ip link add behind0 address 02:00:00:00:77:03 type veth peer name inside address "
            "02:00:00:00:77:04") &&
        run("ip link set inside netns /proc/" + pid + "/fd/" + fd) &&
        run("ip link set behind0 up && " + ip + "route add " + container + host + " dev behind0") &&
        run("echo 1 > " + forwarding_) &&
        run(ip + "neigh replace " + container + " lladdr 02:00:00:00:77:04 dev behind0") &&
        run(desk.at_peer() + ip + "neigh replace " + container +
            " lladdr 02:00:00:00:77:01 dev peer0") &&
        run(enter + ip + "addr add " + container + host + " dev inside" +
            (by.version == 6 ? " nodad" : "")) &&
        run(enter + "ip link set inside up") &&
        run(enter + ip + "route add " + ours + " dev inside") &&
        run(enter + ip + "neigh replace " + ours + " lladdr 02:00:00:00:77:03 dev inside") &&
        run(enter + ip + "route add default via " + ours);
  }
  ~Behind() {
    run("ip link del behind0");
    run("echo 0 > " + forwarding_);
  }
  bool good() const { return good_; }
  // What it starts, or opens, is in there.
  void do_inside(const std::function<void()>& what) {
    (void)setns(inside_.get(), CLONE_NEWNET);
    what();
    (void)setns(home_.get(), CLONE_NEWNET);
  }

 private:
  static bool run(const std::string& command) {
    return std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0;
  }
  Fd home_, inside_;
  std::string forwarding_;
  bool good_ = false;
};

class FloorBehind : public Floor, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    Floor::SetUp();
    if (IsSkipped()) return;
    behind_.emplace(k->desk, GetParam());
    ASSERT_TRUE(behind_->good());
  }
  pid_t start_inside(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--to", GetParam().peer});
    pid_t sender = -1;
    behind_->do_inside([&] { sender = k->desk.start(std::move(arguments)); });
    return sender;
  }
  std::vector<std::string> datagrams(const char* count) {
    return {"--udp", "--size", "1000", "--bytes", count, "--ms", std::to_string(4000 * scale())};
  }
  // From in there, by a socket that no hook sees, until something is refused.
  void send_as_stranger(weir_counter refused = WEIR_COUNT_FLOOR_REFUSED) {
    Fd stranger;  // this process is in no cgroup of the desk's
    const int family = GetParam().version == 4 ? AF_INET : AF_INET6;
    behind_->do_inside([&] { stranger = Fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    const auto port = htons(static_cast<std::uint16_t>(k->desk.port()));
    sockaddr_storage to{};
    if (family == AF_INET) {
      auto& v4 = reinterpret_cast<sockaddr_in&>(to);
      v4.sin_port = port;
      inet_pton(family, GetParam().peer, &v4.sin_addr);
    } else {
      auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
      v6.sin6_port = port;
      inet_pton(family, GetParam().peer, &v6.sin6_addr);
    }
    to.ss_family = static_cast<sa_family_t>(family);
    const std::string datagram(1000, 'w');
    await(
        [&] {
          for (int n = 0; n < 50; n++)
            sendto(stranger.get(), datagram.data(), datagram.size(), 0,
                   reinterpret_cast<sockaddr*>(&to), sizeof to);
          return k->count(refused) > 0;
        },
        milliseconds(5000 * scale()));
  }

 private:
  std::optional<Behind> behind_;
};

INSTANTIATE_TEST_SUITE_P(kernel, FloorBehind,
                         testing::Values(Case{"v4", kPeer4, 4, "10.77.0.200", "10.77.0.1",
                                              "/proc/sys/net/ipv4/ip_forward"},
                                         Case{"v6", kPeer6, 6, "fd77::200", "fd77::1",
                                              "/proc/sys/net/ipv6/conf/all/forwarding"}),
                         [](const auto& info) { return std::string(info.param.name); });

constexpr std::uint64_t kTimeWait = 4'000;  // the end of a stream is said by no socket of its own

TEST_P(FloorBehind, what_a_container_sends_is_charged_to_its_own_alone) {
  pid_t sender = start_inside({"--bytes", "100000", "--ms", std::to_string(4000 * scale())});
  Outcome o = k->desk.finish(sender);
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_EQ(k->desk.settled(milliseconds(200), milliseconds(2000)), 100'000U);
  EXPECT_GE(k->charged(0), 100'000U);
  EXPECT_LE(k->charged(0), 100'000U + kTimeWait) << "it would be 200,000 if both had charged it";
}

TEST_P(FloorBehind, a_container_gets_no_more_than_its_limit) {
  k->desk.finish(start_inside(datagrams("1000000")));
  std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  fmt::print("limit {} charged {} received {}\n", kLimit, k->charged(0), received);
  EXPECT_LE(received, k->charged(0));
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_GE(received, kLimit / 2) << "it did send";
}

TEST_P(FloorBehind, what_nobody_here_has_sent_has_a_limit_too) {
  send_as_stranger();
  std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  fmt::print("limit {} charged {} received {}\n", kLimit, k->charged(0), received);
  EXPECT_LE(received, k->charged(0));
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_GE(k->charged(0), kLimit - kSlack) << "it did send";
  EXPECT_GT(k->count(WEIR_COUNT_FLOOR_REFUSED), 0U);
}

TEST_P(FloorBehind, an_isolated_host_forwards_nothing_either) {
  ASSERT_TRUE(k->part->isolate(boot_now() + 600ull * kSecond));
  send_as_stranger(WEIR_COUNT_ISOLATED);
  EXPECT_GT(k->count(WEIR_COUNT_ISOLATED), 0U) << "it did send";
  k->desk.finish(start_inside(datagrams("50000")));
  EXPECT_EQ(k->desk.settled(milliseconds(100), milliseconds(500)), 0U);
  EXPECT_EQ(k->charged(0), 0U);
}

// Else a container fills a purse with what costs it nothing, and others spend it.
TEST_P(FloorBehind, what_a_container_sends_no_farther_than_here_leaves_nothing_for_others) {
  EXPECT_EQ(k->desk.finish(start_inside({"--udp", "--shape", "way", "--", "one_hop"})).status, 0);
  const std::uint64_t before = k->charged(0);
  EXPECT_GE(before, 50'000U) << "it did send";
  send_as_stranger();
  const std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  fmt::print("limit {} charged {} then, {} in all; received {}\n", kLimit, before, k->charged(0),
             received);
  EXPECT_GT(received, 50'000U);
  EXPECT_LE(received, kLimit - before);
}

TEST_P(FloorBehind, what_a_container_has_paid_lets_nobody_else_pass_more) {
  k->desk.finish(start_inside(datagrams("50000")));
  std::uint64_t before = k->desk.settled(milliseconds(100), milliseconds(500));
  Outcome o = send("frames");
  EXPECT_EQ(o.status, 0) << o.output;
  std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  EXPECT_GT(received, before);
  EXPECT_LE(received, k->charged(0));
  EXPECT_LE(k->charged(0), kLimit);
}

}  // namespace
}  // namespace weir::test
