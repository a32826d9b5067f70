// A desk's uplink and a collector, both as they ship: what the spool holds arrives once, in order.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <atomic>

#include "tests/agent/uplink/programs/desk.h"

namespace weir {
namespace {

class Uplinked : public CollectorAndDesk {
 protected:
  void expect_whole(SpoolLane lane, std::uint64_t records) {
    auto stored = collector->stored(lane);
    EXPECT_EQ(stored.records, records);
    EXPECT_EQ(stored.twice, 0u);
    EXPECT_EQ(stored.gaps, 0u);
    EXPECT_EQ(stored.out_of_order, 0u);
    EXPECT_EQ(stored.flagged, 0u) << "a broken chain, or a record that is none";
  }
};

TEST_F(Uplinked, reports_of_a_spool_arrive_once_each_and_in_order) {
  desk->report(SpoolLane::alert, 70);
  desk->report(SpoolLane::telemetry, 1'200);
  desk->start();
  ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
  auto start = Clock::now();
  desk->report(SpoolLane::alert, 1);
  ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
  fmt::print("a single alert is acknowledged {:.0f} ms after its commit\n",
             seconds_since(start) * 1'000);
  desk->report(SpoolLane::audit, 3);
  ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); }));
  collector->program.end(SIGTERM);
  expect_whole(SpoolLane::alert, 71);
  expect_whole(SpoolLane::audit, 3);
  expect_whole(SpoolLane::telemetry, 1'200);
}

TEST_F(Uplinked, what_was_acknowledged_once_is_not_sent_again_after_a_restart) {
  desk->report(SpoolLane::alert, 30);
  desk->start();
  ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
  desk->uplink.end(SIGKILL);
  desk->report(SpoolLane::alert, 5);
  desk->start();
  ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
  collector->program.end(SIGTERM);
  expect_whole(SpoolLane::alert, 35);
}

TEST_F(Uplinked, catching_up_is_ten_times_faster_than_a_desk_at_its_worst) {
  constexpr int kRecords = 20'000;
  constexpr double kLive = 50;  // records a second: SpoolLimits
  desk->report(SpoolLane::telemetry, kRecords, 500);
  desk->start();
  ASSERT_TRUE(soon([&] { return desk->acknowledged(SpoolLane::telemetry) > 0; }));
  auto start = Clock::now();
  auto first = static_cast<double>(desk->acknowledged(SpoolLane::telemetry));
  ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); }, 60)) << content(desk->log());
  double rate = (kRecords - first) / seconds_since(start);
  fmt::print("catch-up: {:.0f} records/s, {:.0f} times the live rate\n", rate, rate / kLive);
  EXPECT_GE(rate, 10 * kLive);
}

