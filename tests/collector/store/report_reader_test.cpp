// Reports are found by their newest revision, over days, page by page.
#include "tests/collector/store/store_fixture.h"

namespace weir {
namespace {

class ReportReaderTest : public StoreTest {
 protected:
  void SetUp() override { open(); }
  void report(std::uint32_t host, const std::string& id, std::uint32_t revision, int severity = 3,
              std::string detector = "cloud_upload") {
    Append append = batch_of({host, StoreLane::alert}, 1, ++sequence[host], 1);
    const std::int64_t first_event_ns = first_events.try_emplace({host, id}, now_ns).first->second;
    append.records[0].ciphertext = fmt::format("{} r{}", id, revision);
    append.records[0].report = ReportColumns{.id = id,
                                             .revision = revision,
                                             .time_ns = first_event_ns,
                                             .severity = severity,
                                             .detector = std::move(detector)};
    put(std::move(append));
  }
  std::string list(const ReportQuery& query, std::uint32_t page = 100) {
    std::string text;
    RecordPosition before{INT64_MAX, INT64_MAX};
    while (true) {
      auto found = reader->list(query, before, page);
      EXPECT_TRUE(found) << found.error().sentence;
      for (const StoredReport& r : *found) text += (text.empty() ? "" : ", ") + r.ciphertext;
      if (found->size() < page) return text;
      before = found->back().at;
    }
  }
  std::map<std::uint32_t, std::uint64_t> sequence;
  // A report's time is that of its first event, in every revision.
  std::map<std::pair<std::uint32_t, std::string>, std::int64_t> first_events;
};

TEST_F(ReportReaderTest, the_newest_revision_of_an_id_replaces_the_others) {
  report(1, "a", 1);
  report(1, "b", 1);
  report(1, "a", 2);
  EXPECT_EQ(list({}), "a r2, b r1");
  now_ns += kDayNs;
  report(1, "b", 2);
  EXPECT_EQ(list({}), "b r2, a r2") << "also when it came on a later day";
  EXPECT_EQ((*reader->newest("b"))->ciphertext, "b r2");
  EXPECT_FALSE(reader->newest("c")->has_value());
}

TEST_F(ReportReaderTest, pages_follow_each_other_without_overlap_whatever_their_size) {
  for (int n = 0; n < 7; ++n) {
    report(1, std::to_string(n), 1);
    if (n == 3) now_ns += kDayNs;
  }
  report(1, "0", 2);
  for (std::uint32_t page : {1u, 2u, 3u, 100u})
    EXPECT_EQ(list({}, page), "0 r2, 6 r1, 5 r1, 4 r1, 3 r1, 2 r1, 1 r1") << page;
}

TEST_F(ReportReaderTest, a_filter_narrows) {
  report(1, "a", 1, 2);
  report(2, "b", 1, 4);
  report(2, "c", 1, 4, "dns_tunnel");
  EXPECT_EQ(list({.host = 2}), "c r1, b r1");
  EXPECT_EQ(list({.least_severity = 3, .detector = "cloud_upload"}), "b r1");
  EXPECT_EQ(list({.from_ns = now_ns + 1}), "");
  EXPECT_EQ(list({.person = "nobody"}), "");
}

TEST_F(ReportReaderTest, a_host_can_not_hide_a_report_of_another_behind_its_id) {
  report(1, "a", 1);
  report(2, "a", 9);
  EXPECT_EQ(list({.host = 1}), "a r1");
  EXPECT_EQ((*reader->newest("a"))->host, 1u);
}

TEST_F(ReportReaderTest, reports_of_the_same_second_are_told_apart) {
  for (int n = 0; n < 50; ++n) report(1, fmt::format("{:02}", n), 1);
  report(1, "07", 2);
  auto found = reader->list({}, {INT64_MAX, INT64_MAX}, 100);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size(), 50u);
  EXPECT_EQ(found->front().ciphertext, "07 r2");
  EXPECT_EQ((*reader->newest("08"))->ciphertext, "08 r1");
}

TEST_F(ReportReaderTest, a_day_that_is_over_gets_an_index_by_id_and_the_day_itself_none) {
  auto indexes = [this](std::int64_t day) {
    auto db = Database::open(day_path(folder.path(), day), Database::Mode::write);
    Statement row(*db, "SELECT count(*) FROM sqlite_schema WHERE name = 'reports_id'");
    return row.next() ? row.integer(0) : -1;
  };
  report(1, "a", 1);
  const std::int64_t first = fleet->days().back();
  EXPECT_EQ((*reader->newest("a"))->ciphertext, "a r1");
  EXPECT_EQ(indexes(first), 0) << "it is written into";
  now_ns += kDayNs;
  report(1, "b", 1);
  EXPECT_EQ((*reader->newest("a"))->ciphertext, "a r1");
  EXPECT_EQ((*reader->newest("b"))->ciphertext, "b r1");
  EXPECT_EQ(indexes(first), 1);
  EXPECT_EQ(indexes(fleet->days().back()), 0);
}

TEST_F(ReportReaderTest, a_watch_sees_every_revision_once_in_order) {
  report(1, "a", 1);
  auto start = reader->last();
  ASSERT_TRUE(start);
  report(1, "a", 2);
  now_ns += kDayNs;
  report(2, "b", 1);
  auto first = reader->after({}, *start, 1);
  ASSERT_TRUE(first && first->size() == 1);
  EXPECT_EQ((*first)[0].ciphertext, "a r2");
  auto rest = reader->after({}, (*first)[0].at, 10);
  ASSERT_TRUE(rest && rest->size() == 1);
  EXPECT_EQ((*rest)[0].ciphertext, "b r1");
  EXPECT_TRUE(reader->after({}, *reader->last(), 10)->empty());
}

}  // namespace
}  // namespace weir
