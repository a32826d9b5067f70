// The spool on a disk that refuses and forgets (disk.h), and for a day without a collector.
#include <cerrno>
#include <cstdio>

#include "tests/agent/spool/disk.h"
#include "tests/agent/spool/folder_fixture.h"

namespace weir {
namespace {

using namespace spool_test;

class SpoolDisk : public testing::Test {
 protected:
  void TearDown() override { refuse_calls(nullptr); }
};

// Appends and commits at random; the power goes at a random moment within.
struct PowerCut {
  std::array<std::uint64_t, kSpoolLanes> committed{}, acknowledged{}, lost{};
};

PowerCut use_until(int folder, std::mt19937& random) {
  SpoolLimits limits = small_limits(1024, 4);
  SpoolWriter writer = open_writer(folder, limits);
  PowerCut state;
  int steps = 5 + static_cast<int>(random() % 40);
  for (int step = 0; step < steps; ++step) {
    SpoolLane lane = kLanes[random() % 3];
    std::uint64_t next = writer.last()[at(lane)].sequence + 1;
    writer.append(lane, bytes_of(body(lane, next, 20 + random() % 400)));
    switch (random() % 4) {
      case 0:
        (void)writer.commit();
        break;
      case 1:
        (void)writer.commit(SpoolLane::alert);
        break;
      case 2:
        if (random() % 4 == 0) {
          SpoolPositions done = writer.committed();
          done[at(lane)].sequence /= 2;
          writer.forget(done);
          for (SpoolLane one : kLanes)
            state.acknowledged[at(one)] =
                std::max(state.acknowledged[at(one)], done[at(one)].sequence);
        }
        break;
      default:
        break;
    }
    for (SpoolLane one : kLanes) {
      state.committed[at(one)] = writer.committed()[at(one)].sequence;
      state.lost[at(one)] = writer.counters().lost[at(one)];
    }
  }
  return state;
}

TEST_F(SpoolDisk, a_power_cut_loses_nothing_that_was_committed) {
  int lost_uncommitted = 0, cuts = 0;
  std::uint64_t kept = 0;
  for (unsigned seed = 1; seed <= 200; ++seed, ++cuts) {
    std::mt19937 random(seed);
    Folder before, after;
    WriteCache disk(before.fd());
    // Every other disk also fails now and then, a sync among others.
    if (seed % 2 == 0)
      refuse_calls([&](Call) { return random() % 15 != 0 ? 0 : random() % 2 == 0 ? EIO : ENOSPC; });
    PowerCut state = use_until(before.fd(), random);
    refuse_calls(nullptr);
    disk.cut(after.path(), random);
    SpoolWriter writer = open_writer(after.fd(), small_limits(1024, 4), 1);
    for (SpoolLane lane : kLanes) {
      ASSERT_GE(writer.last()[at(lane)].sequence, state.committed[at(lane)])
          << "seed " << seed << " lane " << at(lane);
      // Where nothing was ever committed there was no spool yet.
      ASSERT_TRUE(state.committed == decltype(state.committed){} ||
                  writer.last()[at(lane)].epoch == static_cast<std::uint64_t>(kWallNs))
          << "seed " << seed;
    }
    ASSERT_TRUE(writer.commit());
    for (SpoolLane lane : kLanes) {
      Story story = read_all(after.fd(), lane);
      ASSERT_EQ(story.holes, 0u) << "seed " << seed;
      ASSERT_GE(story.end, state.committed[at(lane)]) << "seed " << seed;
      std::uint64_t gone = 0;  // though committed: at most what was evicted before the cut
      for (const SpoolLost& lost : story.lost)
        for (std::uint64_t n = lost.first; n <= lost.last; ++n)
          gone += n > state.acknowledged[at(lane)] && n <= state.committed[at(lane)];
      ASSERT_LE(gone, state.lost[at(lane)]) << "seed " << seed << " lane " << at(lane);
      for (const auto& [sequence, text] : story.records) {
        ASSERT_TRUE(text.starts_with(body(lane, sequence))) << "seed " << seed;
        kept += sequence <= state.committed[at(lane)];
      }
      lost_uncommitted += story.end == state.committed[at(lane)];
    }
  }
  EXPECT_GT(lost_uncommitted, 100);
  printf("%d power cuts: %llu committed records read back, none lost\n", cuts,
         static_cast<unsigned long long>(kept));
}

// The same on a disk whose syncs do nothing: the test above has to be able to fail.
TEST_F(SpoolDisk, a_cut_on_a_disk_that_does_not_sync_is_seen) {
  int found_out = 0;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    Folder before, after;
    WriteCache disk(before.fd());
    disk.ignore_syncs();
    PowerCut state = use_until(before.fd(), random);
    disk.cut(after.path(), random);
    SpoolWriter writer = open_writer(after.fd(), small_limits(1024, 4));
    for (SpoolLane lane : kLanes)
      found_out += writer.last()[at(lane)].sequence < state.committed[at(lane)];
  }
  EXPECT_GT(found_out, 10);
}

TEST_F(SpoolDisk, after_a_failed_sync_the_file_is_left_alone_and_its_records_are_written_anew) {
  Folder folder;
  SpoolWriter writer = open_writer(folder.fd());
  writer.append(SpoolLane::alert, bytes_of(body(SpoolLane::alert, 1)));
  ASSERT_TRUE(writer.commit());
  writer.append(SpoolLane::alert, bytes_of(body(SpoolLane::alert, 2)));
  refuse_calls([](Call call) { return call == Call::sync ? EIO : 0; });
  Result<void> failed = writer.commit();
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().sentence.find("the spool can't be written"), std::string::npos);
  EXPECT_EQ(writer.committed()[0].sequence, 1u);
  EXPECT_EQ(read_all(folder.fd(), SpoolLane::alert).end, 1u);
  EXPECT_GT(writer.counters().failed_writes, 0u);
  refuse_calls(nullptr);
  writer.append(SpoolLane::alert, bytes_of(body(SpoolLane::alert, 3)));
  ASSERT_TRUE(writer.commit());  // says nothing of the pages that the kernel may have dropped
  EXPECT_EQ(folder.files(".seg").size(), 4u);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "alert-00000000000000000002.seg"));
  // The pages of the first file after its sync failed: gone, as after a power cut.
  std::filesystem::path first = folder.path() / "alert-00000000000000000001.seg";
  std::filesystem::resize_file(first, std::filesystem::file_size(first) - 3);
  Story story = read_all(folder.fd(), SpoolLane::alert);
  EXPECT_EQ(story.records.size(), 3u);
  EXPECT_TRUE(story.lost.empty());
}

