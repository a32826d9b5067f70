// What persons ask the agent: what is taken, how often, and what they hear; only of their own
// reports.
#include "agent/run/asked.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "core/base/fixed_text.h"
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
  facts.exceptions.leases = 1;
  facts.exceptions.lease[0].request = mine.id;
  EXPECT_NE(answer(list).text.find("approved: 1 MiB until"), std::string::npos);
}

// What one request of theirs has become, in both languages.
class AskedState : public Asked {
 protected:
  AskedState() {
    facts.now_wall_s = kNow;
    facts.person = 1000;
    facts.host = mark_of("host-1");
    mine = add("r-1", kNow - 60);
  }
  AskedRequest add(const std::string& id, std::int64_t at, std::uint32_t person = 1000) {
    AskedRequest one;
    put_text(one.id, id);
    one.person = person;
    one.at_wall_s = at;
    one.host = facts.host;
    facts.asked.add(one);
    return one;
  }
  RequestAnswer told(const AskedRequest& of, RequestAnswer::Outcome outcome,
                     const std::string& words = "ops: go") {
    RequestAnswer one{of.id, outcome, 0, kNow - 30, kNow + 600, 1 << 20, {}};
    put_text(one.words, words);
    return one;
  }
  void approve() {
    facts.exceptions.tell(told(mine, RequestAnswer::approved));
    HeldLease& lease = facts.exceptions.lease[facts.exceptions.leases++];
    lease.request = mine.id;
    lease.number = 7;
    lease.what.bytes = 1 << 20;
    facts.grants = {{7, 1000, true, false}};
  }
  std::string state(Language language = Language::english) const {
    return state_of(mine, facts, language);
  }
  AskedRequest mine;
};

TEST_F(AskedState, approved_is_said_only_while_the_kernel_lets_something_go) {
  approve();
  EXPECT_EQ(state(), "approved: 1 MiB until 2027-01-15 08:10 UTC (ops: go)");
  EXPECT_EQ(state(Language::chinese), "已批准：1 MiB，至 2027-01-15 08:10 UTC（ops: go）");
  facts.grants = {{7, 256 << 10, true, true}};
  EXPECT_EQ(state(), "used up: 768 KiB of 1 MiB were sent; ask again if you need more (ops: go)");
  EXPECT_NE(state(Language::chinese).find("已用完：已发送 768 KiB，共 1 MiB"), std::string::npos);
  facts.grants = {{7, 1000, false, false}};
  EXPECT_EQ(state(), "ended before its time: was approved until 2027-01-15 08:10 UTC (ops: go)");
  EXPECT_NE(state(Language::chinese).find("已提前结束"), std::string::npos);
  facts.grants = std::vector<GrantNow>();
  EXPECT_EQ(state().substr(0, 21), "ended before its time") << "its account is gone: after a boot";
  facts.exceptions.answer[0].at_wall_s = kNow;
  EXPECT_EQ(state().substr(0, 9), "approved:") << "its account comes in a moment";
  facts.grants.reset();
  facts.exceptions.answer[0].at_wall_s = kNow - 30;
  EXPECT_EQ(state().substr(0, 9), "approved:") << "the kernel could not be asked";
}

TEST_F(AskedState, ended_is_what_holds_no_longer_by_its_time_or_by_hand) {
  approve();
  facts.exceptions.answer[0].until_wall_s = kNow;
  EXPECT_EQ(state(), "ended 2027-01-15 08:00 UTC: was approved (ops: go)");
  EXPECT_EQ(state(Language::chinese), "已于 2027-01-15 08:00 UTC 结束：曾获批准（ops: go）");
  facts.exceptions.answer[0].until_wall_s = kNow + 600;
  facts.exceptions.leases = 0;
  EXPECT_EQ(state().substr(0, 21), "ended before its time");
}

TEST_F(AskedState, what_the_host_refused_is_not_granted_and_says_why) {
  RequestAnswer refused = told(mine, RequestAnswer::refused, "uploads");
  refused.why = static_cast<std::uint32_t>(wire::CommandRefusal::unknown_rule);
  facts.exceptions.tell(refused);
  EXPECT_EQ(state(),
            "not granted: it was approved, but this host refused: The policy in force has no rule "
            "uploads.");
  EXPECT_EQ(state(Language::chinese),
            "未生效：已获批准，但本机拒绝执行：现行策略中没有规则 uploads。");
}

TEST_F(AskedState, open_ends_after_three_days_and_when_newer_ones_take_its_place) {
  EXPECT_EQ(state(), "open: nobody has answered yet");
  EXPECT_EQ(state(Language::chinese), "待处理：尚无答复");
  facts.now_wall_s = mine.at_wall_s + 3 * 86'400;
  EXPECT_EQ(state(), "expired: nobody answered within 3 days; ask again if you still need it");
  EXPECT_EQ(state(Language::chinese), "已失效：3 天内无人答复；如仍需要，请重新申请");
  facts.now_wall_s = kNow;
  std::vector<AskedRequest> newer;
  for (int n = 0; n < 8; ++n) {
    EXPECT_EQ(state(), "open: nobody has answered yet") << n;
    add("other-" + std::to_string(n), kNow - 50 + n, 1001);
    newer.push_back(add("r-2" + std::to_string(n), kNow - 50 + n));
  }
  EXPECT_EQ(state(), "expired: newer requests took its place");
  EXPECT_EQ(state(Language::chinese), "已失效：已被较新的申请取代");
  RequestAnswer early = told(newer[0], RequestAnswer::denied);
  early.at_wall_s = kNow - 48;
  facts.exceptions.tell(early);
  EXPECT_EQ(state(), "open: nobody has answered yet") << "one of them was answered before the last";
  facts.exceptions.tell(told(newer[0], RequestAnswer::denied));
  EXPECT_EQ(state().substr(0, 7), "expired") << "it was answered too late for this one";
}

