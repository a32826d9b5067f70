// What was spent is on the disk before it is spent, and is there again when the tables are gone:
// after a reboot, after pins were released, after an upgrade to another layout.
#include "tests/kernel/kept.h"

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kNumber = 400'000;

weir_limit named(weir_limit row, std::uint64_t name) {
  row.name = name;
  return row;
}

class Kept : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    std::string name = (fs::temp_directory_path() / "weir-kept-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    file_ = folder_ / "accounts";
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  // Tables that begin empty: as after a reboot.
  void boot(const std::vector<weir_limit>& rows) {
    k->events.reset();
    k->part.reset();
    KernelOptions options;
    options.max_accounts = accounts_;
    k->load({}, options);
    loop_.emplace(file_);
    auto put = loop_->put_in_force(*k->part, rows);
    ASSERT_TRUE(put) << put.error().sentence;
  }
  // Of row 0, whose accounts have a number of their own.
  std::uint64_t charged() {
    auto rows = k->part->limits();
    return k->charged(account_number((*rows)[0], 0));
  }
  void flood() {
    k->desk.start(udp({"--shape", "forks", "--count", "2"}));
    k->desk.start(tcp({"--shape", "forks", "--count", "2"}));
  }

  fs::path folder_, file_;
  std::uint32_t accounts_ = 4096;
  std::optional<KeepingLoop> loop_;
};

