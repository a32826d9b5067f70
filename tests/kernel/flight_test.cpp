// The first flight of a flow: charged to every row that could count, short, and given back exactly
// where the verdict says that a row doesn't count.
#include <algorithm>
#include <set>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;
constexpr std::uint64_t kFlight = 16 << 10;

class FirstFlight : public KernelTest {
 protected:
  void load(std::vector<weir_limit> rows, std::uint64_t wait_ns = 60 * kSecond) {
    weir_state state{};
    state.first_flight = kFlight;
    state.verdict_wait_ns = wait_ns;
    k->load(std::move(rows), {}, state);
  }

  // The cookie of the first flow that shows a head.
  std::uint64_t cookie() {
    std::uint64_t found = 0;
    await(
        [&] {
          auto heads = k->records<weir_head>(WEIR_REC_HEAD);
          if (!heads.empty()) found = heads[0].record.cookie;
          return found != 0;
        },
        within(3000));
    return found;
  }
};

TEST_F(FirstFlight, waits_for_the_verdict_and_goes_back_to_the_rows_that_do_not_count) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON), limit_row(64 << 10, 0, WEIR_PER_HOST),
        limit_row(kRoomy, 3600 * kSecond, WEIR_PER_TREE)});
  // It stays: the kernel gives up on a closed socket whose bytes wait for more than a few seconds.
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "60000"}));
  std::uint64_t flow = cookie();
  ASSERT_NE(flow, 0u);
  std::uint64_t flight = k->desk.settled(milliseconds(700), milliseconds(4000));
  EXPECT_GT(flight, 0u);
  EXPECT_LE(flight, kFlight);
  EXPECT_EQ(k->charged(0), k->charged(1));
  EXPECT_EQ(k->charged(0), k->charged(2));
  EXPECT_EQ(k->charged(1), flight);
  EXPECT_GT(k->count(WEIR_COUNT_WAITED), 0u);

  ASSERT_TRUE(k->part->put_verdict(flow, 1, 0));
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(6000)))
      << k->desk.received();
  EXPECT_EQ(k->charged(0), 300'000u);
  EXPECT_EQ(k->accounts_of(0)[0].value.word, 300'000u);
  EXPECT_EQ(k->charged(1), 0u) << "refunded to the byte";
  EXPECT_EQ(k->accounts_of(1)[0].value.word, 0u);
  EXPECT_EQ(k->charged(2), 0u);
  EXPECT_LE(k->accounts_of(2)[0].value.word, boot_now() * 16) << "that window is full again";
}

TEST_F(FirstFlight, of_many_flows_is_bounded_by_the_accounts) {
  load({limit_row(200'000, 0, WEIR_PER_PERSON)});
  k->desk.start(tcp({"--count", "64", "--ms", "20000"}));
  std::uint64_t received = k->desk.settled(milliseconds(700), milliseconds(4000));
  EXPECT_LE(received, k->charged(0));
  EXPECT_LE(k->charged(0), 200'000u);
  EXPECT_GT(received, 200'000u - kFlight);
}

TEST_F(FirstFlight, goes_on_after_the_wait_charged_to_every_row) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON), limit_row(200'000, 0, WEIR_PER_HOST)}, kSecond / 5);
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "20000"}));
  k->desk.settled(milliseconds(900), milliseconds(6000));
  std::uint64_t received = k->desk.received();
  EXPECT_GT(received, kFlight);
  EXPECT_LE(received, k->charged(1));
  EXPECT_LE(k->charged(1), 200'000u);
  EXPECT_EQ(k->charged(0), k->charged(1));
}

TEST_F(FirstFlight, of_datagrams_is_lost_not_refused_until_the_verdict) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON), limit_row(kRoomy, 0, WEIR_PER_HOST)});
  k->desk.start(udp({"--ms", "20000"}));
  std::uint64_t flow = cookie();
  EXPECT_EQ(k->desk.settled(milliseconds(300), milliseconds(3000)), kFlight / 1028 * 1000);
  ASSERT_TRUE(k->part->put_verdict(flow, 2, 0));
  EXPECT_TRUE(await([&] { return k->desk.received() > 100'000; }, within(3000)));
  EXPECT_EQ(k->charged(0), 0u);
}

TEST_F(FirstFlight, waits_also_where_the_address_is_charged_to_no_row) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON)});
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse(std::string(kPeer4) + "/32"), {}));
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "20000"}));
  std::uint64_t flow = cookie();
  EXPECT_LE(k->desk.settled(milliseconds(700), milliseconds(3000)), kFlight)
      << "the name that it says may still bring it under a row";
  ASSERT_TRUE(k->part->put_verdict(flow, 0, 0));
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(6000)));
}

