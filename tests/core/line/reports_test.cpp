// The report book: one report per group and window, few revisions, final bytes, nothing lost.
#include "core/line/reports.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

Stamp at(std::int64_t seconds) {
  return {1'700'000'000 * kSecond + seconds * kSecond, seconds * kSecond};
}

struct Book {
  std::vector<Report> sent;
  Reports reports{[this](const Report& report) { sent.push_back(report); }};
};

Told told(std::string subject = "cloud_upload", std::string about = "dropbox") {
  Told out;
  out.subject = std::move(subject);
  out.about = std::move(about);
  out.finding.detector = "cloud_upload";
  out.finding.severity = Severity::medium;
  out.actor.address = *IpAddress::parse("10.0.0.5");
  out.decision.action = Action::log;
  return out;
}

TEST(reports, revision_only_when_bytes_doubled_and_a_last_one_with_the_final_bytes) {
  Book book;
  Told one = told();
  for (std::uint64_t packet = 1; packet <= 1000; ++packet) {
    one.bytes_out = 100'000 + packet * 1000;
    book.reports.tell(one, at(0));
  }
  book.reports.finish(at(1));
  ASSERT_EQ(book.sent.size(), 5u);  // 101, 202, 404, 808 thousand, and the end
  for (std::size_t i = 0; i < book.sent.size(); ++i) {
    EXPECT_EQ(book.sent[i].revision, i + 1);
    EXPECT_EQ(book.sent[i].id, book.sent[0].id);
  }
  EXPECT_EQ(book.sent.back().bytes_out, 1'100'000u);
}

TEST(reports, no_last_revision_where_nothing_changed) {
  Book book;
  Told one = told();
  one.bytes_out = 10;
  book.reports.tell(one, at(0));
  book.reports.tell(one, at(5));
  book.reports.finish(at(6));
  EXPECT_EQ(book.sent.size(), 1u);
}

TEST(reports, stricter_decision_is_told_at_once_and_a_milder_one_takes_nothing_back) {
  Book book;
  Told one = told();
  book.reports.tell(one, at(0));
  one.decision.action = Action::block;
  one.decision.rule = "no-personal-cloud";
  book.reports.tell(one, at(1));
  one.decision.action = Action::log;
  one.decision.rule = "";
  book.reports.tell(one, at(2));
  book.reports.finish(at(3));
  ASSERT_EQ(book.sent.size(), 2u);
  EXPECT_EQ(book.sent[1].decision.action, Action::block);
  EXPECT_EQ(book.sent[1].decision.rule, "no-personal-cloud");
}

TEST(reports, spent_account_is_said_rather_than_the_finding_that_led_there) {
  Book book;
  Told one = told("no-clouds");
  one.decision.action = Action::limit;
  book.reports.tell(one, at(0));
  Told spent = one;
  spent.spent = true;
  spent.finding.detector = "limit";
  book.reports.tell(spent, at(1));
  one.bytes_out = 500'000;
  book.reports.tell(one, at(2));
  book.reports.finish(at(3));
  EXPECT_EQ(book.reports.reports(), 1u);
  EXPECT_EQ(book.sent.back().finding.detector, "limit");
  EXPECT_EQ(book.sent.back().bytes_out, 500'000u);
}

TEST(reports, another_client_destination_or_rule_is_another_report) {
  Book book;
  book.reports.tell(told(), at(0));
  book.reports.tell(told("cloud_upload", "mega"), at(0));
  book.reports.tell(told("bulk_egress"), at(0));
  Told other = told();
  other.actor.address = *IpAddress::parse("10.0.0.6");
  book.reports.tell(other, at(0));
  EXPECT_EQ(book.reports.reports(), 4u);
}

TEST(reports, after_its_window_a_recurrence_has_the_same_group_and_another_id) {
  Book book;
  book.reports.tell(told(), at(0));
  book.reports.tell(told(), at(24 * 3600 - 1));
  book.reports.tell(told(), at(24 * 3600));
  ASSERT_EQ(book.sent.size(), 2u);
  EXPECT_EQ(book.sent[0].group, book.sent[1].group);
  EXPECT_NE(book.sent[0].id, book.sent[1].id);
  EXPECT_EQ(book.sent[1].revision, 1u);
}

TEST(reports, bytes_of_all_its_flows_are_summed_also_of_those_that_ended) {
  Book book;
  Told one = told();
  for (std::uint64_t flow = 1; flow <= 3; ++flow) {
    one.flow = flow;
    book.reports.tell(one, at(0));
    book.reports.follow(flow, {1000, 10}, flow == 2, at(0));
  }
  book.reports.follow(1, {5000, 20}, true, at(1));
  book.reports.finish(at(2));
  EXPECT_EQ(book.sent.back().bytes_out, 7000u);
  EXPECT_EQ(book.sent.back().bytes_in, 40u);
}

TEST(reports, quiet_report_that_changed_is_revised_ever_more_seldom) {
  Book book;
  Told one = told();
  one.bytes_out = 1'000'000;
  book.reports.tell(one, at(0));
  for (std::int64_t second = 1; second < 3600; ++second) {
    if (second % 60 == 1) {
      one.bytes_out += 1;
      book.reports.tell(one, at(second));
    }
    book.reports.tick(at(second));
  }
  EXPECT_GE(book.sent.size(), 3u);
  EXPECT_LE(book.sent.size(), 6u);
}

TEST(reports, full_book_closes_its_oldest_with_the_last_bytes_and_counts_it) {
  Book book;
  Told one = told();
  one.bytes_out = 1000;
  book.reports.tell(one, at(0));
  one.bytes_out = 1001;
  book.reports.tell(one, at(1));
  for (std::size_t i = 0; i < kMaxOpenReports; ++i)
    book.reports.tell(told("cloud_upload", "place " + std::to_string(i)), at(2));
  EXPECT_EQ(book.reports.dropped(), 1u);
  bool final = false;
  for (const Report& report : book.sent)
    final = final || (report.id == book.sent[0].id && report.bytes_out == 1001);
  EXPECT_TRUE(final);
}

}  // namespace
}  // namespace weir
