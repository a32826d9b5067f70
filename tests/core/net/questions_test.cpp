// An answer counts only for a question that left on the same flow and is still open.
#include "core/net/questions.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

DnsMessage message(bool response, std::uint16_t id, const char* name, std::uint16_t type = 1) {
  DnsMessage out;
  out.id = id;
  out.response = response;
  out.questions.push_back({name, type, 1});
  return out;
}

TEST(questions, answer_counts_once_for_flow_id_name_and_type) {
  Questions open;
  open.asked(5, message(false, 7, "WwW.example.com"), 0);
  EXPECT_FALSE(open.answers(6, message(true, 7, "www.example.com"), 1)) << "another flow";
  EXPECT_FALSE(open.answers(5, message(true, 8, "www.example.com"), 1));
  EXPECT_FALSE(open.answers(5, message(true, 7, "ww.example.com"), 1));
  EXPECT_FALSE(open.answers(5, message(true, 7, "www.example.com", 28), 1));
  EXPECT_FALSE(open.answers(5, message(false, 7, "www.example.com"), 1)) << "a question";
  EXPECT_TRUE(open.answers(5, message(true, 7, "www.EXAMPLE.com"), 1));
  EXPECT_FALSE(open.answers(5, message(true, 7, "www.example.com"), 1)) << "a second one";
}

TEST(questions, late_answer_and_one_of_several_questions_do_not_count) {
  Questions open;
  open.asked(5, message(false, 7, "a.example"), 0);
  EXPECT_FALSE(open.answers(5, message(true, 7, "a.example"), Questions::kPatienceNs + 1));
  DnsMessage two = message(false, 7, "a.example");
  two.questions.push_back(two.questions[0]);
  open.asked(5, two, 0);
  two.response = true;
  EXPECT_FALSE(open.answers(5, two, 1));
}

TEST(questions, flood_is_bounded_and_counted_and_the_newest_stay) {
  Questions open;
  for (std::size_t i = 0; i < Questions::kMaxOpen + 100; ++i)
    open.asked(i, message(false, 7, "a.example"), kSecond);
  EXPECT_EQ(open.dropped(), 100u);
  EXPECT_FALSE(open.answers(99, message(true, 7, "a.example"), kSecond));
  EXPECT_TRUE(open.answers(100, message(true, 7, "a.example"), kSecond));
}

TEST(questions, question_that_was_asked_again_is_open_until_its_last_time) {
  Questions open;
  open.asked(5, message(false, 7, "a.example"), 0);
  open.asked(5, message(false, 7, "a.example"), 10 * kSecond);
  open.asked(6, message(false, 7, "b.example"), 20 * kSecond);
  EXPECT_TRUE(open.answers(5, message(true, 7, "a.example"), 20 * kSecond));
}

}  // namespace
}  // namespace weir
