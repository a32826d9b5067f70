// Days that are old enough go whole; what is stored stays known, and a kill in the middle leaves
// nothing half.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <set>
#include <thread>

#include "tests/collector/store/store_fixture.h"

namespace weir {
namespace {

constexpr LaneKey kAlerts{7, StoreLane::alert};
constexpr std::int64_t kFirstDay = 20'000;

class RetentionTest : public StoreTest {
 protected:
  void day(std::int64_t number) { now_ns = (kFirstDay + number) * kDayNs + 1; }
  // One record each day.
  void live_through(std::int64_t from, std::int64_t until) {
    for (std::int64_t n = from; n <= until; ++n) {
      day(n);
      ASSERT_EQ(put(batch_of(kAlerts, 1, static_cast<std::uint64_t>(n) + 1, 1)).outcome,
                AppendOutcome::stored);
    }
  }
  // Of the folder, with what SQLite keeps beside them; "-wal" and "-shm" left out.
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path() + "/days"))
      names.insert(entry.path().filename().string().substr(0, 13));
    return names;
  }
  bool is_said(const std::string& part) {
    std::lock_guard lock(mutex);
    return std::ranges::any_of(sentences, [&](const std::string& sentence) {
      return sentence.find(part) != std::string::npos;
    });
  }
};

TEST_F(RetentionTest, a_day_goes_when_it_is_so_many_days_old_and_what_is_stored_stays_known) {
  keep_days = 3;
  open();
  live_through(0, 6);
  EXPECT_EQ(files(), (std::set<std::string>{"2024-10-07.db", "2024-10-08.db", "2024-10-09.db",
                                            "2024-10-10.db"}))
      << "the present day, and three before it";
  EXPECT_EQ(rows(kAlerts, 1), "4:0 5:0 6:0 7:0");
  EXPECT_EQ(fleet->forgotten_before(), kFirstDay + 3);
  open();
  EXPECT_EQ(records->positions(7).at(0).sequence, 7u);
  EXPECT_EQ(put(batch_of(kAlerts, 1, 1, 7)).sequence, 7u) << "is known, not stored again";
  EXPECT_EQ(rows(kAlerts, 1), "4:0 5:0 6:0 7:0");
}

TEST_F(RetentionTest, without_a_number_all_days_stay) {
  open();
  live_through(0, 20);
  EXPECT_EQ(files().size(), 21u);
  EXPECT_EQ(fleet->forgotten_before(), 0);
}

