// Damaged spools: never a crash, never a bad record, and no more is lost than the segment held.
#include <sys/wait.h>

#include <fstream>
#include <random>

#include "agent/spool/format.h"
#include "tests/agent/spool/folder_fixture.h"

namespace weir {
namespace {

using namespace spool_test;
namespace fs = std::filesystem;

using Content = std::vector<char>;

Content read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const fs::path& path, const Content& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
}

// Alerts 1 … 30 in segments of about five.
constexpr std::uint64_t kRecords = 30;
constexpr std::uint64_t kSegment = 1024;

SpoolLimits limits() {
  return small_limits(kSegment, 64);
}

class DamagedSpool : public testing::Test {
 protected:
  void SetUp() override {
    SpoolWriter writer = open_writer(whole_.fd(), limits());
    for (std::uint64_t n = 1; n <= kRecords; ++n)
      writer.append(SpoolLane::alert, bytes_of(body(SpoolLane::alert, n, 120)));
    ASSERT_TRUE(writer.commit());
    for (const fs::path& path : whole_.files(".seg"))
      if (path.filename().string().starts_with("alert")) {
        names_.push_back(path.filename());
        firsts_.push_back(spool::parse_name(path.filename().string())->first);
      }
    ASSERT_GE(names_.size(), 5u);
    firsts_.push_back(kRecords + 1);
  }
  std::uint64_t held(std::size_t segment) const { return firsts_[segment + 1] - firsts_[segment]; }

  // What a reader is told before and after a writer has repaired; `most` may be missing.
  void expect_survives(const Folder& damaged, std::uint64_t most, const std::string& what) {
    Story before = read_all(damaged.fd(), SpoolLane::alert);
    check(before, most, what + ", before the repair");
    std::uint64_t told = 0;
    {
      SpoolWriter writer = open_writer(damaged.fd(), limits());
      told = writer.counters().lost[0];
      std::uint64_t next = writer.append(SpoolLane::alert, bytes_of("later"));
      ASSERT_EQ(next, kRecords + 1) << what;
      ASSERT_TRUE(writer.commit()) << what;
    }
    Story after = read_all(damaged.fd(), SpoolLane::alert);
    ASSERT_EQ(after.records[kRecords + 1], "later") << what;
    after.records.erase(kRecords + 1);
    --after.end;
    check(after, most, what + ", after it");
    ASSERT_EQ(after.lost_count(), told) << what;
    SpoolWriter again = open_writer(damaged.fd(), limits());
    ASSERT_EQ(again.counters().lost[0], 0u) << what << ": told again by the next writer";
    Story last = read_all(damaged.fd(), SpoolLane::alert);
    ASSERT_EQ(last.lost_count(), told) << what;
  }

  void check(const Story& story, std::uint64_t most, const std::string& what) {
    ASSERT_EQ(story.holes, 0u) << what;
    ASSERT_EQ(story.end, kRecords) << what;
    for (const auto& [sequence, text] : story.records)
      ASSERT_EQ(text, body(SpoolLane::alert, sequence, 120)) << what;
    ASSERT_LE(story.lost_count(), most) << what;
    ASSERT_EQ(story.records.size() + story.lost_count(), kRecords) << what;
    for (const SpoolLost& lost : story.lost) ASSERT_EQ(lost.why, SpoolLoss::damaged) << what;
  }