TEST_F(AskedState, nothing_that_was_asked_before_the_host_was_enrolled_anew_is_open) {
  facts.host = mark_of("host-2");
  EXPECT_EQ(state(), "not granted: this host was enrolled anew since; ask again");
  EXPECT_EQ(state(Language::chinese), "未批准：本机此后已重新注册；请重新申请");
  approve();
  EXPECT_EQ(state().substr(0, 9), "approved:") << "it holds all the same";
  facts.exceptions = ExceptionTable::none();
  mine.host = 0;
  EXPECT_EQ(state().substr(0, 5), "open:") << "written by an earlier build, which did not say";
}

TEST_F(AskedState, of_what_is_older_than_all_answers_that_are_kept_nothing_is_claimed) {
  facts.now_wall_s = mine.at_wall_s + 4 * 86'400;
  AskedRequest other = mine;
  for (std::size_t n = 0; n < kMaxAnswers; ++n) {
    put_text(other.id, "x-" + std::to_string(n));
    facts.exceptions.tell(told(other, RequestAnswer::denied));
  }
  EXPECT_EQ(state(), "over: the answer is not kept any longer");
  EXPECT_EQ(state(Language::chinese), "已结束：答复已不再保留");
}

TEST(asked_table, of_an_earlier_build_is_read) {
  struct First {
    std::array<char, 40> id{}, report{};
    std::uint32_t person = 1000, duration_s = 0;
    std::int64_t at_wall_s = kNow;
    std::uint64_t bytes = 5;
  };
  struct {
    std::uint32_t magic = 0x31515257, count = 2;
    std::array<First, kMaxAsked> request{};
  } first;
  put_text(first.request[1].id, "r-2");
  const AskedTable table =
      AskedTable::read({reinterpret_cast<const std::uint8_t*>(&first), sizeof first});
  ASSERT_EQ(table.count, 2u);
  EXPECT_STREQ(table.request[1].id.data(), "r-2");
  EXPECT_EQ(table.request[1].bytes, 5u);
  EXPECT_EQ(table.of_day(1000, kNow), 2u);
  first.count = kMaxAsked + 1;
  EXPECT_EQ(AskedTable::read({reinterpret_cast<const std::uint8_t*>(&first), sizeof first}).count,
            0u);
}

TEST_F(Asked, what_waits_is_listed_once_a_place_and_not_where_its_program_closed_it) {
  AskMessage list;
  list.kind = AskKind::holds;
  EXPECT_NE(answer(list).text.find("nothing waits"), std::string::npos);
  KernelHold one;
  one.cookie = 1;
  one.flow.tree = 7;
  one.flow.dest = 4711;
  one.flow.limit = 3;
  one.flow.pid = 11;
  one.flow.since_ns = 5'000'000'000;
  const IpAddress to = *IpAddress::parse("192.0.2.1");
  std::copy(to.bytes.begin(), to.bytes.end(), one.flow.tuple.remote);
  one.flow.tuple.remote_port = 443;
  KernelHold more = one, closed = one;
  more.cookie = 2;
  more.flow.since_ns = 6'000'000'000;
  closed.cookie = 3;
  closed.flow.tree = 8;
  closed.flow.closed = 1;
  facts.holds = {more, one, closed};
  facts.now_boot_ns = 17'000'000'000;
  const std::string text = answer(list).text;
  EXPECT_NE(text.find(" to 192.0.2.1:443 waits for an answer, for 12 seconds by now"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("(2 connections)"), std::string::npos) << text;
  EXPECT_NE(text.find("weir answer " + grouped(facts.holds)[0].id), std::string::npos) << text;
  EXPECT_EQ(grouped(facts.holds).size(), 1u);
  list.flags = kAskJson;
  const std::string json = answer(list).text;
  EXPECT_NE(json.find("\"action\":\"hold\""), std::string::npos) << json;
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 1);
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
  EXPECT_NE(damage([](AskMessage& m) { m.kind = static_cast<AskKind>(7); }), "");
  EXPECT_NE(damage([](AskMessage& m) { m.kind = AskKind::events; }), "") << "of no day";
  EXPECT_EQ(damage([](AskMessage& m) { m.kind = AskKind::answer; }), "");
  EXPECT_NE(damage([](AskMessage& m) {
              m.kind = AskKind::answer;
              m.report.fill(0);
            }),
            "");
  EXPECT_NE(damage([](AskMessage& m) {
              m.kind = AskKind::answer;
              m.reason_size = 0;
            }),
            "");
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
