// Policies on the wire: nothing is lost on the way, and nothing that can't be obeyed is taken.
#include "proto/map/policy_proto.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/policy/known_names.h"
#include "tests/proto/map/any_policy.h"
#include "tests/proto/map/same.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

RC_GTEST_PROP(policy_proto, any_policy_comes_back_as_it_was, ()) {
  Policy policy = any::policy();
  std::string bytes = policy_bytes(policy);
  Result<Policy> back = policy_from_bytes(bytes_of(bytes));
  if (!back) RC_FAIL(back.error().sentence);
  RC_ASSERT(same(policy, *back));
  RC_ASSERT(policy_bytes(*back) == bytes);
}

RC_GTEST_PROP(policy_proto, bytes_with_one_changed_are_refused_or_give_a_valid_policy, ()) {
  std::string bytes = policy_bytes(any::policy());
  std::size_t at = *rc::gen::inRange<std::size_t>(0, bytes.size());
  bytes[at] = static_cast<char>(*rc::gen::arbitrary<std::uint8_t>());
  Result<Policy> back = policy_from_bytes(bytes_of(bytes));
  if (!back) {
    RC_ASSERT(!back.error().sentence.empty());
    return;
  }
  RC_ASSERT(back->limits.size() <= kMaxLimits);
  for (const Rule& rule : back->rules) {
    for (std::uint32_t row : rule.limits) RC_ASSERT(row < back->limits.size());
  }
}

std::string why_refused(const v1::Policy& message) {
  Result<Policy> policy = policy_from_bytes(bytes_of(message.SerializeAsString()));
  return policy ? "" : policy.error().sentence;
}

v1::Policy valid() {
  v1::Policy message;
  to_proto(Policy{}, message);
  return message;
}

TEST(policy_proto, the_empty_policy_is_valid) {
  EXPECT_EQ(why_refused(valid()), "");
}

TEST(policy_proto, an_unknown_field_refuses_the_policy_wherever_it_stands) {
  v1::Policy message = valid();
  v1::Condition* leaf = message.add_rules()->mutable_when();
  leaf->set_kind(v1::Condition::leaf);
  leaf->set_field(v1::Condition::trust);
  EXPECT_EQ(why_refused(message), "");
  leaf->GetReflection()->MutableUnknownFields(leaf)->AddVarint(99, 1);
  EXPECT_NE(why_refused(message).find("does not know"), std::string::npos);
}

TEST(policy_proto, an_unknown_enum_value_refuses_the_policy_and_is_named) {
  v1::Policy message = valid();
  message.add_rules()->set_action(static_cast<v1::Action::Value>(77));
  EXPECT_NE(why_refused(message).find("rule.action has the value 77"), std::string::npos);
}

TEST(policy_proto, known_domains_come_sorted_each_once_and_at_most_so_many) {
  v1::Policy message = valid();
  for (const char* wrong : {"a.example", "\n", "b.example\na.example\n", "a.example\na.example\n",
                            "a.example\n\n", "A.example\n", "*.example\n", "a .example\n"}) {
    message.set_known(wrong);
    EXPECT_NE(why_refused(message).find("known is no sorted text"), std::string::npos) << wrong;
  }
  std::vector<std::string> domains;
  for (std::size_t bytes = 0; bytes + 16 <= kMaxKnownBytes; bytes += 16)
    domains.push_back(fmt::format("name{:06}.com", domains.size()) + "x");
  message.set_known(known_text(domains));
  EXPECT_EQ(message.known().size(), kMaxKnownBytes / 16 * 16);
  EXPECT_EQ(why_refused(message), "");
  message.set_known(message.known() + "zzzzzzzzzzz.comx\n");
  EXPECT_NE(why_refused(message).find("too long"), std::string::npos);
}

TEST(policy_proto, an_unspecified_mode_is_not_taken_for_observe) {
  v1::Policy message = valid();
  message.clear_mode();
  EXPECT_NE(why_refused(message).find("mode"), std::string::npos);
}

