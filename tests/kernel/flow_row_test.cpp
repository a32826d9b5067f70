// Rows per flow: what one socket sends, however it is used, and no account in the table.
#include <algorithm>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;
constexpr std::uint64_t kLimit = 100'003;
constexpr std::uint64_t kSlack = 64 << 10;  // one super-packet that no longer fits
constexpr std::uint64_t kFlight = 16 << 10;

weir_limit flow_row(std::uint64_t bytes, std::uint32_t flags = 0) {
  return limit_row(bytes, 0, WEIR_PER_FLOW, flags);
}

class FlowRow : public KernelTest {
 protected:
  static weir_state with_flights() {
    weir_state state{};
    state.first_flight = kFlight;
    state.verdict_wait_ns = 60 * kSecond;
    return state;
  }
  std::uint64_t settled() { return k->desk.settled(milliseconds(1000), milliseconds(6000)); }
  std::vector<weir_refused> told() {
    std::vector<weir_refused> all;
    k->part->poll_told([&](const weir_refused& r) { all.push_back(r); });
    return all;
  }
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
  void expect_no_account(std::uint32_t row) {
    EXPECT_EQ(k->accounts_of(row).size(), 0u);
    EXPECT_EQ(k->overflow(row, WEIR_PER_FLOW).charged, 0u);
  }
};

struct Stream {
  const char* to;
};
void PrintTo(const Stream& s, std::ostream* out) {
  *out << s.to;
}
class FlowRowOf : public FlowRow, public testing::WithParamInterface<Stream> {};
INSTANTIATE_TEST_SUITE_P(kernel, FlowRowOf, testing::Values(Stream{kPeer4}, Stream{kPeer6}),
                         [](const auto& info) { return info.index == 0 ? "ip4" : "ip6"; });

TEST_P(FlowRowOf, bounds_each_stream_by_itself) {
  k->load({flow_row(kLimit)});
  k->desk.start({"--to", GetParam().to, "--count", "3", "--ms", "60000"});
  const std::uint64_t received = settled();
  fmt::print("limit {} a flow, three flows of one program received {}\n", kLimit, received);
  EXPECT_LE(received, 3 * kLimit);
  EXPECT_GT(received, 3 * (kLimit - kSlack));
  expect_no_account(0);
  const auto refusals = told();
  std::vector<std::uint64_t> flows;
  for (const weir_refused& r : refusals) {
    EXPECT_EQ(r.account.per, static_cast<std::uint32_t>(WEIR_PER_FLOW));
    EXPECT_EQ(r.account.who, r.record.cookie);
    EXPECT_LE(r.charged, kLimit);
    if (std::find(flows.begin(), flows.end(), r.record.cookie) == flows.end())
      flows.push_back(r.record.cookie);
  }
  EXPECT_EQ(flows.size(), 3u) << "each flow is told, so that the guard closes each";
}

TEST_P(FlowRowOf, lets_all_of_its_number_leave_and_no_byte_more) {
  k->load({flow_row(kLimit)});
  pid_t pid = k->desk.start({"--to", GetParam().to, "--shape", "steps", "--bytes",
                             std::to_string(kLimit), "--ms", "60000"});
  EXPECT_TRUE(await([&] { return k->desk.received() == kLimit; }, within(8000)))
      << k->desk.received();
  EXPECT_TRUE(told().empty());
  k->desk.write_line(pid);
  EXPECT_EQ(settled(), kLimit);
  EXPECT_FALSE(told().empty());
}

