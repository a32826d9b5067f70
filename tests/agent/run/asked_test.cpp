// What persons ask the agent: what is taken, how often, and what they hear; only of their own
// reports.
#include "agent/run/asked.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;

AskMessage request(const std::string& id, const std::string& because) {
  AskMessage message;
  message.kind = AskKind::request;
  std::copy(id.begin(), id.end(), message.report.begin());
  std::copy(because.begin(), because.end(), message.reason.begin());
  message.reason_size = static_cast<std::uint32_t>(because.size());
  return message;
}

std::string line(const std::string& id, std::uint32_t uid, int revision, const std::string& rule) {
  return R"({"id":")" + id + R"(","revision":)" + std::to_string(revision) +
         R"(,"updated":"2027-01-15T07:00:00Z","destination":{"address":"192.0.2.1","port":443},)" +
         R"("finding":{"detector":"limit","because":[{"code":"limit_total_spent",)" +
         R"("args":["r","65536","x","65000"]}]},"actor":{"person":{"user":{"uid":)" +
         std::to_string(uid) + R"(}}},"decision":{"rule":")" + rule + "\",\"enforced\":true}}\n";
}

class Asked : public testing::Test {
 protected:
  AskAnswer answer(AskMessage message, std::uint32_t person = 1000) {
    std::FILE* file = std::tmpfile();
    const std::string text = line("aa", 1000, 1, "uploads") + "nonsense\n" +
                             line("aa", 1000, 2, "uploads") + line("bb", 1001, 1, "uploads") +
                             line("cc", 1000, 1, "") + line("ee", 1000, 1, "person.exception") +
                             std::string(2u << 20, 'x') + "\n";
    std::fwrite(text.data(), 1, text.size(), file);
    std::fflush(file);
    ::lseek(::fileno(file), 0, SEEK_SET);
    facts.message = message;
    facts.person = person;
    facts.now_wall_s = kNow;
    facts.id = "f00d";
    const int files[] = {-1, ::fileno(file)};
    AskAnswer made = answer_asked(facts, files);
    std::fclose(file);
    return made;
  }
  AskFacts facts{{}, 0, 0, "", AskedTable::none(), ExceptionTable::none()};
};

TEST_F(Asked, a_person_lists_and_asks_about_their_own_reports_alone) {
  AskMessage list;
  list.days = 7;
  list.flags = kAskJson;
  const std::string mine = answer(list).text;
  EXPECT_NE(mine.find("\"id\":\"aa\",\"revision\":2"), std::string::npos) << mine;
  EXPECT_EQ(mine.find("\"revision\":1,\"group\":\"\",\"time\":null,\"id\":\"aa\""),
            std::string::npos);
  EXPECT_EQ(mine.find("bb"), std::string::npos);
  EXPECT_EQ(answer(list, 1002).text, "");
  EXPECT_EQ(answer(request("bb", "why")).status, 2u) << "another's";
  EXPECT_EQ(answer(request("dd", "why")).status, 2u);
  EXPECT_EQ(answer(request("cc", "why")).status, 1u) << "no rule stopped it";
  EXPECT_EQ(answer(request("ee", "why")).status, 1u) << "no rule of the policy";
  list.flags = 0;
  EXPECT_NE(answer(list).text.find("weir request aa "), std::string::npos);
  EXPECT_EQ(answer(list).text.find("weir request cc "), std::string::npos);
  EXPECT_EQ(answer(list).text.find("weir request ee "), std::string::npos);
  EXPECT_TRUE(answer(request("bb", "why")).record.empty());
}

TEST_F(Asked, a_request_holds_what_the_report_says_and_as_much_as_its_limit_again) {
  AskMessage message = request("aa", "the monthly list");
  AskAnswer made = answer(message);
  EXPECT_EQ(made.status, 0u) << made.text;
  v1::ExceptionRequest out;
  ASSERT_TRUE(out.ParseFromString(made.record));
  EXPECT_EQ(out.id(), "f00d");
  EXPECT_EQ(out.report_id(), "aa");
  EXPECT_EQ(out.person().user().uid(), 1000u);
  EXPECT_EQ(out.rule(), "uploads");
  EXPECT_EQ(out.destination().address(), "192.0.2.1");
  EXPECT_EQ(out.justification(), "the monthly list");
  EXPECT_EQ(out.bytes(), 65536u);
  EXPECT_EQ(out.duration_s(), 3600u);
  message.bytes = 9;
  message.duration_s = 60;
  ASSERT_TRUE(out.ParseFromString(answer(message).record));
  EXPECT_EQ(out.bytes(), 9u);
  EXPECT_EQ(out.duration_s(), 60u);
}

