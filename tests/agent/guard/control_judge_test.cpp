// Tries of the controls, and what is told of them.
#include "agent/guard/control_judge.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

using State = TriedControl::State;

std::vector<TriedControl> of(State egress, State ingress = State::works) {
  return {{"weir_egress", egress, "seen"}, {"weir_ingress", ingress, "seen"}};
}

TEST(ControlJudge, what_fails_twice_is_told_once_and_no_other) {
  ControlJudge judge;
  EXPECT_TRUE(judge.judge(of(State::works)).empty());
  EXPECT_TRUE(judge.judge(of(State::fails)).empty());
  EXPECT_TRUE(judge.suspects());
  const auto changed = judge.judge(of(State::fails));
  ASSERT_EQ(changed.size(), 1u);
  EXPECT_EQ(changed[0].program, "weir_egress");
  EXPECT_FALSE(changed[0].works);
  EXPECT_FALSE(judge.suspects());
  EXPECT_TRUE(judge.judge(of(State::fails)).empty());
}

TEST(ControlJudge, what_fails_once_is_not_told) {
  ControlJudge judge;
  for (int n = 0; n < 3; n++) {
    EXPECT_TRUE(judge.judge(of(State::fails)).empty());
    EXPECT_TRUE(judge.judge(of(State::works)).empty());
  }
  EXPECT_FALSE(judge.suspects());
}

TEST(ControlJudge, what_works_again_is_told_once) {
  ControlJudge judge;
  judge.judge(of(State::fails));
  judge.judge(of(State::fails));
  const auto changed = judge.judge(of(State::works));
  ASSERT_EQ(changed.size(), 1u);
  EXPECT_TRUE(changed[0].works);
  EXPECT_TRUE(judge.judge(of(State::works)).empty());
}

TEST(ControlJudge, what_was_not_tried_changes_nothing) {
  ControlJudge judge;
  judge.judge(of(State::fails));
  EXPECT_TRUE(judge.judge(of(State::untried)).empty());
  EXPECT_TRUE(judge.suspects());
  EXPECT_EQ(judge.judge(of(State::fails)).size(), 1u);
}

TEST(CanaryAnswer, comes_out_as_it_went_in_and_nonsense_is_none) {
  const auto tried = of(State::fails, State::untried);
  const auto again = tried_of(answer_of(tried));
  ASSERT_TRUE(again);
  ASSERT_EQ(again->size(), 2u);
  EXPECT_EQ((*again)[0].program, "weir_egress");
  EXPECT_EQ((*again)[1].state, State::untried);
  CanaryAnswer nonsense = answer_of(tried);
  nonsense.count = CanaryAnswer::kMost + 1;
  EXPECT_FALSE(tried_of(nonsense));
  nonsense = answer_of(tried);
  nonsense.all[0].state = 99;
  EXPECT_FALSE(tried_of(nonsense));
}

TEST(CanaryAnswer, text_without_an_end_is_taken_for_what_it_holds) {
  CanaryAnswer full = answer_of(of(State::works));
  full.all[0].detail.fill('x');
  const auto tried = tried_of(full);
  ASSERT_TRUE(tried);
  EXPECT_EQ((*tried)[0].detail.size(), full.all[0].detail.size());
}

}  // namespace
}  // namespace weir
