// Flows that wait for an answer: nothing beyond the first flight leaves, an answer lets all of it
// go once, and what is refused dies with its queue.
#include <algorithm>
#include <ostream>
#include <set>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;
constexpr std::uint64_t kFlight = 16 << 10;
constexpr std::uint64_t kPlace = 4711;  // a destination key
constexpr std::uint64_t kBoth = 3;      // row 0 charges, row 1 holds

class HoldTest : public KernelTest {
 protected:
  void load(std::uint64_t wait_ns = 60 * kSecond, KernelOptions options = {}) {
    weir_state state{};
    state.first_flight = kFlight;
    state.verdict_wait_ns = wait_ns;
    k->load({limit_row(kRoomy, 0, WEIR_PER_PERSON), hold_row()}, options, state);
  }
  // Gives every flow that shows itself for the first time this verdict, until `wanted` have it.
  std::set<std::uint64_t> name_all(std::size_t wanted, std::uint64_t rows = kBoth,
                                   std::uint64_t place = kPlace) {
    std::set<std::uint64_t> named;
    await(
        [&] {
          for (const auto& head : k->records<weir_head>(WEIR_REC_HEAD))
            if (seen.insert(head.record.cookie).second && named.insert(head.record.cookie).second)
              EXPECT_TRUE(k->part->put_verdict(head.record.cookie, rows, place));
          k->kept.clear();
          k->part->wake();
          return named.size() >= wanted;
        },
        within(10'000));
    return named;
  }
  std::vector<KernelHold> held(std::size_t wanted) {
    await([&] { return k->part->holds().size() >= wanted; }, within(15'000));
    return k->part->holds();
  }
  void answer(const std::vector<KernelHold>& holds) {
    for (const KernelHold& one : holds) {
      ASSERT_TRUE(k->part->answer_hold(one.flow.limit, one.flow.tree, one.flow.dest,
                                       boot_now() + 3600 * kSecond));
      EXPECT_TRUE(k->part->forget_hold(one.cookie));
    }
    k->part->wake();
  }
  std::set<std::uint64_t> seen;
  std::uint64_t settled() { return k->desk.settled(milliseconds(900), milliseconds(5000)); }
};

TEST_F(HoldTest, lets_a_first_flight_leave_and_nothing_more_until_it_is_answered) {
  load();
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "60000"}));
  ASSERT_EQ(name_all(1).size(), 1u);
  const std::vector<KernelHold> holds = held(1);
  ASSERT_EQ(holds.size(), 1u);
  EXPECT_EQ(holds[0].flow.dest, kPlace);
  EXPECT_EQ(holds[0].flow.tuple.remote_port, k->desk.port());
  EXPECT_NE(holds[0].flow.tree, 0u);
  const std::uint64_t flight = settled();
  EXPECT_GT(flight, 0u);
  EXPECT_LE(flight, kFlight);
  EXPECT_EQ(k->charged(0), flight);
  EXPECT_GT(k->count(WEIR_COUNT_HELD), 0u);

  std::vector<weir_refused> told;
  k->part->poll_told([&](const weir_refused& one) { told.push_back(one); });
  ASSERT_EQ(told.size(), 1u) << "once, however often TCP tries";
  EXPECT_EQ(told[0].record.kind, WEIR_REC_HELD + 0u);
  EXPECT_EQ(told[0].record.cookie, holds[0].cookie);
  EXPECT_EQ(told[0].account.limit, 1u);
  EXPECT_EQ(k->records<weir_refused>(WEIR_REC_HELD).size(), 1u);

  answer(holds);
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(6000)))
      << k->desk.received();
  EXPECT_EQ(k->charged(0), 300'000u) << "each byte once";
  EXPECT_EQ(settled(), 300'000u);
}

TEST_F(HoldTest, outlasts_what_tcp_gives_a_full_queue) {
  load();
  const pid_t pid = k->desk.start(tcp({"--bytes", "300000", "--ms", "120000"}));
  name_all(1);
  const std::vector<KernelHold> holds = held(1);
  ASSERT_EQ(holds.size(), 1u);
  usleep(12'000'000);  // 15 tries of half a second would be over
  EXPECT_LE(k->desk.received(), kFlight);
  const std::uint64_t begin = boot_now();
  answer(holds);
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(5000)));
  fmt::print("held for 12 s, answered, all of it received after {:.1f} ms\n",
             static_cast<double>(boot_now() - begin) / 1e6);
  EXPECT_EQ(k->desk.finish(pid).status, 0);
}