TEST_F(Asked, a_reason_is_utf8_of_at_most_a_thousand_characters) {
  std::string thousand;
  for (int n = 0; n < 1000; ++n) thousand += "\xe5\xa5\xbd";
  EXPECT_EQ(answer(request("aa", thousand)).status, 0u);
  EXPECT_EQ(answer(request("aa", thousand + "a")).status, 2u);
  EXPECT_EQ(answer(request("aa", "\xff")).status, 2u);
}

TEST_F(Asked, what_became_of_a_request_is_told_to_who_asked) {
  AskMessage list;
  list.days = 7;
  AskedRequest mine;
  std::copy_n("r-1", 3, mine.id.begin());
  mine.person = 1000;
  mine.at_wall_s = kNow - 60;
  facts.asked.add(mine);
  EXPECT_NE(answer(list).text.find("open: nobody has answered yet"), std::string::npos);
  EXPECT_EQ(answer(list, 1001).text.find("open:"), std::string::npos);
  RequestAnswer denied;
  denied.request = mine.id;
  denied.outcome = RequestAnswer::denied;
  put_text(denied.words, "ops: ask the owner");
  facts.exceptions.tell(denied);
  EXPECT_NE(answer(list).text.find("denied: ops: ask the owner"), std::string::npos);
  RequestAnswer approved = denied;
  approved.outcome = RequestAnswer::approved;
  approved.until_wall_s = kNow + 60;
  approved.bytes = 1 << 20;
  facts.exceptions.tell(approved);
  EXPECT_NE(answer(list).text.find("approved: 1 MiB until"), std::string::npos);
  facts.exceptions.answer[0].until_wall_s = kNow - 1;
  EXPECT_NE(answer(list).text.find("has ended"), std::string::npos);
}

TEST(asked_message, each_field_out_of_its_bounds_is_named) {
  const AskMessage good = request("aa", "why");
  const auto damage = [&](auto change) {
    AskMessage message = good;
    change(message);
    return std::string(damage_of(message, sizeof message));
  };
  EXPECT_EQ(damage([](AskMessage&) {}), "");
  EXPECT_STRNE(damage_of(good, sizeof good - 1), "");
  EXPECT_NE(damage([](AskMessage& m) { m.flags = 4; }), "");
  EXPECT_NE(damage([](AskMessage& m) { m.kind = static_cast<AskKind>(3); }), "");
  EXPECT_NE(damage([](AskMessage& m) { m.kind = AskKind::events; }), "") << "of no day";
  EXPECT_NE(damage([](AskMessage& m) { m.report.fill('a'); }), "");
  EXPECT_NE(damage([](AskMessage& m) { m.reason_size = 0; }), "");
  EXPECT_NE(damage([](AskMessage& m) { m.reason_size = 5000; }), "");
  EXPECT_NE(damage([](AskMessage& m) { m.bytes = 1ull << 40; }), "");
  EXPECT_NE(damage([](AskMessage& m) { m.duration_s = 100'000; }), "");
}

TEST(asked_table, keeps_the_newest_and_counts_a_persons_day) {
  AskedTable table = AskedTable::none();
  for (std::size_t n = 0; n < kMaxAsked + 10; ++n) {
    AskedRequest one;
    one.person = n % 2 == 0 ? 1000 : 1001;
    one.at_wall_s = kNow - 100'000 + static_cast<std::int64_t>(n) * 1000;
    table.add(one);
  }
  EXPECT_EQ(table.count, kMaxAsked);
  EXPECT_EQ(table.of_day(1002, kNow), 0u);
  EXPECT_GT(table.of_day(1000, kNow), kMaxRequestsADay);
  EXPECT_EQ(AskedTable::read(table.bytes()).count, kMaxAsked);
  EXPECT_EQ(AskedTable::read(table.bytes().first(100)).count, 0u) << "what is not whole is none";
}

}  // namespace
}  // namespace weir