TEST_F(SpoolDisk, any_refusal_at_any_time_loses_nothing_while_memory_lasts) {
  constexpr int kErrors[] = {ENOSPC, EIO, EROFS};
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    Folder folder;
    std::optional<SpoolWriter> writer(open_writer(folder.fd(), small_limits(1024, 64)));
    std::uint64_t appended = 0;
    for (int step = 0; step < 60; ++step) {
      for (unsigned n = random() % 5; n > 0; --n)
        writer->append(SpoolLane::alert,
                       bytes_of(body(SpoolLane::alert, ++appended, random() % 300)));
      int error = kErrors[random() % 3];
      unsigned often = random() % 6;
      refuse_calls([&](Call) { return random() % 6 < often ? error : 0; });
      (void)writer->commit();
      refuse_calls(nullptr);
      if (step % 4 != 0) continue;
      Story story = read_all(folder.fd(), SpoolLane::alert, 0, 500);
      ASSERT_EQ(story.holes, 0u) << "seed " << seed << " step " << step;
      ASSERT_EQ(story.lost_count(), 0u) << "seed " << seed << " step " << step;
      if (random() % 10 != 0) continue;
      ASSERT_TRUE(writer->commit()) << "seed " << seed;
      writer.reset();
      writer.emplace(open_writer(folder.fd(), small_limits(1024, 64)));
      ASSERT_EQ(writer->last()[0].sequence, appended) << "seed " << seed << " step " << step;
    }
    ASSERT_TRUE(writer->commit());
    Story story = read_all(folder.fd(), SpoolLane::alert);
    ASSERT_EQ(story.records.size(), appended) << "seed " << seed;
    for (const auto& [sequence, text] : story.records)
      ASSERT_TRUE(text.starts_with(body(SpoolLane::alert, sequence)));
  }
}