TEST_F(Kept, nothing_leaves_that_the_disk_does_not_say) {
  boot({named(limit_row(kNumber, 0, WEIR_PER_HOST), 1)});
  flood();
  EXPECT_TRUE(await([&] { return k->count(WEIR_COUNT_EARLY) > 20; }, within(5000)));
  EXPECT_LE(k->desk.received(), std::uint64_t{WEIR_UNLISTED_OF_TOTAL})
      << "nobody has written anything: a hello's worth";
  EXPECT_TRUE(loop_->tend(*k->part, within(5000), [&] { return k->desk.received() > 100'000; }));
  // The guard is gone: what is written is what can still leave.
  k->desk.settled(milliseconds(400), within(3000));
  EXPECT_LE(k->desk.received(), loop_->written_of(1));
  EXPECT_LE(loop_->written_of(1), charged() + (64 << 10)) << "not far ahead of it";
  EXPECT_EQ(k->count(WEIR_COUNT_REFUSED_PACKETS), 0u) << "nobody was refused";
  const int writes = loop_->writes();
  EXPECT_TRUE(loop_->tend(*k->part, within(8000), [&] { return charged() > kNumber - 1028; }))
      << charged();
  k->desk.settled(milliseconds(300), within(2000));
  EXPECT_LE(k->desk.received(), kNumber);
  EXPECT_LE(loop_->writes(), 16 + writes) << "it is not written for every packet";
  k->desk.end_all();
}

TEST_F(Kept, a_total_is_one_over_many_boots) {
  const weir_limit row = named(limit_row(kNumber, 0, WEIR_PER_PERSON), 1);
  for (std::uint64_t reached : {50'000, 120'000, 200'000, 280'000}) {
    boot({row});
    flood();
    loop_->tend(*k->part, within(3000), [&] { return k->desk.received() >= reached; });
    k->desk.end_all();  // the power is cut, whatever was written last
    k->desk.settled(milliseconds(100), milliseconds(500));
  }
  boot({row});
  flood();
  loop_->tend(*k->part, within(4000), [&] { return charged() > kNumber; });
  k->desk.end_all();
  k->desk.settled(milliseconds(200), milliseconds(1000));
  fmt::print("5 boots, one total: received {} of {}\n", k->desk.received(), kNumber);
  EXPECT_LE(k->desk.received(), kNumber);
  EXPECT_GE(k->desk.received(), kNumber - 4 * (64 << 10) - 10'000)
      << "lost at most what was reserved";
}

TEST_F(Kept, a_total_that_nobody_used_for_a_minute_loses_nothing) {
  const weir_limit row = named(limit_row(kNumber, 0, WEIR_PER_PERSON), 1);
  boot({row});
  k->desk.start(tcp({"--shape", "stay", "--bytes", "100000"}));
  ASSERT_TRUE(loop_->tend(*k->part, within(4000), [&] { return k->desk.received() == 100'000; }));
  k->desk.end_all();
  auto rows = k->part->limits();
  AccountKeeping keeping;
  (void)keeping.plan(*rows, *k->part->accounts(), boot_now());
  auto later = keeping.plan(*rows, *k->part->accounts(), boot_now() + AccountKeeping::kIdleNs);
  ASSERT_EQ(later.now.size(), 1u);
  EXPECT_EQ(later.now[0].kept, 100'000u);
  EXPECT_GT(later.listed[0].bytes, 100'000u) << "what is taken back may be on its way still";
  k->part->keep(later.now);
  later = keeping.plan(*rows, *k->part->accounts(), boot_now() + AccountKeeping::kIdleNs);
  EXPECT_EQ(later.listed[0].bytes, 100'000u);
}

TEST_F(Kept, a_window_is_not_refilled_by_a_boot) {
  // 300,000 at once and as much over 4,000 s.
  const weir_limit row = named(limit_row(600'000, 4000 * kSecond, WEIR_PER_PERSON), 1);
  std::uint64_t most = 0;
  for (int n = 0; n < 4; n++) {
    boot({row});
    flood();
    loop_->tend(*k->part, within(2500), [&] { return k->desk.received() >= 100'000u * (n + 1); });
    k->desk.end_all();
    k->desk.settled(milliseconds(100), milliseconds(500));
    most = k->desk.received();
  }
  fmt::print("4 boots, one window: received {} of 300000 and what refilled\n", most);
  EXPECT_GT(most, 150'000u);
  EXPECT_LE(most, 300'000u + 20ull * 75 * static_cast<unsigned>(scale())) << "75 bytes a second";
}

// The wall clock of a machine that is ours alone, put right again at the end.
class WallClock {
 public:
  WallClock() { clock_gettime(CLOCK_REALTIME, &was_); }
  ~WallClock() { move_years(0); }
  bool move_years(int years) {
    timespec wanted{}, since = boot_;
    clock_gettime(CLOCK_BOOTTIME, &wanted);
    wanted.tv_sec = was_.tv_sec + (wanted.tv_sec - since.tv_sec) + years * 31'556'952L;
    return clock_settime(CLOCK_REALTIME, &wanted) == 0;
  }

 private:
  static timespec boot_time() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now;
  }
  timespec was_{}, boot_ = boot_time();
};

TEST_F(Kept, a_clock_that_is_set_refills_nothing) {
  if (std::getenv("WEIR_KERNEL_MUST_RUN") == nullptr)
    GTEST_SKIP() << "the clock of this machine is not a test's to set: kernel.qemu_6_1 does";
  const weir_limit row = named(limit_row(600'000, 4000 * kSecond, WEIR_PER_PERSON), 1);
  WallClock clock;
  std::uint64_t wanted = 0;
  for (const int years : {0, 10, -10, 10}) {  // from 2026 on: 2036, 2016, 2036
    boot({row});
    flood();
    loop_->tend(*k->part, within(1500), [&] { return k->desk.received() >= wanted + 60'000; });
    ASSERT_TRUE(clock.move_years(years));
    wanted += 80'000;
    loop_->tend(*k->part, within(1500), [&] { return k->desk.received() >= wanted; });
    k->desk.end_all();
    k->desk.settled(milliseconds(100), milliseconds(500));
  }
  boot({row});
  flood();
  loop_->tend(*k->part, within(3000), [] { return false; });
  fmt::print("a clock set by ten years: received {} of 300000 and what refilled\n",
             k->desk.received());
  EXPECT_GT(k->desk.received(), 150'000u);
  EXPECT_LE(k->desk.received(), 300'000u + 30ull * 75 * static_cast<unsigned>(scale()));
}

TEST_F(Kept, a_window_that_the_disk_does_not_list_has_an_eighth_at_once) {
  const weir_limit row = named(limit_row(800'000, 4000 * kSecond, WEIR_PER_PERSON), 1);
  boot({row});
  flood();
  k->desk.settled(milliseconds(400), within(3000));
  EXPECT_LE(k->desk.received(), 50'000u) << "nobody writes";
  EXPECT_GT(k->desk.received(), 40'000u);
  k->desk.end_all();
  { std::ofstream(file_, std::ios::binary) << text_of(write_kept_accounts({})); }
  boot({row});
  const std::uint64_t before = k->desk.received();
  flood();
  usleep(400'000);
  EXPECT_LE(k->desk.received(), before + 5'000) << "after another boot that part counts as spent";
  loop_->tend(*k->part, within(4000), [&] { return k->desk.received() >= 300'000; });
  k->desk.end_all();
  EXPECT_GE(k->desk.received(), 300'000u) << "and the rest is there once it is written";
  EXPECT_LE(k->desk.received(), 410'000u);
}

TEST_F(Kept, what_can_not_be_read_counts_as_spent) {
  std::vector<weir_limit> rows{named(limit_row(kNumber, 0, WEIR_PER_PERSON), 1)};
  k->load({});
  mark_kept_rows(rows);
  const KernelPast past{{}, true, true};
  weir_state state{};
  state.unclassified = 1;
  ASSERT_TRUE(k->part->replace({rows, {}, state, &past}));
  loop_.emplace(file_);
  flood();
  loop_->tend(*k->part, milliseconds(700), [] { return false; });
  EXPECT_EQ(k->desk.received(), 0u);
  k->desk.end_all();
}

TEST_F(Kept, accounts_of_before_that_find_no_room_count_against_the_others) {
  const weir_limit row = named(limit_row(kNumber, 0, WEIR_PER_PERSON), 1);
  std::vector<KeptAccount> before;
  for (std::uint64_t n = 0; n < 20; n++)
    before.push_back({1, WEIR_PER_PERSON, 0, 900'000 + n, 0, kNumber});
  { std::ofstream(file_, std::ios::binary) << text_of(write_kept_accounts(before)); }
  accounts_ = 8;
  boot({row});
  flood();
  loop_->tend(*k->part, milliseconds(700), [] { return false; });
  EXPECT_EQ(k->desk.received(), 0u);
  auto rows = k->part->limits();
  EXPECT_EQ(k->overflow(account_number((*rows)[0], 0), WEIR_PER_PERSON).word, 13 * kNumber)
      << "8 accounts in the table, one of them for all others";
  k->desk.end_all();
}

}  // namespace
}  // namespace weir::test