TEST_F(FirstFlight, moves_to_the_destination_that_the_verdict_names) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON_DEST)});
  // It stays: the kernel gives up on a closed socket whose bytes wait for more than a few seconds.
  k->desk.start(tcp({"--shape", "stay", "--bytes", "100000", "--ms", "20000"}));
  std::uint64_t flow = cookie();
  std::uint64_t flight = k->desk.settled(milliseconds(500), milliseconds(3000));
  ASSERT_TRUE(k->part->put_verdict(flow, 1, 4711));
  EXPECT_TRUE(await([&] { return k->desk.received() == 100'000; }, within(4000)));
  std::uint64_t named = 0, by_address = 1;
  for (const auto& a : k->accounts_of(0))
    (a.key.dest == 4711 ? named : by_address) = a.value.charged;
  EXPECT_GT(flight, 0u);
  EXPECT_EQ(named, 100'000u);
  EXPECT_EQ(by_address, 0u);
}

TEST_F(FirstFlight, that_finds_no_room_at_its_destination_is_the_last_that_the_flow_sends) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON), limit_row(40'000, 0, WEIR_PER_PERSON_DEST)});
  // 30,000 bytes of the row are for named flows, 10,000 for others.
  pid_t pid = k->desk.start(tcp({"--shape", "stay", "--bytes", "25000", "--ms", "20000"}));
  std::uint64_t first = cookie();
  k->desk.settled(milliseconds(300), milliseconds(3000));
  EXPECT_LE(k->charged(1), 10'000u);
  ASSERT_TRUE(k->part->put_verdict(first, 3, 4711));
  ASSERT_TRUE(await([&] { return k->desk.received() == 25'000; }, within(5000)));
  k->desk.start(tcp({"--shape", "stay", "--bytes", "6000", "--ms", "20000"}));
  ASSERT_TRUE(await([&] { return k->desk.received() == 31'000; }, within(5000)));
  std::uint64_t second = 0;
  for (const auto& head : k->records<weir_head>(WEIR_REC_HEAD))
    if (head.record.cookie != first) second = head.record.cookie;
  ASSERT_NE(second, 0u);
  k->part->poll_told([](const weir_refused&) {});
  ASSERT_TRUE(k->part->put_verdict(second, 3, 4711));
  // Its 6,000 do not fit into the 5,000 that are left there: they stay where they are.
  k->desk.end(pid);
  k->desk.start(tcp({"--shape", "stay", "--bytes", "6000", "--ms", "20000"}));
  ASSERT_TRUE(await([&] { return k->charged(1) > 31'000; }, within(3000))) << k->charged(1);
  EXPECT_LE(k->desk.settled(milliseconds(500), milliseconds(3000)), 40'000u);
  EXPECT_LE(k->charged(1), 40'000u);
  for (const auto& a : k->accounts_of(1))
    EXPECT_LE(a.value.charged, a.key.per & WEIR_PER_UNNAMED ? 10'000u : 30'000u);
}

TEST_F(FirstFlight, that_finds_no_room_stays_the_last_also_when_the_wait_for_its_name_is_over) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON), limit_row(1'000, 0, WEIR_PER_HOST)}, kSecond);
  weir_state state = k->part->state();
  state.unclassified = 1;
  ASSERT_TRUE(k->part->set_state(state));
  k->desk.start(udp({"--ms", "60000"}));
  const std::uint64_t flow = cookie();
  ASSERT_TRUE(await([&] { return k->count(WEIR_COUNT_WAITED) > 0; }, within(3000)));
  ASSERT_TRUE(k->part->put_verdict(flow, 2, 0));
  const std::uint64_t stopped = k->desk.settled(milliseconds(300), milliseconds(3000));
  EXPECT_LE(stopped, kFlight);
  usleep(static_cast<unsigned>(2'000'000 * scale()));
  EXPECT_EQ(k->desk.received(), stopped) << "row 1 has no room for it, and no row 0 counts";
}

TEST_F(FirstFlight, whose_verdict_is_late_belongs_to_the_destination_of_its_address) {
  load({limit_row(400'000, 0, WEIR_PER_PERSON_DEST)}, kSecond / 5);
  k->desk.start(tcp({"--shape", "stay", "--bytes", "200000", "--ms", "20000"}));
  EXPECT_TRUE(await([&] { return k->desk.received() == 200'000; }, within(6000)))
      << k->desk.received();
  for (const auto& a : k->accounts_of(0)) {
    EXPECT_EQ(a.key.dest, default_destination(*IpAddress::parse(kPeer4)));
    EXPECT_EQ(a.value.charged, a.key.per & WEIR_PER_UNNAMED ? 0u : 200'000u);
  }
}

TEST_F(FirstFlight, that_waits_is_woken_by_its_verdict) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON)});
  const auto& programs = k->part->programs();
  auto walk = std::find_if(programs.begin(), programs.end(),
                           [](const KernelProgram& p) { return p.name == "weir_wake"; });
  ASSERT_NE(walk, programs.end());
  if (!walk->attached) GTEST_SKIP() << "this kernel wakes no flow: " << walk->problem;
  constexpr std::size_t kFlows = 30, kWoken = 20;
  k->desk.start(tcp({"--count", "30", "--bytes", "30000", "--ms", "120000"}));
  k->desk.settled(milliseconds(700), milliseconds(6000));
  std::set<std::uint64_t> cookies;
  for (const auto& head : k->records<weir_head>(WEIR_REC_HEAD)) cookies.insert(head.record.cookie);
  ASSERT_EQ(cookies.size(), kFlows);
  std::vector<double> took[2];  // by itself, woken
  for (std::uint64_t cookie : cookies) {
    bool wakes = took[1].size() < kWoken;
    std::uint64_t before = k->desk.received(), start = boot_now();
    ASSERT_TRUE(k->part->put_verdict(cookie, 1, 0));
    if (wakes) k->part->wake();
    while (k->desk.received() == before && boot_now() < start + 2 * kSecond) usleep(50);
    took[wakes].push_back(static_cast<double>(boot_now() - start) / 1e6);
    usleep(20'000);  // until the rest of it is there
  }
  for (auto& t : took) std::sort(t.begin(), t.end());
  fmt::print(
      "from its verdict to its next byte, ms, p50 and most: by itself {:.1f} {:.1f}, woken "
      "{:.1f} {:.1f}\n",
      took[0][(kFlows - kWoken) / 2], took[0].back(), took[1][kWoken / 2], took[1].back());
  EXPECT_LT(took[1][kWoken / 2], 60.0 * scale()) << "TCP by itself tries after 200 ms";
  EXPECT_GE(k->count(WEIR_COUNT_WOKEN), kWoken - 2);
}

struct Path {
  bool six, udp;
};
std::string name_of(const Path& path) {
  return std::string(path.udp ? "udp" : "tcp") + (path.six ? "_ipv6" : "_ipv4");
}
std::ostream& operator<<(std::ostream& out, const Path& path) {  // in the name of a test
  return out << name_of(path);
}

class Destination : public testing::TestWithParam<Path> {
 protected:
  void SetUp() override {
    WEIR_NEEDS_KERNEL();
    k.emplace();
  }
  // Names every flow that shows itself, until the peer gets nothing any more.
  void name_all(std::uint64_t dest) {
    std::set<std::uint64_t> named;
    std::uint64_t last = 0;
    auto quiet_since = std::chrono::steady_clock::now();
    const auto most = [&] { return milliseconds(named.empty() ? 15'000 : 1500) * scale(); };
    while (std::chrono::steady_clock::now() - quiet_since < most()) {
      for (const auto& head : k->records<weir_head>(WEIR_REC_HEAD))
        if (named.insert(head.record.cookie).second)
          ASSERT_TRUE(k->part->put_verdict(head.record.cookie, 1, dest));
      k->kept.clear();
      usleep(2000);
      if (std::exchange(last, k->desk.received()) != last)
        quiet_since = std::chrono::steady_clock::now();
    }
    flows = named.size();
  }
  std::optional<KernelDesk> k;
  std::size_t flows = 0;
};

INSTANTIATE_TEST_SUITE_P(kernel, Destination,
                         testing::Values(Path{false, false}, Path{true, false}, Path{false, true},
                                         Path{true, true}),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(Destination, of_a_hundred_flows_at_once_gets_no_more_than_its_number) {
  constexpr std::uint64_t kLimit = 500'003;  // a hundred first flights are 1.6 million
  weir_state state{};
  state.first_flight = kFlight;
  state.verdict_wait_ns = 60 * kSecond;
  k->load({limit_row(kLimit, 0, WEIR_PER_PERSON_DEST)}, {}, state);
  std::vector<std::string> a = {"--count", "100",
                                "--to",    GetParam().six ? kPeer6 : kPeer4,
                                "--ms",    std::to_string(30'000 * scale())};
  if (GetParam().udp) a.insert(a.end(), {"--udp", "--size", "1400"});
  k->desk.start(a);
  name_all(4711);
  k->desk.end_all();
  std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  fmt::print("{} flows: limit {} charged {} received {}\n", flows, kLimit, k->charged(0), received);
  EXPECT_GT(flows, 7u);
  EXPECT_LE(received, k->charged(0));
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_GE(k->charged(0), kLimit * 3 / 4 - (64 << 10));
  EXPECT_LE(k->accounts_of(0).size(), 2u);
}

TEST_F(FirstFlight, of_a_flow_that_closes_early_is_settled_at_the_close) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON), limit_row(kRoomy, 0, WEIR_PER_HOST)});
  // Sends, waits for the greeting's second byte in vain, closes: the verdict comes in between.
  pid_t pid = k->desk.start(tcp({"--bytes", "5000", "--shape", "stay", "--ms", "1500"}));
  std::uint64_t flow = cookie();
  EXPECT_TRUE(await([&] { return k->charged(1) == 5000; }, within(2000)));
  ASSERT_TRUE(k->part->put_verdict(flow, 1, 0));
  k->desk.finish(pid);
  EXPECT_TRUE(await([&] { return k->charged(1) == 0; }, within(1000)));
  EXPECT_EQ(k->charged(0), 5000u);
  auto usage = k->records<weir_usage>(WEIR_REC_USAGE);
  ASSERT_FALSE(usage.empty());
  EXPECT_EQ(usage.back().closed, 1u);
  EXPECT_EQ(usage.back().bytes_out, 5000u);
  EXPECT_EQ(usage.back().bytes_in, 1u);
  EXPECT_EQ(usage.back().tuple.remote_port, k->desk.port());
}

TEST_F(FirstFlight, no_verdict_takes_a_flow_off_a_fixed_row) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON),
        limit_row(50'000, 0, WEIR_PER_HOST, WEIR_LIMIT_FIXED)});
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "20000"}));
  ASSERT_TRUE(k->part->put_verdict(cookie(), 1, 0));
  k->desk.settled(milliseconds(700), milliseconds(4000));
  EXPECT_LE(k->desk.received(), 50'000u);
  EXPECT_LE(k->charged(1), 50'000u);
  EXPECT_GT(k->charged(1), kFlight);
}

TEST_F(FirstFlight, verdict_that_rests_on_a_network_holds_only_for_packets_that_take_it) {
  load({limit_row(200'000, 0, WEIR_PER_PERSON)});
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "20000"}));
  std::uint64_t flow = cookie();
  auto heads = k->records<weir_head>(WEIR_REC_HEAD);
  ASSERT_FALSE(heads.empty());
  std::uint32_t via = heads[0].via;
  ASSERT_GT(via, static_cast<std::uint32_t>(1)) << "the desk's own interface, not loopback";
  ASSERT_TRUE(k->part->put_verdict(flow, 0, 0, via + 1000));
  std::uint64_t received = k->desk.settled(milliseconds(700), milliseconds(4000));
  EXPECT_GT(received, kFlight);
  EXPECT_LE(received, 200'000u);
  EXPECT_LE(received, k->charged(0));
  ASSERT_TRUE(k->part->put_verdict(flow, 0, 0, via));
  k->desk.settled(milliseconds(700), milliseconds(2000));
  EXPECT_LE(k->desk.received(), 200'000u) << "it left by another once: no verdict is for it";
}

TEST_F(FirstFlight, verdict_that_rests_on_the_network_it_takes_lets_it_go_on) {
  load({limit_row(200'000, 0, WEIR_PER_PERSON)});
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "20000"}));
  std::uint64_t flow = cookie();
  auto heads = k->records<weir_head>(WEIR_REC_HEAD);
  ASSERT_FALSE(heads.empty());
  ASSERT_TRUE(k->part->put_verdict(flow, 0, 0, heads[0].via));
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(6000)));
  EXPECT_EQ(k->charged(0), 0u);
}

TEST_F(FirstFlight, its_heads_carry_what_was_sent) {
  load({limit_row(kRoomy, 0, WEIR_PER_PERSON)});
  k->desk.start(tcp({"--bytes", "300", "--size", "300", "--ms", "20000"}));
  ASSERT_NE(cookie(), 0u);
  for (const auto& b : k->kept) {
    weir_head h{};
    if (b.size() < sizeof h) continue;
    std::memcpy(static_cast<void*>(&h), b.data(), sizeof h);
    if (h.record.kind != WEIR_REC_HEAD) continue;
    EXPECT_EQ(h.wire_length, h.captured);
    ASSERT_LE(sizeof h + h.captured, b.size());
    const std::uint8_t* packet = b.data() + sizeof h;
    EXPECT_EQ(packet[0] >> 4, 4);
    // Behind the headers: a number in them may look like the payload's letter.
    std::size_t headers = (packet[0] & 0xfu) * 4;
    headers += (packet[headers + 12] >> 4) * 4u;
    ASSERT_EQ(h.captured, headers + 300);
    EXPECT_EQ(std::count(packet + headers, packet + h.captured, 'w'), 300);
    EXPECT_EQ(h.record.pid != 0, true);
    EXPECT_NE(h.record.tree, 0u);
    return;
  }
  FAIL() << "no head in the ring";
}

}  // namespace
}  // namespace weir::test
