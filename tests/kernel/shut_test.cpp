// A place that an administrator blocked: from that moment the peer gets nothing there, of no
// family, protocol and connection of before, also where the policy approves; everything else goes
// on, and it ends by itself.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <ostream>
#include <set>
#include <thread>

#include "platform/files/fd.h"
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;
constexpr std::uint64_t kLong = 3600ull * kSecond;
constexpr std::uint32_t kSomeone = 4'242;

struct Case {
  const char* name;
  const char* peer;
  const char* around;  // a prefix that holds it
  const char* other;   // the same peer, elsewhere
};

std::ostream& operator<<(std::ostream& out, const Case& one) {  // in the name of a test
  return out << one.name;
}

class Shut : public KernelTest, public testing::WithParamInterface<Case> {
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
  int other_port() const { return k->desk.port() == 7'000 ? 7'001 : k->desk.port() - 1; }
  std::vector<std::string> to(const char* where, std::vector<std::string> more = {}) {
    std::vector<std::string> a = {"--to", where, "--ms", "60000"};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  static KernelShut shut(std::uint32_t slot, const char* prefix,
                         std::optional<std::uint32_t> person = std::nullopt) {
    KernelShut one{.slot = slot, .until_boot_ns = boot_now() + kLong, .person = person};
    if (prefix != nullptr) one.prefix = *Prefix::parse(prefix);
    return one;
  }
  static KernelShut named(std::uint32_t slot, std::vector<std::uint64_t> keys,
                          std::optional<std::uint32_t> person = std::nullopt) {
    KernelShut one = shut(slot, nullptr, person);
    one.names = std::move(keys);
    return one;
  }
  Result<void> set(std::vector<KernelShut> shuts) { return k->part->set_shuts(shuts); }
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
  // What a connect, or a datagram of one byte, comes to there: 0 or an errno. By a socket of IPv6
  // too, where an IPv4 address is mapped.
  int try_to(const char* where, int type, bool by_v6 = false, int port = 0) {
    if (port == 0) port = k->desk.port();
    return there([&] {
      const bool v6 = std::string(where).find(':') != std::string::npos;
      sockaddr_in6 a6{};
      sockaddr_in a4{};
      a6.sin6_family = AF_INET6;
      a4.sin_family = AF_INET;
      a6.sin6_port = a4.sin_port = htons(static_cast<std::uint16_t>(port));
      ::inet_pton(AF_INET, where, &a4.sin_addr);
      ::inet_pton(AF_INET6, (v6 ? where : "::ffff:" + std::string(where)).c_str(), &a6.sin6_addr);
      const bool six = v6 || by_v6;
      const Fd fd(::socket(six ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK, 0));
      const auto* at =
          six ? reinterpret_cast<const sockaddr*>(&a6) : reinterpret_cast<const sockaddr*>(&a4);
      const socklen_t size = six ? sizeof a6 : sizeof a4;
      if (type == SOCK_STREAM)
        return ::connect(fd.get(), at, size) != 0 && errno != EINPROGRESS ? errno : 0;
      return ::sendto(fd.get(), "x", 1, 0, at, size) < 0 ? errno : 0;
    });
  }
  // The peer goes on getting something on that port.
  bool goes_on(int port) {
    usleep(200'000);
    const std::uint64_t before = k->desk.received(port);
    return await([&] { return k->desk.received(port) > before; },
                 within(30'000));  // TCP tries ever less often
  }
  bool stands_still(int port) {
    usleep(200'000);  // what had passed the programs before is with the peer
    const std::uint64_t before = k->desk.received(port);
    usleep(static_cast<unsigned>(1'000'000 * scale()));
    return k->desk.received(port) == before;
  }
  void start_both() {
    const std::string other = std::to_string(other_port());
    k->desk.start(to(GetParam().peer));
    k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000", "--pace", "20000"}));
    k->desk.start(
        to(GetParam().other, {"--udp", "--size", "1000", "--pace", "20000", "--port", other}));
  }
  // The verdict that the engine would give for what is open to the peer.
  void judge_all(std::uint64_t limits, std::uint64_t name) {
    for (const weir_head& head : k->records<weir_head>(WEIR_REC_HEAD))
      EXPECT_TRUE(k->part->put_verdict(head.record.cookie, limits, name));
    k->part->wake();
  }

  std::string pins_;
};

INSTANTIATE_TEST_SUITE_P(kernel, Shut,
                         testing::Values(Case{"v4", kPeer4, "10.77.0.0/24", kOther4},
                                         Case{"v6", kPeer6, "fd77::/64", kPeer4}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(Shut, place_gets_nothing_more_and_the_others_go_on_until_its_end) {
  for (const char* prefix : {GetParam().peer, GetParam().around}) {
    start_both();
    const std::uint64_t begun = k->desk.received();
    ASSERT_TRUE(await([&] { return k->desk.received() > begun + 1'000'000; }, within(4000)));
    ASSERT_TRUE(set({shut(3, prefix)}));
    usleep(100'000);
    const std::uint64_t before = k->desk.received(), other = k->desk.received(other_port());
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      EXPECT_EQ(try_to(GetParam().peer, type), EPERM);
      EXPECT_EQ(try_to(GetParam().peer, type, true), EPERM);
      EXPECT_EQ(try_to(GetParam().other, type, true, other_port()), 0);
    }
    usleep(static_cast<unsigned>(2'000'000 * scale()));
    fmt::print("{}: before {}, after {} bytes; elsewhere {} meanwhile; {} refused\n", prefix,
               before, k->desk.received() - before, k->desk.received(other_port()) - other,
               k->count(WEIR_COUNT_SHUT));
    EXPECT_EQ(k->desk.received(), before);
    EXPECT_GT(k->desk.received(other_port()), other);
    EXPECT_GT(k->count(WEIR_COUNT_SHUT), 0U);
    ASSERT_TRUE(set({}));
    EXPECT_TRUE(goes_on(k->desk.port()));
    k->desk.end_all();
  }
  const auto told = k->records<weir_refused>(WEIR_REC_REFUSED);
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0].account.limit, WEIR_SHUT);
  EXPECT_EQ(told[0].account.dest, 3U);
}

TEST_P(Shut, place_is_shut_where_the_policy_approves_and_no_row_counts) {
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse(GetParam().peer), {0, 9, 1, 1}));
  k->desk.start(to(GetParam().peer));
  ASSERT_TRUE(await([&] { return k->desk.received() > 1'000'000; }, within(4000)));
  EXPECT_EQ(k->charged(0), 0U);
  ASSERT_TRUE(set({shut(0, GetParam().around)}));
  EXPECT_TRUE(stands_still(k->desk.port()));
  ASSERT_TRUE(set({}));
  EXPECT_TRUE(goes_on(k->desk.port()));
}

TEST_P(Shut, is_one_persons_or_everybodys) {
  k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000", "--pace", "20000"}));
  ASSERT_TRUE(await([&] { return k->desk.received() > 0; }, within(4000)));
  const auto tasks = k->part->tasks();
  ASSERT_TRUE(tasks && !tasks->empty());
  const std::uint32_t person = tasks->front().value.person;
  ASSERT_TRUE(set({shut(0, GetParam().peer, person ^ 1)}));
  EXPECT_TRUE(goes_on(k->desk.port()));
  EXPECT_EQ(try_to(GetParam().peer, SOCK_STREAM), 0);
  ASSERT_TRUE(set({shut(0, GetParam().peer, person ^ 1), shut(1, GetParam().peer, person)}));
  EXPECT_TRUE(stands_still(k->desk.port()));
  EXPECT_EQ(try_to(GetParam().peer, SOCK_STREAM), EPERM);
}

TEST_P(Shut, places_that_overlap_each_end_for_themselves) {
  k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000", "--pace", "20000"}));
  ASSERT_TRUE(await([&] { return k->desk.received() > 0; }, within(4000)));
  const KernelShut wide = shut(0, GetParam().around), narrow = shut(1, GetParam().peer),
                   someone = shut(2, GetParam().peer, kSomeone);
  ASSERT_TRUE(set({wide, narrow, someone}));
  EXPECT_TRUE(stands_still(k->desk.port()));
  const std::vector<KernelShut> read = k->part->shuts();
  ASSERT_EQ(read.size(), 3U);
  EXPECT_EQ(read[0].prefix, *Prefix::parse(GetParam().around));
  EXPECT_EQ(read[1].prefix, *Prefix::parse(GetParam().peer));
  EXPECT_EQ(read[2].person, kSomeone);
  ASSERT_TRUE(set({wide, someone}));  // the longer one would hide it
  EXPECT_TRUE(stands_still(k->desk.port()));
  ASSERT_TRUE(set({narrow}));
  EXPECT_TRUE(stands_still(k->desk.port()));
  ASSERT_TRUE(set({someone}));
  EXPECT_TRUE(goes_on(k->desk.port()));
}

TEST_P(Shut, place_is_at_no_moment_open_while_its_time_is_changed) {
  KernelShut place = shut(3, GetParam().peer), name = named(4, {78, 77, 79}, kSomeone);
  ASSERT_TRUE(set({place, name}));
  const Fd map(bpf_obj_get(fmt::format("{}/weir/{}/maps/shuts", pins_, WEIR_LAYOUT).c_str()));
  ASSERT_TRUE(map);
  std::atomic<bool> over = false;
  std::atomic<std::uint64_t> looks = 0, open = 0;
  std::thread watch([&] {
    for (; !over; ++looks)
      for (std::uint32_t slot : {3u, 4u}) {
        weir_shut now{};
        if (bpf_map_lookup_elem(map.get(), &slot, &now) == 0 && now.until_ns == 0) ++open;
      }
  });
  for (int n = 0; n < 500 || (looks < 10'000 && n < 5'000); ++n) {
    ++place.until_boot_ns;
    --name.until_boot_ns;
    EXPECT_TRUE(set({place, name}));
  }
  over = true;
  watch.join();
  fmt::print("{} looks\n", looks.load());
  EXPECT_EQ(open, 0U);
  const std::vector<KernelShut> read = k->part->shuts();
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read[0].until_boot_ns, place.until_boot_ns);
  EXPECT_EQ(read[1].until_boot_ns, name.until_boot_ns);
}

TEST_P(Shut, place_is_no_refuge) {
  k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000", "--pace", "20000"}));
  ASSERT_TRUE(await([&] { return k->desk.received() > 0; }, within(4000)));
  ASSERT_TRUE(set({shut(0, GetParam().around)}));
  EXPECT_TRUE(stands_still(k->desk.port()));
  const std::pair<Prefix, std::uint32_t> refuge{*Prefix::parse(GetParam().peer), WEIR_REFUGE_ALL};
  ASSERT_TRUE(k->part->set_refuges({&refuge, 1}));
  EXPECT_TRUE(goes_on(k->desk.port()));
  EXPECT_EQ(try_to(GetParam().peer, SOCK_STREAM), 0);
}

TEST_P(Shut, leaves_the_uplink_alone_whose_cage_lets_it_reach_the_collector) {
  ASSERT_TRUE(k->part->set_home(k->desk.place("b"), 0));
  ASSERT_TRUE(set({shut(0, GetParam().around)}));
  k->desk.finish(k->desk.start(to(GetParam().peer, {"--bytes", "100000"}), "b"));
  EXPECT_EQ(k->desk.settled(milliseconds(200), within(2000)), 100'000U);
}

TEST_P(Shut, place_that_the_uplink_is_connected_to_is_known_by_its_cgroup) {
  ASSERT_TRUE(k->part->set_home(k->desk.place("b"), 0));
  const std::uint64_t home = k->part->state().home_cgroup;
  EXPECT_TRUE(peers_of_cgroup(home).empty());
  k->desk.start(to(GetParam().other), "a");
  k->desk.start(to(GetParam().peer), "b");
  ASSERT_TRUE(await([&] { return !peers_of_cgroup(home).empty(); }, within(4000)));
  EXPECT_EQ(peers_of_cgroup(home), std::vector<IpAddress>{*IpAddress::parse(GetParam().peer)});
}

TEST_P(Shut, stops_frames_that_no_socket_of_a_network_protocol_sent) {
  auto laid = k->part->set_floor(std::vector<Device>{{if_nametoindex("desk0"), "desk0", true}});
  if (!laid) GTEST_SKIP() << laid.error().sentence;
  ASSERT_TRUE(set({shut(0, kPeer4)}));
  const Outcome o = k->desk.finish(k->desk.start(
      {"--to", kPeer4, "--ms", std::to_string(1000 * scale()), "--shape", "way", "--", "frames"}));
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_EQ(k->desk.received(), 0U);
  EXPECT_GT(k->count(WEIR_COUNT_SHUT), 0U);
}

TEST_P(Shut, by_name_holds_what_a_verdict_says_goes_there) {
  k->desk.start(to(GetParam().peer));
  k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000", "--pace", "20000"}));
  ASSERT_TRUE(await([&] { return k->desk.received() > 1'000'000; }, within(4000)));
  ASSERT_TRUE(set({named(5, {77, 78}), named(6, {78, 79}, kSomeone)}));
  EXPECT_TRUE(goes_on(k->desk.port())) << "nobody said which flows go there";
  judge_all(0, 79);
  EXPECT_TRUE(goes_on(k->desk.port())) << "another person's";
  judge_all(0, 78);
  EXPECT_TRUE(stands_still(k->desk.port()));
  ASSERT_TRUE(set({named(6, {78, 79}, kSomeone)}));
  EXPECT_TRUE(goes_on(k->desk.port())) << "it has ended";
}

TEST_P(Shut, by_name_holds_back_what_goes_to_its_address_until_a_verdict_frees_it) {
  weir_state state{};
  state.unclassified = 1;
  state.first_flight = 16'384;
  state.verdict_wait_ns = 60'000'000'000;
  state.generation = 1;
  ASSERT_TRUE(k->part->set_state(state));
  ASSERT_TRUE(set({named(5, {78})}));
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse(GetParam().peer), {1, 78, 0, 0}));
  k->desk.start(to(GetParam().peer));
  ASSERT_TRUE(await([&] { return !k->records<weir_head>(WEIR_REC_HEAD).empty(); }, within(4000)))
      << "what it says is shown, so that somebody can judge it";
  EXPECT_TRUE(stands_still(k->desk.port()));
  EXPECT_EQ(k->desk.received(), 0U);
  EXPECT_TRUE(k->records<weir_refused>(WEIR_REC_REFUSED).empty()) << "it is only delayed";
  judge_all(1, 78);
  EXPECT_TRUE(stands_still(k->desk.port()));
  EXPECT_EQ(k->desk.received(), 0U);
  EXPECT_TRUE(
      await([&] { return !k->records<weir_refused>(WEIR_REC_REFUSED).empty(); }, within(8000)));
  judge_all(1, 80);  // it says another name of that address
  EXPECT_TRUE(await([&] { return k->desk.received() > 0; }, within(8000)));
}

// A verdict that a swap keeps for the block says nothing about whom the block does not mean: such a
// flow waits for its verdict under the next policy as every other does.
TEST_P(Shut, by_name_for_one_person_brings_nobody_else_under_other_rows_with_a_policy) {
  k->desk.start(to(GetParam().peer));
  ASSERT_TRUE(await([&] { return k->desk.received() > 1'000'000; }, within(4000)));
  ASSERT_TRUE(set({named(5, {77, 78}, kSomeone)}));
  judge_all(0, 78);
  EXPECT_TRUE(goes_on(k->desk.port()));
  weir_state state = k->part->state();
  state.unclassified = 1;
  state.first_flight = 16'384;
  state.verdict_wait_ns = 600'000'000'000;
  const weir_limit row = limit_row(100'000, 0, WEIR_PER_HOST);
  ASSERT_TRUE(k->part->replace({{&row, 1}, {}, state}));
  EXPECT_EQ(k->part->shut_verdicts().size(), 1U);
  EXPECT_TRUE(await([&] { return k->count(WEIR_COUNT_WAITED) > 0; }, within(8000)));
  const auto refused = [&] { return k->records<weir_refused>(WEIR_REC_REFUSED); };
  EXPECT_TRUE(refused().empty()) << "it waits";
  const std::uint32_t person = k->records<weir_head>(WEIR_REC_HEAD).front().record.person;
  ASSERT_TRUE(set({named(5, {77, 78}, person)}));
  EXPECT_TRUE(await([&] { return !refused().empty(); }, within(30'000)))
      << "a block that is about its person is known to it without an engine";
  for (const weir_refused& one : refused()) EXPECT_EQ(one.account.limit, WEIR_SHUT);
  ASSERT_TRUE(set({named(5, {77, 78}, kSomeone)}));
  judge_all(0, 78);
  EXPECT_TRUE(goes_on(k->desk.port()));
}

// A guard that is started again loads its policy anew, and so does each that is offered.
TEST_P(Shut, by_name_stays_shut_while_a_policy_takes_the_place_of_another) {
  k->desk.start(to(GetParam().peer));
  ASSERT_TRUE(await([&] { return k->desk.received() > 1'000'000; }, within(4000)));
  weir_state state = k->part->state();
  state.unclassified = 1;
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse(GetParam().peer), {2, 78, 5, 0}));
  ASSERT_TRUE(set({named(5, {77, 78})}));
  judge_all(0, 77);
  EXPECT_TRUE(stands_still(k->desk.port()));
  const std::uint64_t before = k->desk.received();
  k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000", "--pace", "1000"}));
  const std::pair<Prefix, weir_prefix> around{*Prefix::parse(GetParam().around), {4, 9, 1, 1}};
  for (int n = 0; n < 20; ++n) {
    const weir_limit row = limit_row(kRoomy - static_cast<std::uint64_t>(n), 0, WEIR_PER_HOST);
    ASSERT_TRUE(k->part->replace({{&row, 1}, {&around, 1}, state}));
  }
  const auto kept = k->part->shut_prefixes();
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0].first, *Prefix::parse(GetParam().peer));
  EXPECT_EQ(kept[0].second.limits, 4U) << "rows of the policy in force";
  EXPECT_EQ(kept[0].second.final, 0U) << "a flow may say another name";
  usleep(static_cast<unsigned>(1'000'000 * scale()));
  EXPECT_EQ(k->desk.received(), before) << "by its verdict, and by its address";
  ASSERT_TRUE(set({}));
  EXPECT_TRUE(goes_on(k->desk.port()));
  const weir_limit row = limit_row(kRoomy, 0, WEIR_PER_HOST);
  ASSERT_TRUE(k->part->replace({{&row, 1}, {}, state}));
  EXPECT_TRUE(k->part->shut_prefixes().empty());
}

TEST_P(Shut, by_name_stays_shut_for_the_guard_that_takes_over) {
  k->desk.start(to(GetParam().peer));
  ASSERT_TRUE(await([&] { return k->desk.received() > 1'000'000; }, within(4000)));
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse(GetParam().peer), {1, 78, 0, 0}));
  ASSERT_TRUE(set({named(5, {77, 78})}));
  judge_all(1, 77);
  EXPECT_TRUE(stands_still(k->desk.port()));
  const std::uint64_t before = k->desk.received();
  const int other = other_port();
  k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000", "--pace", "1000"}));
  k->desk.start(to(GetParam().other,
                   {"--udp", "--size", "1000", "--pace", "1000", "--port", std::to_string(other)}));
  k->events.reset();
  k->part.reset();
  KernelOptions options;
  options.pin_dir = pins_;
  k->load({limit_row(kRoomy - 1, 0, WEIR_PER_HOST)}, options);
  ASSERT_TRUE(k->part->adopted());
  const weir_limit row = limit_row(kRoomy - 2, 0, WEIR_PER_HOST);
  ASSERT_TRUE(k->part->replace({{&row, 1}, {}, k->part->state()}));
  EXPECT_TRUE(goes_on(other));
  EXPECT_EQ(k->part->shut_verdicts().size(), 1U);
  usleep(static_cast<unsigned>(2'000'000 * scale()));
  fmt::print("{}: {} bytes after the guard's end\n", GetParam().peer, k->desk.received() - before);
  EXPECT_EQ(k->desk.received(), before);
}

