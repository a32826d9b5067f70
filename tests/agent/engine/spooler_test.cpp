// The queue before the spool: nobody waits, alerts are soon on the disk, losses are counted.
#include "agent/engine/spooler.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace weir {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

class SpoolerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "weir-spooler-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
    folder_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY);
    fs::create_directory(path_ / "apart");
    acknowledged_ = ::open((path_ / "apart/acknowledged").c_str(), O_RDWR | O_CREAT, 0600);
    news_ = ::eventfd(0, EFD_NONBLOCK);
  }
  void TearDown() override {
    for (int fd : {folder_, acknowledged_, news_}) ::close(fd);
    fs::remove_all(path_);
  }
  Spooler::Ends ends() const { return {folder_, acknowledged_, news_}; }
  std::uint64_t spooled(SpoolLane lane) const {
    auto reader = SpoolReader::open(folder_);
    auto positions = reader->spooled();
    return (*positions)[static_cast<std::size_t>(lane)].sequence;
  }
  // Until so many are on the disk; how long it took.
  std::chrono::microseconds wait_for(SpoolLane lane, std::uint64_t count) const {
    auto start = Clock::now();
    while (spooled(lane) < count && Clock::now() - start < std::chrono::seconds(30)) {
      pollfd news{news_, POLLIN, 0};
      ::poll(&news, 1, 50);
      std::uint64_t commits = 0;
      (void)!::read(news_, &commits, sizeof commits);
    }
    return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
  }

  fs::path path_;
  int folder_ = -1, acknowledged_ = -1, news_ = -1;
};

constexpr std::int64_t kWallNs = 1'700'000'000'000'000'000;

TEST_F(SpoolerTest, an_alert_is_soon_on_the_disk_and_the_others_within_seconds) {
  Spooler spooler(ends(), SpoolLimits{}, kWallNs);
  std::vector<std::chrono::microseconds> took;
  for (std::uint64_t n = 1; n <= 100; ++n) {
    spooler.offer(SpoolLane::alert, std::string(500, 'a'));
    took.push_back(wait_for(SpoolLane::alert, n));
  }
  std::sort(took.begin(), took.end());
  printf("an alert is durable after %lld us (p50), %lld us (p99)\n",
         static_cast<long long>(took[50].count()), static_cast<long long>(took[98].count()));
  EXPECT_LT(took[50], std::chrono::milliseconds(500));  // on a machine that does much else
  spooler.offer(SpoolLane::telemetry, "t");
  EXPECT_LT(wait_for(SpoolLane::telemetry, 1), std::chrono::seconds(10));
  EXPECT_EQ(spooler.lost(), (std::array<std::uint64_t, 3>{}));
}

TEST_F(SpoolerTest, what_finds_the_queue_full_is_counted_by_lane_and_alerts_find_room_longest) {
  std::uint64_t offered = 0;
  std::array<std::uint64_t, kSpoolLanes> lost{};
  {
    // A spool that can't be opened stays so: another writer has it.
    Result<SpoolWriter> holder = SpoolWriter::open(folder_, SpoolLimits{}, kWallNs);
    ASSERT_TRUE(holder);
    Spooler spooler(ends(), SpoolLimits{}, kWallNs);
    for (; offered < 50; ++offered) spooler.offer(SpoolLane::audit, "x");
    auto until = Clock::now() + std::chrono::seconds(10);
    while (spooler.lost()[1] < offered && Clock::now() < until) ::usleep(10'000);
    lost = spooler.lost();
  }
  EXPECT_EQ(lost[1], offered);
  Spooler spooler(ends(), SpoolLimits{}, kWallNs);
  std::string large(kMaxSpoolRecord, 'l');
  for (int n = 0; n < 200; ++n) spooler.offer(SpoolLane::telemetry, large);  // faster than any disk
  spooler.offer(SpoolLane::alert, std::string(kMaxSpoolRecord + 1, 'l'));
  lost = spooler.lost();
  EXPECT_GT(lost[2], 0u);
  EXPECT_EQ(lost[0], 1u);  // only the one that is too large
  std::uint64_t kept = 200 - lost[2];
  wait_for(SpoolLane::telemetry, kept);
  EXPECT_EQ(spooled(SpoolLane::telemetry), kept);
}

TEST_F(SpoolerTest, what_was_offered_is_committed_at_the_end) {
  {
    Spooler spooler(ends(), SpoolLimits{}, kWallNs);
    for (int n = 0; n < 1000; ++n) spooler.offer(static_cast<SpoolLane>(n % 3), "record");
  }
  EXPECT_EQ(spooled(SpoolLane::alert) + spooled(SpoolLane::audit) + spooled(SpoolLane::telemetry),
            1000u);
}

TEST_F(SpoolerTest, what_the_uplink_acknowledged_is_forgotten) {
  SpoolLimits limits;
  limits.segment_bytes = 4096;
  limits.quota.fill(64 * limits.segment_bytes);
  Spooler spooler(ends(), limits, kWallNs);
  for (int n = 0; n < 200; ++n) spooler.offer(SpoolLane::alert, std::string(500, 'a'));
  wait_for(SpoolLane::alert, 200);
  auto files = [&] {
    return std::count_if(fs::directory_iterator(path_), {},
                         [](const auto& entry) { return entry.path().extension() == ".seg"; });
  };
  EXPECT_GT(files(), 10);
  auto positions = *SpoolReader::open(folder_)->spooled();
  ASSERT_TRUE(write_acknowledged(acknowledged_, positions));
  auto until = Clock::now() + std::chrono::seconds(10);
  while (files() > 3 && Clock::now() < until) ::usleep(50'000);
  EXPECT_EQ(files(), 3);
}

TEST_F(SpoolerTest, a_spool_made_anew_has_a_higher_epoch_than_the_uplink_knows) {
  SpoolPositions known{{{kWallNs + 7, 3}, {kWallNs + 7, 0}, {kWallNs + 7, 9}}};
  ASSERT_TRUE(write_acknowledged(acknowledged_, known));
  Spooler spooler(ends(), SpoolLimits{}, kWallNs - 1000);  // the clock jumped back
  spooler.offer(SpoolLane::alert, "x");
  wait_for(SpoolLane::alert, 1);
  EXPECT_EQ((*SpoolReader::open(folder_)->spooled())[0].epoch,
            static_cast<std::uint64_t>(kWallNs + 8));
}

}  // namespace
}  // namespace weir