TEST_P(FlowRowOf, counts_whole_datagrams) {
  const bool v6 = std::string(GetParam().to) == kPeer6;
  const std::uint64_t packet = v6 ? 1'048 : 1'028;
  k->load({flow_row(20 * packet)});
  k->desk.start({"--to", GetParam().to, "--udp", "--size", "1000", "--count", "2", "--ms", "1500"});
  EXPECT_EQ(k->desk.settled(milliseconds(500), milliseconds(4000)), 2u * 20'000);
  expect_no_account(0);
}

TEST_F(FlowRow, is_charged_for_no_retransmission) {
  k->load({flow_row(200'000)});
  const std::uint64_t before = k->desk.received(kLossyPort);
  for (std::uint64_t flow = 1; flow <= 4; flow++) {  // one segment in eight is lost
    k->desk.start(tcp({"--shape", "stay", "--bytes", "200000", "--ms", "60000", "--port",
                       std::to_string(kLossyPort)}));
    ASSERT_TRUE(await([&] { return k->desk.received(kLossyPort) == before + flow * 200'000; },
                      within(10000)))
        << k->desk.received(kLossyPort) - before;
  }
}

TEST_F(FlowRow, and_a_row_of_the_host_are_both_charged_or_none) {
  k->load({flow_row(20 * 1028), limit_row(5 * 1028, 0, WEIR_PER_HOST)});
  k->desk.start(udp({"--shape", "pulse", "--ms", "60000"}));
  EXPECT_EQ(k->desk.settled(milliseconds(500), milliseconds(4000)), 5'000u);
  EXPECT_EQ(k->charged(1), 5u * 1028);
  ASSERT_TRUE(k->part->set_limits(
      std::vector<weir_limit>{flow_row(20 * 1028), limit_row(kRoomy, 0, WEIR_PER_HOST)}));
  EXPECT_TRUE(await([&] { return k->desk.received() == 20'000; }, within(4000)))
      << "what the host refused was not charged to the flow";
  EXPECT_EQ(k->desk.settled(milliseconds(500), milliseconds(2000)), 20'000u);
  EXPECT_EQ(k->charged(1), 20u * 1028) << "what the flow refuses is not charged to the host";
}

TEST_F(FlowRow, that_observes_counts_and_never_refuses) {
  k->load({flow_row(kLimit, WEIR_LIMIT_OBSERVE), flow_row(3 * kLimit, WEIR_LIMIT_OBSERVE)});
  EXPECT_EQ(k->desk.finish(k->desk.start(tcp({"--bytes", "250000"}))).status, 0);
  EXPECT_TRUE(await([&] { return k->desk.received() == 250'000; }, within(4000)));
  const auto refusals = told();
  ASSERT_FALSE(refusals.empty());
  for (const weir_refused& r : refusals) {
    EXPECT_EQ(r.account.limit, 0u) << "the other has room";
    EXPECT_GT(r.charged, kLimit);
  }
  EXPECT_EQ(k->count(WEIR_COUNT_REFUSED_PACKETS), 0u);
}

TEST_F(FlowRow, the_smallest_of_several_holds) {
  k->load({flow_row(kRoomy), flow_row(kLimit), flow_row(2 * kLimit)});
  k->desk.start(tcp());
  EXPECT_LE(settled(), kLimit);
  const auto refusals = told();
  ASSERT_FALSE(refusals.empty());
  EXPECT_EQ(refusals[0].account.limit, 1u);
}

TEST_F(FlowRow, fills_no_table_however_many_sockets_there_are) {
  KernelOptions options;
  options.max_accounts = 8;
  k->load({flow_row(kLimit), limit_row(kRoomy, 0, WEIR_PER_HOST)}, options);
  for (int run = 0; run < 3; run++) {
    Outcome o =
        k->desk.finish(k->desk.start(udp({"--count", "500", "--bytes", "1000", "--ms", "20000"})));
    EXPECT_EQ(o.status, 0) << o.output;
  }
  EXPECT_TRUE(await([&] { return k->charged(1) == 1'500u * 1028; }, within(4000))) << k->charged(1);
  expect_no_account(0);
  EXPECT_EQ(k->accounts_of(1).size(), 1u);
  EXPECT_EQ(k->count(WEIR_COUNT_ACCOUNTS_FULL), 0u);
}

TEST_F(FlowRow, goes_on_with_a_socket_that_is_closed_before_all_has_left) {
  k->load({flow_row(kLimit)});
  for (int n = 0; n < 3; n++) {
    pid_t pid = k->desk.start(
        tcp({"--shape", "socket_first", "--size", "60000", "--bytes", "180000", "--ms", "2000"}));
    k->desk.await_line(pid, "ready");
    k->desk.write_line(pid);
    k->desk.finish(pid);  // what is still queued is TCP's now
  }
  const std::uint64_t received = k->desk.settled(milliseconds(1500), milliseconds(8000));
  EXPECT_LE(received, 3 * kLimit);
  EXPECT_GT(received, kLimit);
}

TEST_F(FlowRow, is_the_same_one_when_the_socket_is_connected_again) {
  k->load({flow_row(kLimit)});
  k->desk.finish(k->desk.start({"--to", kPeer4, "--ms", std::to_string(4000 * scale()), "--shape",
                                "way", "--", "connected_again"}));
  const std::uint64_t received = settled();
  EXPECT_LE(received, kLimit);
  EXPECT_GT(received, kLimit / 4) << "it did send";
}

TEST_F(FlowRow, of_a_datagram_socket_holds_for_all_of_its_peers_together) {
  k->load({flow_row(50 * 1028)});
  k->desk.finish(k->desk.start({"--to", kPeer4, "--udp", "--ms", std::to_string(1500 * scale()),
                                "--shape", "way", "--", "two_peers"}));
  EXPECT_EQ(settled(), 50'000u);
}

TEST_F(FlowRow, holds_for_an_accepted_connection) {
  k->load({flow_row(kLimit)});
  pid_t pid = k->desk.start({"--shape", "serve", "--bytes", "300000", "--ms", "60000"});
  k->desk.await_line(pid, "ready");
  const std::uint64_t fetched = k->desk.peer_fetches(k->desk.port());
  EXPECT_LE(fetched, kLimit);
  EXPECT_GT(fetched, kLimit - kSlack);
}

TEST_F(FlowRow, is_not_refilled_by_a_policy_in_the_place_of_another) {
  const auto put = [&](std::vector<weir_limit> rows) {
    for (std::uint64_t n = 0; n < rows.size(); n++) rows[n].name = 10 + n;
    KernelPolicy policy;
    policy.rows = rows;
    policy.state.unclassified = ~std::uint64_t{0} >> (64 - rows.size());
    auto replaced = k->part->replace(policy);
    ASSERT_TRUE(replaced) << replaced.error().sentence;
  };
  k->load({flow_row(20 * 1028)});
  k->desk.start(udp({"--shape", "pulse", "--ms", "60000"}));
  EXPECT_EQ(k->desk.settled(milliseconds(400), milliseconds(4000)), 20'000u);
  for (int n = 0; n < 5; n++) put({limit_row(kRoomy, 0, WEIR_PER_HOST), flow_row(20 * 1028)});
  EXPECT_EQ(k->desk.settled(milliseconds(400), milliseconds(4000)), 20'000u);
  put({flow_row(30 * 1028)});
  EXPECT_TRUE(await([&] { return k->desk.received() == 30'000; }, within(4000)))
      << "a higher number gives the difference";
  EXPECT_EQ(k->desk.settled(milliseconds(400), milliseconds(4000)), 30'000u);
}

TEST_F(FlowRow, is_not_refilled_by_another_loader) {
  KernelOptions options;
  options.pin_dir = k->desk.pin_dir();
  k->load({flow_row(20 * 1028)}, options);
  k->desk.start(udp({"--shape", "pulse", "--ms", "60000"}));
  EXPECT_EQ(k->desk.settled(milliseconds(400), milliseconds(4000)), 20'000u);
  k->events.reset();
  k->part.reset();
  options.cgroup = k->desk.cgroup();
  options.max_accounts = options.max_tasks = 4096;
  auto again = KernelPart::load(options);
  ASSERT_TRUE(again) << again.error().sentence;
  ASSERT_TRUE(again->adopted());
  k->part = std::make_unique<KernelPart>(std::move(*again));
  EXPECT_EQ(k->part->state().flows, 1u);
  EXPECT_EQ(k->desk.settled(milliseconds(400), milliseconds(4000)), 20'000u);
  ASSERT_TRUE(KernelPart::release(k->desk.pin_dir()));
}

TEST_F(FlowRow, counts_a_first_flight_once) {
  k->load({flow_row(kLimit), limit_row(kRoomy, 0, WEIR_PER_HOST), flow_row(kRoomy)}, {},
          with_flights());
  pid_t pid = k->desk.start(tcp({"--shape", "steps", "--bytes", std::to_string(kLimit)}));
  const std::uint64_t flow = cookie();
  ASSERT_NE(flow, 0u);
  EXPECT_LE(k->desk.settled(milliseconds(500), milliseconds(4000)), kFlight);
  ASSERT_TRUE(k->part->put_verdict(flow, 0b011, 4711));
  EXPECT_TRUE(await([&] { return k->desk.received() == kLimit; }, within(10000)))
      << k->desk.received();
  k->desk.write_line(pid);
  EXPECT_EQ(settled(), kLimit);
}

TEST_F(FlowRow, that_only_the_verdict_brings_counts_the_first_flight_too) {
  k->load({flow_row(kLimit), limit_row(kRoomy, 0, WEIR_PER_HOST)}, {}, with_flights());
  weir_prefix known{};
  known.limits = 0b10;
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse(std::string(kPeer4) + "/32"), known));
  pid_t pid = k->desk.start(tcp({"--shape", "steps", "--bytes", std::to_string(kLimit)}));
  const std::uint64_t flow = cookie();
  ASSERT_NE(flow, 0u);
  EXPECT_GT(k->desk.settled(milliseconds(500), milliseconds(4000)), 0u);
  ASSERT_TRUE(k->part->put_verdict(flow, 0b11, 0));
  EXPECT_TRUE(await([&] { return k->desk.received() == kLimit; }, within(10000)))
      << k->desk.received();
  k->desk.write_line(pid);
  EXPECT_EQ(settled(), kLimit);
}

TEST_F(FlowRow, that_the_verdict_takes_away_bounds_nothing) {
  k->load({flow_row(kLimit), limit_row(kRoomy, 0, WEIR_PER_HOST)}, {}, with_flights());
  k->desk.start(tcp({"--shape", "stay", "--bytes", "300000", "--ms", "60000"}));
  const std::uint64_t flow = cookie();
  ASSERT_NE(flow, 0u);
  ASSERT_TRUE(k->part->put_verdict(flow, 0b10, 0));
  EXPECT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(8000)));
  EXPECT_TRUE(told().empty());
}

}  // namespace
}  // namespace weir::test