  Folder whole_;
  std::vector<fs::path> names_;
  std::vector<std::uint64_t> firsts_;
};

TEST_F(DamagedSpool, a_flipped_bit_costs_at_most_its_segment) {
  std::mt19937 random(7);
  std::uint64_t flips = 0, lossless = 0;
  for (std::size_t segment : {std::size_t{0}, std::size_t{2}, names_.size() - 1}) {
    std::size_t size = read_file(whole_.path() / names_[segment]).size();
    for (std::size_t byte = 0; byte < size; byte += 1 + random() % 3, ++flips) {
      Folder damaged(whole_);
      Content content = read_file(damaged.path() / names_[segment]);
      content[byte] = static_cast<char>(content[byte] ^ 1 << random() % 8);
      write_file(damaged.path() / names_[segment], content);
      expect_survives(damaged, held(segment),
                      "byte " + std::to_string(byte) + " of segment " + std::to_string(segment));
      if (HasFatalFailure()) return;
      lossless += read_all(damaged.fd(), SpoolLane::alert).lost.empty();
    }
  }
  EXPECT_GT(flips, 1000u);
  EXPECT_EQ(lossless, 0u);  // each bit stands for something: none passes unnoticed
}

TEST_F(DamagedSpool, a_segment_cut_off_anywhere_costs_at_most_what_it_held) {
  for (std::size_t segment : {std::size_t{0}, std::size_t{2}, names_.size() - 1}) {
    std::size_t size = read_file(whole_.path() / names_[segment]).size();
    for (std::size_t length = 0; length < size; ++length) {
      Folder damaged(whole_);
      fs::resize_file(damaged.path() / names_[segment], length);
      Story story = read_all(damaged.fd(), SpoolLane::alert);
      ASSERT_EQ(story.holes, 0u) << length;
      ASSERT_LE(story.lost_count(), held(segment));
      SpoolWriter writer = open_writer(damaged.fd(), limits());
      ASSERT_EQ(writer.last()[0].sequence, kRecords) << length;
      ASSERT_TRUE(writer.commit());
      story = read_all(damaged.fd(), SpoolLane::alert);
      ASSERT_EQ(story.holes, 0u) << length;
      ASSERT_EQ(story.end, kRecords) << length << " of segment " << segment;
      ASSERT_LE(story.lost_count(), held(segment)) << length;
      ASSERT_EQ(story.records.size() + story.lost_count(), kRecords) << length;
      for (const auto& [sequence, text] : story.records)
        ASSERT_EQ(text, body(SpoolLane::alert, sequence, 120));
    }
  }
}

TEST_F(DamagedSpool, zeroed_parts_cost_at_most_their_segment) {
  for (std::size_t segment = 0; segment < names_.size(); ++segment)
    for (std::size_t from = 0; from < kSegment; from += 128) {
      Folder damaged(whole_);
      Content content = read_file(damaged.path() / names_[segment]);
      if (from >= content.size()) break;
      std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(from),
                  std::min<std::size_t>(512, content.size() - from), 0);
      write_file(damaged.path() / names_[segment], content);
      expect_survives(
          damaged, held(segment),
          "zeros from " + std::to_string(from) + " of segment " + std::to_string(segment));
      if (HasFatalFailure()) return;
    }
}

TEST_F(DamagedSpool, swapped_segments_cost_nothing) {
  for (std::size_t a = 0; a < names_.size(); ++a)
    for (std::size_t b = a + 1; b < names_.size(); ++b) {
      Folder damaged(whole_);
      Content one = read_file(damaged.path() / names_[a]),
              other = read_file(damaged.path() / names_[b]);
      write_file(damaged.path() / names_[a], other);
      write_file(damaged.path() / names_[b], one);
      expect_survives(damaged, 0, "segments " + std::to_string(a) + " and " + std::to_string(b));
      if (HasFatalFailure()) return;
    }
}

TEST_F(DamagedSpool, a_segment_overwritten_with_another_costs_itself) {
  for (std::size_t a = 0; a < names_.size(); ++a)
    for (std::size_t b = 0; b < names_.size(); ++b) {
      if (a == b) continue;
      Folder damaged(whole_);
      write_file(damaged.path() / names_[b], read_file(damaged.path() / names_[a]));
      Story before = read_all(damaged.fd(), SpoolLane::alert);
      EXPECT_EQ(before.holes, 0u);
      SpoolWriter writer = open_writer(damaged.fd(), limits());
      ASSERT_EQ(writer.last()[0].sequence, kRecords);
      ASSERT_TRUE(writer.commit());
      Story story = read_all(damaged.fd(), SpoolLane::alert);
      EXPECT_EQ(story.holes, 0u);
      EXPECT_EQ(story.end, kRecords);
      EXPECT_EQ(story.lost_count(), held(b)) << a << " over " << b;
      for (const auto& [sequence, text] : story.records)
        EXPECT_EQ(text, body(SpoolLane::alert, sequence, 120));
    }
}

TEST_F(DamagedSpool, a_segment_of_another_lane_or_epoch_is_none) {
  Folder damaged(whole_);
  Content audit_header = read_file(damaged.files("00001.seg").at(1));
  write_file(damaged.path() / names_[1], audit_header);
  expect_survives(damaged, held(1), "an audit segment among alerts");
  Folder other;
  {
    SpoolWriter writer = open_writer(other.fd(), limits(), kWallNs - 1000);
    for (std::uint64_t n = 1; n <= kRecords; ++n)
      writer.append(SpoolLane::alert, bytes_of("other epoch" + std::string(109, 'x')));
    ASSERT_TRUE(writer.commit());
  }
  Folder mixed(whole_);
  write_file(mixed.path() / names_[1], read_file(other.files("00001.seg").at(0)));
  expect_survives(mixed, held(1), "a segment of another epoch");
}