TEST_F(HoldTest, by_ipv6_as_well) {
  load();
  k->desk.start({"--to", kPeer6, "--shape", "stay", "--bytes", "100000", "--ms", "60000"});
  name_all(1);
  const std::vector<KernelHold> holds = held(1);
  ASSERT_EQ(holds.size(), 1u);
  EXPECT_LE(settled(), kFlight);
  answer(holds);
  EXPECT_TRUE(await([&] { return k->desk.received() == 100'000; }, within(6000)));
}

TEST_F(HoldTest, that_is_refused_dies_with_its_queue) {
  load();
  pid_t pid = k->desk.start(tcp({"--ms", "60000"}));
  name_all(1);
  const std::vector<KernelHold> holds = held(1);
  ASSERT_EQ(holds.size(), 1u);
  const std::uint64_t flight = settled();
  EXPECT_LE(flight, kFlight);
  const std::uint64_t begin = boot_now();
  ASSERT_TRUE(destroy_socket(holds[0].flow.tuple, holds[0].cookie));
  const Outcome outcome = k->desk.finish(pid);
  EXPECT_LT((boot_now() - begin) / 1'000'000, 2000u * static_cast<unsigned>(scale()));
  EXPECT_NE(outcome.output.find("send: "), std::string::npos) << outcome.output;
  k->part.reset();  // nothing holds anything any more
  usleep(500'000);
  EXPECT_EQ(k->desk.received(), flight);
}

TEST_F(HoldTest, of_two_hundred_flows_lets_all_of_them_go_by_one_answer) {
  load();
  constexpr std::size_t kFlows = 200;
  constexpr std::uint64_t kEach = 40'000;
  k->desk.start(tcp({"--count", "200", "--bytes", "40000", "--ms", "120000"}));
  ASSERT_EQ(name_all(kFlows).size(), kFlows);
  const std::vector<KernelHold> holds = held(kFlows);
  ASSERT_EQ(holds.size(), kFlows);
  EXPECT_LE(settled(), kFlows * kFlight);
  const std::uint64_t begin = boot_now();
  answer(holds);
  EXPECT_TRUE(await([&] { return k->desk.received() == kFlows * kEach; }, within(5000)))
      << k->desk.received();
  fmt::print("200 flows, answered and all of it received after {:.1f} ms\n",
             static_cast<double>(boot_now() - begin) / 1e6);
  EXPECT_EQ(k->charged(0), kFlows * kEach) << "each byte once";
  EXPECT_TRUE(k->part->holds().empty());
}

// Most of them find no room in their person's account when they go on: TCP and datagrams, by IPv4
// and IPv6, all at once.
TEST_F(HoldTest, of_two_hundred_flows_that_goes_on_passes_no_byte_beyond_the_account) {
  constexpr std::uint64_t kAccount = 300'000, kShortFlight = 1200;
  // An emulator is too slow for so many at once.
  const std::size_t streams = scale() > 1 ? 10 : 70, datagrams = scale() > 1 ? 4 : 30;
  const std::size_t flows = 2 * (streams + datagrams);
  weir_state state{};
  state.first_flight = kShortFlight;
  state.verdict_wait_ns = 60 * kSecond;
  k->load({limit_row(kAccount, 0, WEIR_PER_PERSON), hold_row()}, {}, state);
  for (const char* to : {kPeer4, kPeer6}) {
    k->desk.start({"--to", to, "--size", "500", "--count", std::to_string(streams), "--bytes",
                   "40000", "--ms", "120000"});
    k->desk.start({"--to", to, "--udp", "--size", "500", "--count", std::to_string(datagrams),
                   "--pace", "5000", "--ms", "120000"});
  }
  EXPECT_EQ(name_all(flows).size(), flows);
  const std::vector<KernelHold> holds = held(flows);
  ASSERT_EQ(holds.size(), flows);
  const std::uint64_t flights = settled();
  EXPECT_LE(flights, flows * kShortFlight);
  ASSERT_LT(k->charged(0) + 50'000, kAccount) << "there is room for some of what waits";
  answer(holds);
  EXPECT_TRUE(await([&] { return k->charged(0) > kAccount - 2000; }, within(15'000)))
      << k->charged(0);
  const std::uint64_t received = settled();
  const std::uint64_t refused = k->count(WEIR_COUNT_REFUSED_PACKETS);
  EXPECT_TRUE(await([&] { return k->count(WEIR_COUNT_REFUSED_PACKETS) > refused; }, within(5000)))
      << "the others still try";
  fmt::print("{} flows held with {} of {}, answered: charged {}, received {}\n", flows, flights,
             kAccount, k->charged(0), received);
  EXPECT_GT(received, flights) << "they went on";
  EXPECT_LE(k->desk.received(), k->charged(0));
  EXPECT_LE(k->charged(0), kAccount);
  EXPECT_TRUE(k->part->holds().empty());
}

TEST_F(HoldTest, answer_is_for_that_tree_and_that_place) {
  load();
  k->desk.start(tcp({"--shape", "stay", "--bytes", "50000", "--ms", "60000"}));
  name_all(1);
  std::vector<KernelHold> holds = held(1);
  ASSERT_EQ(holds.size(), 1u);
  answer(holds);
  ASSERT_TRUE(await([&] { return k->desk.received() == 50'000; }, within(5000)));
  // The desk's launches are of the test's own tree here: the same place does not wait again …
  k->desk.start(tcp({"--shape", "stay", "--bytes", "50000", "--ms", "60000"}));
  name_all(1);
  const bool same_tree = await([&] { return k->desk.received() == 100'000; }, within(3000));
  // … and another one does.
  k->desk.start(tcp({"--shape", "stay", "--bytes", "50000", "--ms", "60000"}));
  name_all(1, kBoth, kPlace + 1);
  holds = held(same_tree ? 1 : 2);
  ASSERT_FALSE(holds.empty());
  EXPECT_EQ(holds.size(), same_tree ? 1u : 2u);
  EXPECT_LE(settled(), (same_tree ? 100'000u : 50'000u) + 2 * kFlight);
}

TEST_F(HoldTest, ends_where_the_verdict_takes_the_flow_off_the_row) {
  load();
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "60000"}));
  name_all(1);
  const std::vector<KernelHold> holds = held(1);
  ASSERT_EQ(holds.size(), 1u);
  EXPECT_LE(settled(), kFlight);
  ASSERT_TRUE(k->part->put_verdict(holds[0].cookie, 1, kPlace));
  k->part->wake();
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(5000)));
  EXPECT_TRUE(k->part->holds().empty());
}

TEST_F(HoldTest, of_a_flow_whose_verdict_does_not_come_begins_after_the_wait) {
  load(kSecond / 5);
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "60000"}));
  const std::vector<KernelHold> holds = held(1);
  ASSERT_EQ(holds.size(), 1u) << "it could be under the row, and nobody says that it isn't";
  EXPECT_EQ(holds[0].flow.dest, default_destination(*IpAddress::parse(kPeer4)));
  EXPECT_LE(settled(), kFlight);
}

TEST_F(HoldTest, refuses_datagrams_until_it_is_answered) {
  load();
  k->desk.start(udp({"--ms", "60000"}));
  name_all(1);
  const std::vector<KernelHold> holds = held(1);
  ASSERT_EQ(holds.size(), 1u);
  const std::uint64_t flight = settled();
  EXPECT_LE(flight, kFlight);
  EXPECT_GT(flight, 0u);
  answer(holds);
  EXPECT_TRUE(await([&] { return k->desk.received() > 100'000; }, within(3000)));
}

TEST_F(HoldTest, that_only_observes_holds_nothing) {
  weir_state state{};
  state.first_flight = kFlight;
  state.verdict_wait_ns = 60 * kSecond;
  weir_limit row = hold_row();
  row.flags |= WEIR_LIMIT_OBSERVE;
  k->load({limit_row(kRoomy, 0, WEIR_PER_PERSON), row}, {}, state);
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "60000"}));
  name_all(1);
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(5000)));
  EXPECT_TRUE(k->part->holds().empty());
}

// The table is for a guard that is started again; this one ends it by what it was told.
TEST_F(HoldTest, without_room_in_the_table_waits_and_is_told_as_well) {
  constexpr std::size_t kFlows = 6, kRoom = 2;
  constexpr std::uint64_t kEach = 40'000;
  KernelOptions options;
  options.max_holds = kRoom;
  load(60 * kSecond, options);
  for (const char* to : {kPeer4, kPeer6})
    k->desk.start({"--to", to, "--count", std::to_string(kFlows / 2), "--bytes",
                   std::to_string(kEach), "--ms", "120000"});
  ASSERT_EQ(name_all(kFlows).size(), kFlows);
  std::set<std::uint64_t> told;
  const auto hear = [&] {
    k->part->poll_told([&](const weir_refused& one) {
      if (one.record.kind == WEIR_REC_HELD) told.insert(one.record.cookie);
    });
    return told.size();
  };
  EXPECT_TRUE(await([&] { return hear() == kFlows; }, within(15'000))) << told.size();
  EXPECT_EQ(k->part->holds().size(), kRoom);
  EXPECT_GE(k->count(WEIR_COUNT_HOLDS_FULL), kFlows - kRoom);
  EXPECT_LE(settled(), kFlows * kFlight);
  const KernelHold one = k->part->holds().at(0);
  ASSERT_TRUE(k->part->answer_hold(one.flow.limit, one.flow.tree, one.flow.dest,
                                   boot_now() + 3600 * kSecond));
  EXPECT_TRUE(await([&] { return k->desk.received() >= kFlows / 2 * kEach + kFlows / 2 * 1000; },
                    within(20'000)))
      << "all of that tree, by TCP's own tries";
  EXPECT_LE(settled(), kFlows / 2 * (kEach + kFlight));
}

TEST_F(HoldTest, outlives_its_loader_and_is_known_to_the_next) {
  KernelOptions options;
  options.pin_dir = k->desk.pin_dir();
  load(60 * kSecond, options);
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "60000"}));
  name_all(1);
  ASSERT_EQ(held(1).size(), 1u);
  const std::uint64_t flight = settled();
  k->part.reset();  // the guard is dead
  usleep(1'500'000);
  EXPECT_EQ(k->desk.received(), flight);
  options.cgroup = k->desk.cgroup();
  options.max_accounts = options.max_tasks = 4096;
  auto next = KernelPart::load(options);
  ASSERT_TRUE(next) << next.error().sentence;
  k->part = std::make_unique<KernelPart>(std::move(*next));
  const std::vector<KernelHold> holds = k->part->holds();
  ASSERT_EQ(holds.size(), 1u);
  answer(holds);
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(5000)))
      << k->desk.received();
  ASSERT_TRUE(KernelPart::release(options.pin_dir));
}

struct Alone {
  const char* name;
  const char* to;
  std::vector<std::string> how;
};
std::ostream& operator<<(std::ostream& out, const Alone& one) {
  return out << one.name;
}
class HoldAlone : public HoldTest, public ::testing::WithParamInterface<Alone> {};

// What the guard does at that time; here there is none. By any other rule it waits for one, as
// above.
TEST_P(HoldAlone, goes_on_at_its_time_where_its_rule_says_so_within_its_account) {
  constexpr std::uint64_t kAccount = 100'000;
  weir_state state{};
  state.first_flight = kFlight;
  state.verdict_wait_ns = 60 * kSecond;
  k->load({limit_row(kAccount, 0, WEIR_PER_PERSON), hold_row(2 * kSecond)}, {}, state);
  std::vector<std::string> flow = {"--to", GetParam().to, "--ms", "60000"};
  flow.insert(flow.end(), GetParam().how.begin(), GetParam().how.end());
  k->desk.start(flow);
  ASSERT_EQ(name_all(1).size(), 1u);
  const std::vector<KernelHold> holds = held(1);
  ASSERT_EQ(holds.size(), 1u);
  ASSERT_TRUE(await([&] { return k->desk.received() > kFlight; }, within(9000)));
  const double waited = static_cast<double>(boot_now() - holds[0].flow.since_ns) / 1e6;
  EXPECT_GE(waited, 2000);
  EXPECT_EQ(k->part->holds().size(), 1u) << "for the guard, which writes the answer";
  EXPECT_TRUE(await([&] { return k->count(WEIR_COUNT_REFUSED_PACKETS) > 0; }, within(9000)));
  settled();
  fmt::print("went on, seen after {:.1f} ms: limit {} charged {} received {}\n", waited, kAccount,
             k->charged(0), k->desk.received());
  EXPECT_LE(k->desk.received(), k->charged(0));
  EXPECT_LE(k->charged(0), kAccount);
}
INSTANTIATE_TEST_SUITE_P(
    kernel, HoldAlone,
    ::testing::Values(Alone{"stream_v4", kPeer4, {"--shape", "stay", "--bytes", "300000"}},
                      Alone{"stream_v6", kPeer6, {"--shape", "stay", "--bytes", "300000"}},
                      Alone{"datagrams_v4", kPeer4, {"--udp", "--size", "1000"}},
                      Alone{"datagrams_v6", kPeer6, {"--udp", "--size", "1000"}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(HoldTest, does_not_leave_when_the_pins_are_released) {
  KernelOptions options;
  options.pin_dir = k->desk.pin_dir();
  load(60 * kSecond, options);
  k->desk.start(tcp({"--ms", "60000"}));
  name_all(1);
  ASSERT_EQ(held(1).size(), 1u);
  const std::uint64_t flight = settled();
  EXPECT_LE(flight, kFlight);
  ASSERT_TRUE(KernelPart::release(options.pin_dir));
  k->part.reset();
  usleep(700'000);
  EXPECT_EQ(k->desk.received(), flight);
}

}  // namespace
}  // namespace weir::test
