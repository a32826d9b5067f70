// A collector that was put back from an older copy of its folder: desks have forgotten what it
// knows nothing of any more. That is told, and everything goes on.
#include "collector/store/evidence.h"
#include "tests/agent/uplink/programs/desk.h"

namespace weir {
namespace {

class Restored : public CollectorAndDesk {
 protected:
  void SetUp() override {
    limits.segment_bytes = 64u << 10;
    limits.quota.fill(5u << 20);
    CollectorAndDesk::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    desk->start();
  }
  void report(int count) {
    desk->report(SpoolLane::alert, count, 1'000);
    ASSERT_TRUE(soon([&] { return desk->all_acknowledged(); })) << content(desk->log());
    desk->writer->forget(desk->acknowledged());
  }
  fs::path copy() const { return base / "copy"; }
  void keep_a_copy() {
    collector->program.end(SIGTERM);
    fs::copy(collector->data, copy(), fs::copy_options::recursive);
    collector->start();
  }
  void put_it_back() {
    collector->program.end(SIGTERM);
    fs::remove_all(collector->data);
    fs::copy(copy(), collector->data, fs::copy_options::recursive);
    collector->start();
  }
  struct Gap {
    std::uint64_t first, last;
    int why;
  };
  std::vector<Gap> gaps() {
    std::vector<Gap> found;
    for (const auto& entry : fs::directory_iterator(collector->data / "days")) {
      if (entry.path().extension() != ".db") continue;
      auto db = Database::open(entry.path(), Database::Mode::write);
      Statement row(*db, "SELECT first, last, why FROM gaps ORDER BY first");
      while (row.next())
        found.push_back({row.bits(0), row.bits(1), static_cast<int>(row.integer(2))});
    }
    return found;
  }
};

TEST_F(Restored, what_desks_have_forgotten_is_a_gap_that_says_why_and_they_go_on) {
  report(100);
  keep_a_copy();
  report(300);
  put_it_back();
  desk->report(SpoolLane::alert, 50);
  ASSERT_TRUE(soon([&] { return desk->acknowledged(SpoolLane::alert) == 450; }))
      << content(desk->log());
  for (const Gap& gap : gaps()) fmt::print("gap {}-{} why {}\n", gap.first, gap.last, gap.why);
  fmt::print("stored {} records, log: {}\n", collector->stored(SpoolLane::alert).records,
             content(collector->log()));
  ASSERT_EQ(gaps().size(), 1u);
  EXPECT_EQ(gaps()[0].first, 101u);
  EXPECT_EQ(gaps()[0].why, v1::LostRange::collector_restored);
}

}  // namespace
}  // namespace weir