TEST_F(Uplinked, a_range_that_the_spool_lost_is_told_in_its_place) {
  SpoolLimits small;
  small.segment_bytes = 4'096;
  small.quota.fill(4 * 4'096);
  Desk poor(base / "poor", small);
  ASSERT_TRUE(poor.enrol_with(collector->token()));
  for (int n = 0; n < 20; ++n) poor.report(SpoolLane::telemetry, 10);
  poor.start();
  ASSERT_TRUE(soon([&] { return poor.all_acknowledged(); })) << content(poor.log());
  collector->program.end(SIGTERM);
  auto stored = collector->stored(SpoolLane::telemetry);
  EXPECT_GT(poor.writer->counters().lost[2], 0u);
  EXPECT_EQ(stored.records + poor.writer->counters().lost[2], 200u);
  EXPECT_EQ(stored.last, 200u);
  EXPECT_EQ(stored.twice, 0u);
}

TEST_F(Uplinked, a_collector_that_another_authority_vouches_for_hears_nothing) {
  Collector foreign(base / "foreign", 9444, 8444);
  foreign.start();
  desk->report(SpoolLane::alert, 5);
  desk->start(foreign.address());
  ASSERT_TRUE(soon([&] { return content(desk->log()).find("no stream") != std::string::npos; }));
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_EQ(desk->acknowledged(SpoolLane::alert), 0u);
  foreign.program.end(SIGTERM);
  EXPECT_EQ(foreign.stored(SpoolLane::alert).records, 0u);
  desk->start();
  EXPECT_TRUE(soon([&] { return desk->all_acknowledged(); })) << "its own it trusts";
}

TEST_F(Uplinked, a_dead_link_is_found_within_30_s) {
  desk->report(SpoolLane::alert, 5);
  desk->start();
  ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
  std::size_t before = content(desk->log()).size();
  // Nothing is answered and nothing reset: the packets are gone.
  ASSERT_EQ(std::system("nft 'add table inet dead; add chain inet dead in { type filter hook input "
                        "priority 0; }; add rule inet dead in tcp sport 9443 drop; add rule inet "
                        "dead in tcp dport 9443 drop'"),
            0);
  auto start = Clock::now();
  bool found =
      soon([&] { return content(desk->log()).find("no stream", before) != std::string::npos; }, 40);
  double took = seconds_since(start);
  fmt::print("a dead link was found after {:.1f} s\n", took);
  EXPECT_TRUE(found);
  EXPECT_LE(took, 30);
  desk->report(SpoolLane::alert, 5);
  ASSERT_EQ(std::system("nft delete table inet dead"), 0);
  EXPECT_TRUE(soon([&] { return desk->all_acknowledged(); }, 60)) << content(desk->log());
}

// Between a desk and its collector, so many bytes a second.
class Thin {
 public:
  Thin(int from, int to, std::size_t bytes_each_10_ms) : to_(to), each_(bytes_each_10_ms) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at = here(from);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at);
    ::listen(listener_, 1);
    thread_ = std::thread([this] { run(); });
  }
  ~Thin() {
    ending_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::atomic<std::size_t> passed = 0;

 private:
  static sockaddr_in here(int port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    return at;
  }
  void run() {
    int client = ::accept(listener_, nullptr, nullptr);
    int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at = here(to_);
    (void)::connect(server, reinterpret_cast<sockaddr*>(&at), sizeof at);
    std::vector<char> bytes(each_);
    while (!ending_) {
      for (auto [from, to] : {std::pair(client, server), std::pair(server, client)}) {
        ssize_t got = ::recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (got == 0) ending_ = true;
        if (got > 0 && ::send(to, bytes.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) < 0)
          ending_ = true;
        if (got > 0 && from == client) passed += static_cast<std::size_t>(got);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ::close(client);
    ::close(server);
  }
  const int to_;
  const std::size_t each_;
  int listener_ = -1;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

TEST_F(Uplinked, a_collector_that_reads_slowly_costs_no_memory) {
  constexpr std::size_t kFlat = 16u << 20;
  Thin thin(9'500, 9'443, 1'024);  // 100 KB a second
  desk->report(SpoolLane::alert, 20);
  desk->start("127.0.0.1:9500");
  ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
  std::size_t before = desk->rss_bytes(), most = before;
  for (int n = 0; n < 40; ++n) desk->report(SpoolLane::telemetry, 100, 10'000);  // 40 MB
  for (auto start = Clock::now(); seconds_since(start) < 15;) {
    most = std::max(most, desk->rss_bytes());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  fmt::print("RSS {} MiB before, at most {} MiB with 40 MB waiting; {} KB passed\n", before >> 20,
             most >> 20, thin.passed.load() / 1'000);
  EXPECT_LE(most, before + kFlat);
  EXPECT_FALSE(desk->all_acknowledged());
  // An alert goes before what waits.
  desk->report(SpoolLane::alert, 1);
  EXPECT_TRUE(soon([&] { return desk->acknowledged(SpoolLane::alert) == 21; }, 40));
}

TEST_F(Uplinked, a_policy_state_goes_up_and_the_guard_going_away_ends_it) {
  desk->start();
  desk->report(SpoolLane::alert, 1);
  ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
  std::uint8_t buffer[wire::kUplinkReceiveBuffer];
  ssize_t got = ::recv(desk->guard, buffer, sizeof buffer, MSG_DONTWAIT);
  wire::UplinkSession session;
  ASSERT_GT(got, 0);
  EXPECT_TRUE(session.on({buffer, static_cast<std::size_t>(got)}, 0, 1)) << "its first beat";
  ::shutdown(desk->guard, SHUT_RDWR);
  EXPECT_TRUE(soon([&] { return !desk->uplink.runs(); }));
}

}  // namespace
}  // namespace weir