TEST_F(SpoolDisk, a_full_memory_drops_telemetry_then_audit_and_counts_each) {
  Folder folder;
  SpoolWriter writer = open_writer(folder.fd(), SpoolLimits{});
  ASSERT_TRUE(writer.commit());
  refuse_calls([](Call) { return EROFS; });
  constexpr std::size_t kSize = 64 << 10;
  std::string record(kSize, 'r');
  auto add = [&](SpoolLane lane, int count) {
    for (int n = 0; n < count; ++n) writer.append(lane, bytes_of(record));
    EXPECT_FALSE(writer.commit());
  };
  add(SpoolLane::telemetry, 60);
  add(SpoolLane::audit, 60);
  EXPECT_EQ(writer.counters().lost, (std::array<std::uint64_t, 3>{}));
  add(SpoolLane::alert, 60);
  EXPECT_EQ(writer.counters().lost[0], 0u);
  EXPECT_EQ(writer.counters().lost[1], 0u);
  EXPECT_GT(writer.counters().lost[2], 0u);
  add(SpoolLane::alert, 60);
  EXPECT_GT(writer.counters().lost[1], 0u);
  EXPECT_EQ(writer.counters().lost[0], 0u);
  add(SpoolLane::alert, 60);
  EXPECT_GT(writer.counters().lost[0], 0u);  // nothing else is left
  refuse_calls(nullptr);
  ASSERT_TRUE(writer.commit());
  for (SpoolLane lane : kLanes) {
    Story story = read_all(folder.fd(), lane, 0, 1000);
    EXPECT_EQ(story.holes, 0u);
    EXPECT_EQ(story.end, writer.last()[at(lane)].sequence);
    EXPECT_EQ(story.lost_count(), writer.counters().lost[at(lane)]);
    for (const SpoolLost& lost : story.lost) EXPECT_EQ(lost.why, SpoolLoss::not_written);
  }
}

// A day of a busy desk whose collector is away, 50 records a second, committed once a second. One
// second stands for sixty here, and the quotas are a 60th; WEIR_WHOLE_DAY=1 has each of them.
TEST(SpoolDay, a_day_without_a_collector_stays_within_the_quotas_and_loses_no_alert) {
  Folder folder;
  SpoolLimits limits;
  const int each = std::getenv("WEIR_WHOLE_DAY") != nullptr ? 1 : 60;
  for (std::uint64_t& quota : limits.quota) quota /= each;
  limits.segment_bytes /= each;
  SpoolWriter writer = open_writer(folder.fd(), limits);
  std::uint64_t most = 0, quota = limits.quota[0] + limits.quota[1] + limits.quota[2];
  const int seconds = 24 * 60 * 60 / each;
  for (int second = 0; second < seconds; ++second) {
    for (int n = 0; n < 47; ++n)
      writer.append(SpoolLane::telemetry, bytes_of(std::string(420, 't')));
    writer.append(SpoolLane::audit, bytes_of(std::string(120, 'u')));
    if (second % 4 == 0) writer.append(SpoolLane::alert, bytes_of(std::string(400, 'a')));
    ASSERT_TRUE(writer.commit());
    if (second % 60 != 0) continue;
    std::uint64_t bytes = 0;
    for (const auto& file : folder.files("")) bytes += std::filesystem::file_size(file);
    most = std::max(most, bytes);
  }
  printf("%d seconds: at most %llu bytes of %llu, %llu of telemetry lost, each told\n", seconds,
         static_cast<unsigned long long>(most), static_cast<unsigned long long>(quota),
         static_cast<unsigned long long>(writer.counters().lost[at(SpoolLane::telemetry)]));
  EXPECT_LE(most, quota);
  EXPECT_EQ(writer.counters().lost[at(SpoolLane::alert)], 0u);
  EXPECT_EQ(writer.counters().lost[at(SpoolLane::audit)], 0u);
  EXPECT_GT(writer.counters().lost[at(SpoolLane::telemetry)], 0u);
  for (SpoolLane lane : kLanes) {
    Story story = read_all(folder.fd(), lane, 0, 1000);
    EXPECT_EQ(story.holes, 0u);
    EXPECT_EQ(story.lost_count(), writer.counters().lost[at(lane)]);
    EXPECT_EQ(story.end, writer.last()[at(lane)].sequence);
  }
}

}  // namespace
}  // namespace weir