TEST_P(Shut, place_is_shut_without_a_guard_and_opens_at_its_time) {
  k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000", "--pace", "20000"}));
  ASSERT_TRUE(await([&] { return k->desk.received() > 0; }, within(4000)));
  KernelShut one = shut(0, GetParam().peer);
  one.until_boot_ns = boot_now() + 3ull * kSecond * static_cast<std::uint64_t>(scale());
  ASSERT_TRUE(set({one}));
  k->events.reset();
  k->part.reset();  // as if killed: what is pinned holds
  usleep(100'000);
  const std::uint64_t before = k->desk.received();
  EXPECT_EQ(try_to(GetParam().peer, SOCK_STREAM), EPERM);
  usleep(1'000'000);
  EXPECT_EQ(k->desk.received(), before);
  EXPECT_LT(boot_now(), one.until_boot_ns) << "it held still when that was counted";
  EXPECT_TRUE(await([&] { return k->desk.received() > before; }, within(8000)));
}

TEST_P(Shut, place_stays_shut_while_a_policy_takes_the_place_of_another_and_while_released) {
  ASSERT_TRUE(set({shut(0, GetParam().peer)}));
  ASSERT_TRUE(k->part->observe(boot_now() + kLong));
  k->desk.start(to(GetParam().peer));
  k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000"}));
  for (int n = 0; n < 20; ++n) {
    const weir_limit row = limit_row(kRoomy - static_cast<std::uint64_t>(n), 0, WEIR_PER_HOST);
    weir_state state{};
    state.unclassified = 1;
    ASSERT_TRUE(k->part->replace({{&row, 1}, {}, state}));
  }
  EXPECT_EQ(k->desk.received(), 0U);
}

TEST_P(Shut, place_is_shut_from_the_first_packet_of_a_boot_on) {
  k->events.reset();
  k->part.reset();
  ASSERT_TRUE(KernelPart::release(pins_));
  k->desk.start(to(GetParam().peer, {"--udp", "--size", "1000", "--pace", "20000"}));
  ASSERT_TRUE(await([&] { return k->desk.received() > 0; }, within(4000)));
  KernelOptions options;
  options.pin_dir = pins_;
  options.shuts = {shut(9, GetParam().around)};
  k->load({limit_row(kRoomy, 0, WEIR_PER_HOST)}, options);
  EXPECT_TRUE(stands_still(k->desk.port()));
  options.shuts = {};
  k->load({limit_row(kRoomy, 0, WEIR_PER_HOST)}, options);
  EXPECT_TRUE(k->part->adopted());
  EXPECT_TRUE(stands_still(k->desk.port())) << "the next guard takes over what is pinned";
  EXPECT_EQ(k->part->shuts().size(), 1U);
}

TEST_P(Shut, as_many_places_as_there_are_slots_each_within_the_next) {
  std::vector<KernelShut> all;
  for (std::uint32_t slot = 0; slot < WEIR_SHUTS; ++slot) {
    KernelShut one = shut(slot, GetParam().peer, kSomeone);
    one.prefix->length = static_cast<std::uint8_t>(128 - slot);
    for (std::uint32_t bit = 0; bit < slot; ++bit)
      one.prefix->address.bytes[15 - bit / 8] &= static_cast<std::uint8_t>(~(1u << bit % 8));
    all.push_back(one);
  }
  ASSERT_TRUE(set(all));
  ASSERT_TRUE(set(all));
  const std::vector<KernelShut> read = k->part->shuts();
  ASSERT_EQ(read.size(), all.size());
  for (std::size_t n = 0; n < all.size(); ++n) EXPECT_EQ(read[n].prefix, all[n].prefix) << n;
  for (KernelShut& one : all) {  // in the place of all of them others, at once
    one.prefix->address.bytes[13] ^= 0x01;
  }
  EXPECT_TRUE(set(all));
}

}  // namespace
}  // namespace weir::test
