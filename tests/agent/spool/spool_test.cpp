// The spool, by its behaviour: what is committed is read, in order, once, or told as lost.
#include "agent/spool/spool.h"

#include <sys/stat.h>

#include <random>

#include "agent/spool/format.h"
#include "core/base/sha256.h"
#include "tests/agent/spool/folder_fixture.h"

namespace weir {
namespace {

using namespace spool_test;

TEST(Spool, what_is_committed_is_read_in_order) {
  Folder folder;
  SpoolWriter writer = open_writer(folder.fd());
  for (std::uint64_t n = 1; n <= 20; ++n)
    EXPECT_EQ(writer.append(SpoolLane::alert, bytes_of(body(SpoolLane::alert, n))), n);
  ASSERT_TRUE(writer.commit());
  Story story = read_all(folder.fd(), SpoolLane::alert);
  EXPECT_EQ(story.end, 20u);
  EXPECT_EQ(story.holes, 0u);
  EXPECT_TRUE(story.lost.empty());
  for (std::uint64_t n = 1; n <= 20; ++n) EXPECT_EQ(story.records[n], body(SpoolLane::alert, n));
  EXPECT_EQ(read_all(folder.fd(), SpoolLane::audit).end, 0u);
}

TEST(Spool, what_is_not_committed_is_not_read) {
  Folder folder;
  SpoolWriter writer = open_writer(folder.fd());
  writer.append(SpoolLane::alert, bytes_of("one"));
  EXPECT_EQ(read_all(folder.fd(), SpoolLane::alert).end, 0u);
  ASSERT_TRUE(writer.commit(SpoolLane::alert));
  EXPECT_EQ(read_all(folder.fd(), SpoolLane::alert).end, 1u);
}

TEST(Spool, an_alert_is_committed_without_the_lanes_below_it) {
  Folder folder;
  SpoolWriter writer = open_writer(folder.fd());
  for (SpoolLane lane : kLanes) writer.append(lane, bytes_of("x"));
  ASSERT_TRUE(writer.commit());
  for (SpoolLane lane : kLanes) writer.append(lane, bytes_of("y"));
  ASSERT_TRUE(writer.commit(SpoolLane::alert));
  EXPECT_EQ(writer.committed()[at(SpoolLane::alert)].sequence, 2u);
  EXPECT_EQ(writer.committed()[at(SpoolLane::telemetry)].sequence, 1u);
}

TEST(Spool, each_record_names_the_hash_of_the_one_before_over_restarts_and_segments) {
  Folder folder;
  SpoolHash expected{};
  std::uint64_t sequence = 0;
  for (int run = 0; run < 3; ++run) {
    SpoolWriter writer = open_writer(folder.fd(), small_limits(1024, 64));
    for (int n = 0; n < 20; ++n)
      writer.append(SpoolLane::audit, bytes_of(body(SpoolLane::audit, n, 90)));
    ASSERT_TRUE(writer.commit());
    Result<SpoolReader> reader = SpoolReader::open(folder.fd());
    while (sequence < writer.last()[at(SpoolLane::audit)].sequence) {
      auto piece = reader->read(SpoolLane::audit, sequence, 1, 4096);
      ASSERT_TRUE(piece && piece->records.size() == 1);
      EXPECT_EQ(piece->records[0].previous_hash, expected);
      std::vector<std::uint8_t> chained(expected.begin(), expected.end());
      chained.insert(chained.end(), piece->records[0].bytes.begin(), piece->records[0].bytes.end());
      expected = sha256(chained);
      ++sequence;
    }
  }
  EXPECT_EQ(sequence, 60u);
}

TEST(Spool, a_second_writer_is_refused_with_a_sentence_until_the_first_is_gone) {
  Folder folder;
  {
    SpoolWriter first = open_writer(folder.fd());
    int other = ::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY);
    for (int fd : {folder.fd(), other}) {
      Result<SpoolWriter> second = SpoolWriter::open(fd, small_limits(), kWallNs);
      ASSERT_FALSE(second);
      EXPECT_NE(second.error().sentence.find("another engine writes this spool"),
                std::string::npos);
    }
    ::close(other);
  }
  EXPECT_TRUE(SpoolWriter::open(folder.fd(), small_limits(), kWallNs));
}

TEST(Spool, the_clock_names_a_new_epoch_and_changes_nothing_else) {
  Folder folder;
  std::int64_t clocks[] = {kWallNs, 0, -5, kWallNs * 4, 1};
  std::uint64_t n = 0;
  for (std::int64_t clock : clocks) {
    SpoolWriter writer = open_writer(folder.fd(), small_limits(), clock);
    EXPECT_EQ(writer.last()[0].epoch, static_cast<std::uint64_t>(kWallNs));
    EXPECT_EQ(writer.append(SpoolLane::alert, bytes_of("x")), ++n);
    ASSERT_TRUE(writer.commit());
  }
  EXPECT_EQ(read_all(folder.fd(), SpoolLane::alert).records.size(), 5u);
}

TEST(Spool, whole_segments_are_forgotten_and_the_place_is_kept) {
  Folder folder;
  SpoolPositions all;
  {
    SpoolWriter writer = open_writer(folder.fd(), small_limits(1024, 64));
    for (int n = 1; n <= 100; ++n)
      writer.append(SpoolLane::alert, bytes_of(body(SpoolLane::alert, 1, 100)));
    ASSERT_TRUE(writer.commit());
    std::size_t before = folder.files(".seg").size();
    EXPECT_GT(before, 10u);
    SpoolPositions some = writer.committed();
    some[0].sequence = 50;
    writer.forget(some);
    std::size_t after = folder.files(".seg").size();
    EXPECT_LT(after, before);
    EXPECT_EQ(read_all(folder.fd(), SpoolLane::alert, 50).records.size(), 50u);
    SpoolPositions other_epoch = writer.committed();
    for (SpoolPosition& position : other_epoch) position.epoch += 1;
    writer.forget(other_epoch);
    EXPECT_EQ(folder.files(".seg").size(), after);
    all = writer.committed();
    writer.forget(all);
    EXPECT_EQ(folder.files(".seg").size(), 3u);
    EXPECT_EQ(writer.counters().lost[0], 0u);
  }
  std::filesystem::remove(folder.path() / "committed");
  SpoolWriter writer = open_writer(folder.fd(), small_limits(1024, 64));
  EXPECT_EQ(writer.last(), all);
}

TEST(Spool, telemetry_goes_before_audit_and_audit_before_an_alert) {
  Folder folder;
  SpoolLimits limits = small_limits(1024, 4);
  SpoolWriter writer = open_writer(folder.fd(), limits);
  auto fill = [&](SpoolLane lane, int count) {
    for (int n = 0; n < count; ++n) writer.append(lane, bytes_of(body(lane, 1, 200)));
    (void)writer.commit();
  };
  fill(SpoolLane::telemetry, 20);
  EXPECT_GT(writer.counters().lost[at(SpoolLane::telemetry)], 0u);  // its own quota
  fill(SpoolLane::audit, 10);
  EXPECT_EQ(writer.counters().lost[at(SpoolLane::audit)], 0u);
  fill(SpoolLane::alert, 12);
  EXPECT_EQ(writer.counters().lost[at(SpoolLane::audit)], 0u);
  fill(SpoolLane::alert, 22);  // above its quota: telemetry has to go, then audit
  EXPECT_GT(writer.counters().lost[at(SpoolLane::audit)], 0u);
  EXPECT_EQ(writer.counters().lost[at(SpoolLane::alert)], 0u);
  EXPECT_EQ(writer.committed()[0].sequence, 34u);
  std::uint64_t bytes = 0;
  for (const auto& file : folder.files(".seg")) bytes += std::filesystem::file_size(file);
  EXPECT_LE(bytes, 3 * 4 * 1024u);
  for (SpoolLane lane : kLanes) {
    Story story = read_all(folder.fd(), lane);
    EXPECT_EQ(story.holes, 0u);
    EXPECT_EQ(story.lost_count(), writer.counters().lost[at(lane)]) << at(lane);
    EXPECT_EQ(story.end, writer.last()[at(lane)].sequence);
  }
}

TEST(Spool, lost_ranges_survive_a_restart) {
  Folder folder;
  std::uint64_t lost = 0;
  {
    SpoolWriter writer = open_writer(folder.fd(), small_limits(1024, 2));
    for (int n = 0; n < 40; ++n)
      writer.append(SpoolLane::telemetry, bytes_of(body(SpoolLane::telemetry, 1, 200)));
    ASSERT_TRUE(writer.commit());
    lost = writer.counters().lost[at(SpoolLane::telemetry)];
    ASSERT_GT(lost, 0u);
  }
  SpoolWriter writer = open_writer(folder.fd(), small_limits(1024, 2));
  Story story = read_all(folder.fd(), SpoolLane::telemetry);
  ASSERT_EQ(story.lost.size(), 1u);
  EXPECT_EQ(story.lost[0].why, SpoolLoss::evicted);
  EXPECT_EQ(story.lost_count(), lost);
  EXPECT_EQ(story.records.size(), 40 - lost);
}

TEST(Spool, limits_that_no_folder_can_hold_are_refused) {
  Folder folder;
  EXPECT_FALSE(SpoolWriter::open(folder.fd(), small_limits(4096, 1), kWallNs));
  EXPECT_FALSE(SpoolWriter::open(folder.fd(), small_limits(4096, 90), kWallNs));
  EXPECT_FALSE(SpoolWriter::open(folder.fd(), small_limits(0, 4), kWallNs));
  EXPECT_TRUE(SpoolWriter::open(folder.fd(), SpoolLimits{}, kWallNs));
}

TEST(Spool, the_acknowledged_file_is_believed_only_with_its_checksum) {
  Folder folder;
  int fd = ::openat(folder.fd(), "acknowledged", O_RDWR | O_CREAT, 0600);
  EXPECT_EQ(*read_acknowledged(fd), SpoolPositions{});
  SpoolPositions positions{{{7, 8}, {7, 0}, {7, 99}}};
  ASSERT_TRUE(write_acknowledged(fd, positions));
  EXPECT_EQ(*read_acknowledged(fd), positions);
  for (off_t byte = 0; byte < 64; ++byte) {
    char was = 0, now = 0;
    ASSERT_EQ(::pread(fd, &was, 1, byte), 1);
    now = static_cast<char>(was ^ 1);
    ASSERT_EQ(::pwrite(fd, &now, 1, byte), 1);
    EXPECT_EQ(*read_acknowledged(fd), SpoolPositions{}) << byte;
    ASSERT_EQ(::pwrite(fd, &was, 1, byte), 1);
  }
  ASSERT_EQ(::ftruncate(fd, 63), 0);
  EXPECT_EQ(*read_acknowledged(fd), SpoolPositions{});
  ASSERT_EQ(::ftruncate(fd, 65), 0);
  EXPECT_EQ(*read_acknowledged(fd), SpoolPositions{});
  ::close(fd);
}

// Random calls against a model that knows what was appended and committed.
void any_order_of_calls(unsigned seed) {
  std::mt19937 random(seed);
  auto pick = [&](unsigned below) { return random() % below; };
  SpoolLimits limits = small_limits(512 + pick(2048), 2 + pick(4));
  Folder folder;
  std::optional<SpoolWriter> writer(open_writer(folder.fd(), limits));
  std::array<std::vector<std::string>, kSpoolLanes> appended;
  std::array<std::uint64_t, kSpoolLanes> committed{}, acknowledged{};
  for (int step = 0; step < 300; ++step) {
    SpoolLane lane = kLanes[pick(3)];
    switch (pick(12)) {
      case 0:
        if (writer->commit())
          committed = {appended[0].size(), appended[1].size(), appended[2].size()};
        break;
      case 1:
        if (writer->commit(SpoolLane::alert)) committed[0] = appended[0].size();
        break;
      case 2: {
        SpoolPositions positions = writer->committed();
        positions[at(lane)].sequence -=
            std::min<std::uint64_t>(positions[at(lane)].sequence, pick(5));
        acknowledged[at(lane)] = std::max(acknowledged[at(lane)], positions[at(lane)].sequence);
        for (SpoolLane other : kLanes)
          if (other != lane) positions[at(other)].sequence = acknowledged[at(other)];
        writer->forget(positions);
        break;
      }
      case 3: {
        writer.reset();
        writer.emplace(open_writer(folder.fd(), limits, static_cast<std::int64_t>(random())));
        for (std::size_t n = 0; n < kSpoolLanes; ++n) {
          std::uint64_t last = writer->last()[n].sequence;
          ASSERT_GE(last, committed[n]) << "seed " << seed << " step " << step;
          ASSERT_LE(last, appended[n].size());
          appended[n].resize(last);
          committed[n] = last;
        }
        break;
      }
      default: {
        std::string record =
            body(lane, appended[at(lane)].size() + 1, pick(10) == 0 ? pick(3000) : pick(200));
        appended[at(lane)].push_back(record);
        ASSERT_EQ(writer->append(lane, bytes_of(record)), appended[at(lane)].size());
      }
    }
    if (step % 10 != 0) continue;
    for (SpoolLane one : kLanes) {
      Story story = read_all(folder.fd(), one, acknowledged[at(one)], 1 + pick(9));
      ASSERT_EQ(story.holes, 0u) << "seed " << seed << " step " << step << " lane " << at(one);
      ASSERT_EQ(story.end, std::max(writer->committed()[at(one)].sequence, acknowledged[at(one)]))
          << "seed " << seed << " step " << step << " lane " << at(one);
      ASSERT_GE(story.end, committed[at(one)]);
      for (const auto& [sequence, text] : story.records)
        ASSERT_EQ(text, appended[at(one)][sequence - 1]) << "seed " << seed;
    }
  }
}

TEST(Spool, any_order_of_calls_reads_as_the_model_says) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    any_order_of_calls(seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace weir