TEST_F(DamagedSpool, a_damaged_word_of_what_is_committed_costs_nothing) {
  for (std::size_t byte = 0; byte < spool::kPositionsBytes; ++byte) {
    Folder damaged(whole_);
    Content content = read_file(damaged.path() / "committed");
    content[byte] = static_cast<char>(content[byte] ^ 0x10);
    write_file(damaged.path() / "committed", content);
    ASSERT_EQ(read_all(damaged.fd(), SpoolLane::alert).end, 0u);  // until a writer says it again
    SpoolWriter writer = open_writer(damaged.fd(), limits());
    Story story = read_all(damaged.fd(), SpoolLane::alert);
    ASSERT_EQ(story.records.size(), kRecords);
    ASSERT_EQ(writer.last()[0].epoch, static_cast<std::uint64_t>(kWallNs));
  }
}

TEST_F(DamagedSpool, a_spool_of_which_nothing_holds_begins_a_new_epoch) {
  Folder damaged(whole_);
  for (const fs::path& path : damaged.files("")) write_file(path, Content(3000, 'z'));
  SpoolWriter writer = open_writer(damaged.fd(), limits(), kWallNs + 5);
  EXPECT_EQ(writer.last()[0].epoch, static_cast<std::uint64_t>(kWallNs + 5));
  writer.append(SpoolLane::alert, bytes_of("first of a new epoch"));
  ASSERT_TRUE(writer.commit());
  Story story = read_all(damaged.fd(), SpoolLane::alert);
  EXPECT_EQ(story.holes, 0u);
  ASSERT_EQ(story.records.size(), 1u);
  EXPECT_EQ(story.records.begin()->second, "first of a new epoch");
}

// kill -9 at random moments; the child says after each commit how far it came.
TEST(SpoolCrash, fifty_killed_writers_lose_nothing_committed_and_leave_no_hole) {
  Folder folder;
  std::mt19937 random(11);
  std::uint64_t said = 0, records = 0;
  for (int round = 0; round < 50; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    pid_t child = ::fork();
    if (child == 0) {
      SpoolWriter writer = open_writer(folder.fd(), small_limits(256 << 10, 80));
      for (;;) {
        for (int n = 0; n < 1 + round % 7; ++n) {
          std::uint64_t next = writer.last()[0].sequence + 1;
          writer.append(SpoolLane::alert, bytes_of(body(SpoolLane::alert, next, 40 + next % 500)));
        }
        if (!writer.commit(SpoolLane::alert)) ::_exit(1);
        ::usleep(50);  // fifty rounds have to fit into the spool, also in memory
        std::uint64_t committed = writer.committed()[0].sequence;
        (void)!::write(ends[1], &committed, sizeof committed);
      }
    }
    ::close(ends[1]);
    std::uint64_t committed = 0;
    ASSERT_EQ(::read(ends[0], &committed, sizeof committed), ssize_t{sizeof committed});
    ::usleep(random() % 20'000);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    std::uint64_t newest = committed;
    while (::read(ends[0], &committed, sizeof committed) == sizeof committed) newest = committed;
    ::close(ends[0]);
    ASSERT_GT(newest, said);
    said = newest;
    SpoolWriter writer = open_writer(folder.fd(), small_limits(256 << 10, 80));
    ASSERT_GE(writer.last()[0].sequence, said) << "a committed record is gone, round " << round;
    ASSERT_EQ(writer.counters().lost[0], 0u);
  }
  Story story = read_all(folder.fd(), SpoolLane::alert, 0, 1000);
  for (const auto& [sequence, text] : story.records) {
    ASSERT_EQ(text, body(SpoolLane::alert, sequence, 40 + sequence % 500));
    ++records;
  }
  EXPECT_EQ(story.holes, 0u);
  EXPECT_TRUE(story.lost.empty());
  EXPECT_GE(story.end, said);
  printf("50 kills: %llu records said to be committed, %llu read back, none lost, none twice\n",
         static_cast<unsigned long long>(said), static_cast<unsigned long long>(records));
}

}  // namespace
}  // namespace weir