TEST_F(RetentionTest, a_clock_that_leaps_removes_nothing_on_that_day) {
  keep_days = 3;
  open();
  live_through(0, 3);
  day(4'000);
  ASSERT_EQ(put(batch_of(kAlerts, 1, 5, 1)).sequence, 5u);
  EXPECT_EQ(files().size(), 5u);
  EXPECT_TRUE(is_said("the last records are 3997 days old: nothing is removed before tomorrow"));
  day(4'001);
  ASSERT_EQ(put(batch_of(kAlerts, 1, 6, 1)).sequence, 6u);
  EXPECT_EQ(files().size(), 2u) << "nobody has said that it is wrong";
}

TEST_F(RetentionTest, a_leap_that_is_shorter_than_what_is_kept_is_one_too) {
  keep_days = 20;
  open();
  live_through(0, 15);
  day(30);
  ASSERT_EQ(put(batch_of(kAlerts, 1, 17, 1)).sequence, 17u);
  EXPECT_EQ(files().size(), 17u);
  EXPECT_TRUE(is_said("the last records are 15 days old: nothing is removed before tomorrow"));
}

TEST_F(RetentionTest, a_collector_that_was_off_for_long_keeps_the_day_that_says_what_is_stored) {
  keep_days = 3;
  open();
  live_through(0, 2);
  day(50);
  open();
  EXPECT_EQ(put(batch_of(kAlerts, 1, 3, 1)).sequence, 3u);
  EXPECT_EQ(put(batch_of(kAlerts, 1, 4, 1)).sequence, 4u);
  day(51);
  EXPECT_EQ(put(batch_of(kAlerts, 1, 5, 1)).sequence, 5u);
  EXPECT_EQ(files().size(), 2u);
  EXPECT_EQ(records->positions(7).at(0).sequence, 5u);
}

TEST_F(RetentionTest, what_a_kill_left_behind_goes_at_the_next_start_and_nothing_else) {
  open();
  live_through(0, 5);
  ASSERT_TRUE(fleet->forget_days(kFirstDay + 3));  // and no file was removed
  ASSERT_EQ(files().size(), 6u);
  const std::string notes = folder.path() + "/days/notes.txt";
  std::fclose(std::fopen(notes.c_str(), "w"));
  open();
  live_through(6, 6);
  EXPECT_EQ(files(), (std::set<std::string>{"2024-10-07.db", "2024-10-08.db", "2024-10-09.db",
                                            "2024-10-10.db", "notes.txt"}));
  EXPECT_EQ(rows(kAlerts, 1), "4:0 5:0 6:0 7:0");
}

TEST_F(RetentionTest, a_reader_passes_over_a_day_that_was_removed_while_it_looked) {
  open();
  live_through(0, 3);
  ASSERT_TRUE(reader->list({}, {INT64_MAX, INT64_MAX}, 10)) << "has all days open";
  ASSERT_TRUE(fleet->forget_days(kFirstDay + 2));
  reader->forget(kFirstDay + 2);
  ASSERT_TRUE(remove_days(folder.path(), kFirstDay + 2));
  EXPECT_TRUE(reader->list({}, {INT64_MAX, INT64_MAX}, 10));
  EXPECT_TRUE(reader->newest("r1"));
  EXPECT_TRUE(reader->last());
}

// Each batch is a new day: one goes for each that comes.
[[noreturn]] void live_until_killed(const std::string& folder, int pipe) {
  auto fleet = FleetStore::open(folder);
  if (!fleet) ::_exit(2);
  std::atomic<std::int64_t> day = (*fleet)->days().empty() ? kFirstDay : (*fleet)->days().back();
  auto store = RecordStore::open(**fleet, {.folder = folder,
                                           .wall_ns = [&] { return day * kDayNs; },
                                           .say = [](const std::string&) {},
                                           .keep_days = 2});
  if (!store) ::_exit(3);
  std::vector<Appended> at = (*store)->positions(kAlerts.host);
  for (std::uint64_t next = at.empty() ? 1 : at[0].sequence + 1;; ++next) {
    ++day;
    std::promise<void> done;
    Append append = batch_of(kAlerts, 1, next, 1);
    append.done = [&](const Appended&) { done.set_value(); };
    if (!(*store)->append(append)) ::_exit(4);
    done.get_future().get();
    if (::write(pipe, &next, sizeof next) != sizeof next) ::_exit(5);
  }
}

TEST_F(RetentionTest, kills_while_days_go_lose_nothing_that_is_kept_and_leave_no_file) {
  std::mt19937 random(1);
  std::uint64_t acknowledged = 0;
  for (int kill = 0; kill < 30; ++kill) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      live_until_killed(folder.path(), ends[1]);
    }
    ::close(ends[1]);
    (void)!::read(ends[0], &acknowledged, sizeof acknowledged);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 150'000));
    ::kill(child, SIGKILL);
    while (::read(ends[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged) {
    }
    ::close(ends[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << WEXITSTATUS(status);
  }
  {
    auto at = FleetStore::open(folder.path());
    now_ns = ((*at)->days().back() + 1) * kDayNs;  // its file may have been made already
  }
  keep_days = 2;
  open();
  const std::uint64_t stored = records->positions(7).at(0).sequence;
  EXPECT_GE(stored, acknowledged);
  EXPECT_GE(stored, 30u);
  EXPECT_EQ(put(batch_of(kAlerts, 1, stored + 1, 1)).sequence, stored + 1);
  EXPECT_EQ(files().size(), fleet->days().size()) << "each is entered, none is left behind";
  EXPECT_LE(files().size(), 3u);
  fmt::print("{} days lived through, {} kept\n", stored, files().size());
}

}  // namespace
}  // namespace weir