TEST(policy_proto, more_rows_than_the_kernel_holds_are_refused) {
  v1::Policy message = valid();
  for (std::size_t i = 0; i < kMaxLimits; ++i) message.add_limits();
  EXPECT_EQ(why_refused(message), "");
  message.add_limits();
  EXPECT_NE(why_refused(message).find("limits has 64 rows"), std::string::npos);
}

TEST(policy_proto, a_rule_that_names_a_row_which_is_not_there_is_refused) {
  v1::Policy message = valid();
  message.add_limits();
  message.add_rules()->add_limits(1);
  EXPECT_NE(why_refused(message).find("names limit 1"), std::string::npos);
}

TEST(policy_proto, an_address_of_a_wrong_length_is_refused) {
  v1::Policy message = valid();
  message.add_resolvers()->set_address("1234");
  EXPECT_NE(why_refused(message).find("an address has 16"), std::string::npos);
}

TEST(policy_proto, a_prefix_longer_than_an_address_is_refused) {
  v1::Policy message = valid();
  v1::Prefix* range = message.add_services()->add_ranges();
  range->set_address(std::string(16, 'a'));
  range->set_length(129);
  EXPECT_NE(why_refused(message).find("129"), std::string::npos);
}

TEST(policy_proto, a_negative_window_is_refused) {
  v1::Policy message = valid();
  message.add_limits()->set_window_ns(-1);
  EXPECT_NE(why_refused(message).find("limit.window_ns is -1"), std::string::npos);
}

// A tree of `levels` conditions, one inside the other.
v1::Policy nested(int levels) {
  v1::Policy message = valid();
  v1::Condition* at = message.add_rules()->mutable_when();
  for (int i = 1; i < levels; ++i) {
    at->set_kind(v1::Condition::all);
    at = at->add_parts();
  }
  at->set_kind(v1::Condition::always);
  return message;
}

TEST(policy_proto, conditions_nest_sixteen_levels_and_no_deeper) {
  EXPECT_EQ(why_refused(nested(kMaxConditionDepth)), "");
  EXPECT_NE(why_refused(nested(kMaxConditionDepth + 1)), "");
  EXPECT_NE(why_refused(nested(1000)), "");
  EXPECT_FALSE(from_proto(nested(kMaxConditionDepth + 1)));  // also when parsed by someone else
}

TEST(policy_proto, too_many_small_conditions_are_refused_by_their_number) {
  v1::Policy message = valid();
  for (int rule = 0; rule < 9; ++rule) {
    v1::Condition* when = message.add_rules()->mutable_when();
    when->set_kind(v1::Condition::all);
    for (int i = 0; i < 2000; ++i) when->add_parts()->set_kind(v1::Condition::always);
  }
  EXPECT_NE(why_refused(message).find("more than 16384 conditions"), std::string::npos);
}

TEST(policy_proto, a_list_beyond_its_limit_is_refused) {
  v1::Policy message = valid();
  for (std::size_t i = 0; i <= kMaxPolicyEntries; ++i) message.add_networks();
  EXPECT_NE(why_refused(message).find("networks has 4097 entries"), std::string::npos);
}

TEST(policy_proto, more_than_a_mebibyte_is_refused_before_it_is_parsed) {
  v1::Policy message = valid();
  message.set_name(std::string(kMaxCompiledBytes, 'x'));
  EXPECT_NE(why_refused(message).find("the limit is 1048576"), std::string::npos);
}

TEST(policy_proto, cut_bytes_are_refused_or_a_shorter_policy_but_never_a_crash) {
  Policy policy;
  policy.name = "desk";
  policy.limits.resize(3);
  policy.rules.push_back({.id = "a", .limits = {0, 1, 2}});
  std::string bytes = policy_bytes(policy);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    (void)policy_from_bytes(bytes_of(bytes.substr(0, n)));
  }
  EXPECT_FALSE(policy_from_bytes(bytes_of(bytes.substr(0, bytes.size() - 1))));
}

}  // namespace
}  // namespace weir
