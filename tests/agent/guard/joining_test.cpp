// A host that is put into another group: which policies it takes then, and which decisions no more.
#include "agent/guard/joining.h"

#include <gtest/gtest.h>

#include "agent/guard/compiled.h"
#include "core/base/fixed_text.h"

namespace weir {
namespace {

using wire::CommandRefusal;
using wire::Refusal;
constexpr std::int64_t kNow = 1'800'000'000, kNowMs = kNow * 1'000;

CommandReading join(const std::string& group, std::int64_t decided_ms, std::uint32_t least = 0) {
  CommandReading reading;
  reading.magic = kCommandReadingMagic;
  reading.verb = kJoinVerb;
  reading.not_before_wall_s = kNow - 60;
  reading.expires_wall_s = kNow + 60;
  reading.id.fill(1);
  put_text(reading.host_id, "host-1");
  put_text(reading.join.group, group);
  reading.join.decided_wall_ms = decided_ms;
  reading.join.least_number = least;
  return reading;
}

PolicyTrust trust() {
  TrustedKey key;
  key.id = policy_key_id(key.key);
  return {"desks", 1, {key}, "host-1", 4};
}

PolicyTrust joined(const PolicyTrust& now, const CommandReading& command,
                   const GroupPolicy& in_force) {
  NextGroup next = next_group(now, command, in_force, kNow);
  EXPECT_EQ(next.why, CommandRefusal::none);
  EXPECT_TRUE(next.trust);
  return next.trust.value_or(now);
}

Refusal offered(const PolicyTrust& trust, const GroupPolicy& in_force, const std::string& group,
                std::uint32_t number) {
  CompiledHeader header;
  header.number = number;
  header.expires_wall_s = kNow + 60;
  std::copy(group.begin(), group.end(), header.target.begin());
  CompiledEnvelope compiled;
  compiled.header = &header;
  return check_terms(compiled, trust, in_force, kNow);
}
Refusal kept(const PolicyTrust& trust, const std::string& group, std::uint32_t number) {
  CompiledHeader header;
  header.number = number;
  std::copy(group.begin(), group.end(), header.target.begin());
  CompiledEnvelope compiled;
  compiled.header = &header;
  return check_kept_terms(compiled, trust);
}

TEST(joining, the_new_groups_policies_are_taken_whatever_number_the_old_one_has) {
  PolicyTrust next = joined(trust(), join("labs", kNowMs, 3), {"desks", 7});
  EXPECT_EQ(next.group, "labs");
  EXPECT_EQ(next.number, 4u) << "the keys are not the group's";
  EXPECT_EQ(next.keys.size(), 1u);
  EXPECT_EQ(next.host, "host-1");
  EXPECT_EQ(offered(next, {"desks", 7}, "labs", 3), Refusal::none);
  EXPECT_EQ(offered(next, {"desks", 7}, "labs", 7), Refusal::none);
  EXPECT_EQ(offered(next, {"labs", 3}, "labs", 3), Refusal::not_newer);
  EXPECT_EQ(offered(next, {"labs", 3}, "labs", 4), Refusal::none);
}

TEST(joining, what_the_new_group_had_before_is_not_taken_and_nothing_of_the_old_one) {
  PolicyTrust next = joined(trust(), join("labs", kNowMs, 3), {"desks", 7});
  EXPECT_EQ(offered(next, {"desks", 7}, "labs", 2), Refusal::below_least);
  EXPECT_EQ(offered(next, {"desks", 7}, "desks", 8), Refusal::other_group);
  EXPECT_EQ(offered(next, {"desks", 7}, "sales", 8), Refusal::other_group);
}

TEST(joining, who_comes_back_takes_no_policy_that_was_replaced_while_it_was_there) {
  PolicyTrust away = joined(trust(), join("labs", kNowMs, 3), {"desks", 7});
  PolicyTrust back = joined(away, join("desks", kNowMs + 1, 2), {"labs", 3});
  EXPECT_EQ(offered(back, {"labs", 3}, "desks", 6), Refusal::below_least)
      << "whatever the command says";
  EXPECT_EQ(offered(back, {"labs", 3}, "desks", 7), Refusal::none)
      << "the one of before may have stayed";
  PolicyTrust unchanged = joined(trust(), join("desks", kNowMs), {"desks", 7});
  EXPECT_EQ(offered(unchanged, {"desks", 7}, "desks", 7), Refusal::not_newer);
}

TEST(joining, an_earlier_decision_than_the_last_is_refused_and_the_same_changes_nothing) {
  PolicyTrust labs = joined(trust(), join("labs", kNowMs, 3), {"desks", 7});
  for (std::int64_t decided : {kNowMs - 1, kNowMs})
    EXPECT_EQ(next_group(labs, join("desks", decided), {"desks", 7}, kNow).why,
              CommandRefusal::superseded);
  EXPECT_EQ(next_group(labs, join("labs", kNowMs - 1), {"desks", 7}, kNow).why,
            CommandRefusal::superseded);
  PolicyTrust again = joined(labs, join("labs", kNowMs, 3), {"desks", 7});
  EXPECT_EQ(*write_trust(again), *write_trust(labs));
  EXPECT_EQ(next_group(labs, join("desks", kNowMs + 1'000 * (kCommandSlackS + 1)), {}, kNow).why,
            CommandRefusal::not_yet)
      << "it would forbid every other one until then";
}

TEST(joining, the_policy_in_force_is_taken_again_after_a_restart_and_a_foreign_one_is_not) {
  PolicyTrust next = joined(trust(), join("labs", kNowMs, 3), {"desks", 7});
  EXPECT_EQ(kept(next, "desks", 7), Refusal::none) << "labs has sent none yet";
  EXPECT_EQ(kept(next, "labs", 3), Refusal::none);
  EXPECT_EQ(kept(next, "sales", 7), Refusal::other_group);
  EXPECT_EQ(kept(trust(), "labs", 7), Refusal::other_group);
}

TEST(joining, groups_without_a_policy_take_no_room_and_the_one_in_force_is_never_forgotten) {
  PolicyTrust now = trust();
  for (int n = 1; n <= 30; ++n)
    now = joined(now, join("empty-" + std::to_string(n), kNowMs + n), {"desks", 7});
  EXPECT_EQ(now.had.size(), 1u);
  for (std::uint32_t n = 1; n <= 30; ++n) {
    const std::string group = "group-" + std::to_string(n);
    now = joined(now, join(group, kNowMs + 100 + n), {"desks", 7});
    now = joined(now, join("next", kNowMs + 200 + n * 2), {group, n});
    now.joined_wall_ms = kNowMs + 100 + n;
    EXPECT_EQ(kept(now, group, n), Refusal::none);
    EXPECT_LE(now.had.size(), kMaxGroupsHad);
    ASSERT_TRUE(read_trust(*write_trust(now)));
  }
}

TEST(joining, a_group_that_is_none_is_not_taken_from_the_reader) {
  const auto read = [](const CommandReading& reading) {
    return read_command_reading({reinterpret_cast<const std::uint8_t*>(&reading), sizeof reading});
  };
  ASSERT_TRUE(read(join("labs", kNowMs)));
  EXPECT_FALSE(read(join("", kNowMs)));
  EXPECT_FALSE(read(join("two words", kNowMs)));
  EXPECT_FALSE(read(join(std::string(65, 'g'), kNowMs)));
  EXPECT_FALSE(read(join("labs", 0)));
  CommandReading endless = join("labs", kNowMs);
  endless.join.group.fill('g');
  EXPECT_FALSE(read(endless));
}

TEST(joining, the_trust_file_says_what_was_joined_and_what_was_had) {
  PolicyTrust next = joined(trust(), join("labs", kNowMs, 3), {"desks", 7});
  const std::string text = *write_trust(next);
  EXPECT_NE(text.find("group labs\n"), std::string::npos) << text;
  EXPECT_NE(text.find("joined 1800000000000\nleast 3\nhad 7 desks\n"), std::string::npos) << text;
  Result<PolicyTrust> again = read_trust(text);
  ASSERT_TRUE(again);
  EXPECT_EQ(*write_trust(*again), text);
  EXPECT_EQ(again->least_number(), 3u);
  for (const char* wrong : {"joined 5\n", "least 4\n", "had 7 desks\n", "had 0 sales\n", "had 7\n",
                            "had x sales\n", "had 7 two words\n"})
    EXPECT_FALSE(read_trust(text + wrong)) << wrong;
}

}  // namespace
}  // namespace weir
