// A draft tried on reports: what it would have done, by its own words and accounts that start
// empty.
#include "collector/rollout/draft_trial.h"

#include <gtest/gtest.h>

#include "core/policy/surface/surface.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

constexpr char kHead[] = "apiVersion: weir/v1\nname: draft\nmode: enforce\n";

Policy draft_of(const std::string& text) {
  Result<Policy> policy = parse_policy(kHead + text, "draft");
  EXPECT_TRUE(policy) << policy.error().sentence;
  return policy ? std::move(*policy) : Policy();
}

// An upload of `uid` to a service of the catalogue, told as it was then: logged.
v1::Report upload(const std::string& id, std::uint32_t uid, std::uint64_t bytes, int hour = 0) {
  v1::Report report;
  report.set_id(id);
  report.mutable_finding()->set_detector("cloud_upload");
  v1::Destination& to = *report.mutable_destination();
  to.set_address("192.0.2.9");
  to.set_port(443);
  to.set_name("content.dropboxapi.com");
  to.set_channel("tls");
  to.set_trust(v1::Trust::upload);
  report.mutable_actor()->mutable_person()->mutable_user()->set_uid(uid);
  report.set_bytes_out(bytes);
  report.mutable_updated()->set_seconds(1'800'000'000 + hour * 3'600);
  report.mutable_decision()->set_action(v1::Action::log);
  return report;
}

v1::ReplayPolicyResponse tried(const std::string& draft,
                               const std::vector<std::pair<std::uint32_t, v1::Report>>& reports) {
  DraftTrial trial(draft_of(draft));
  for (const auto& [host, report] : reports) EXPECT_TRUE(trial.on(report, host));
  v1::ReplayPolicyResponse out;
  trial.result(out);
  return out;
}

constexpr char kUploadsBlocked[] =
    "rules:\n  - {id: uploads, when: {detector: cloud_upload}, then: block}\n";
constexpr char kUploadsLimited[] =
    "rules:\n  - id: uploads\n    when: {upload_to: [cloud_storage]}\n"
    "    then: {limit: {bytes: 1MiB, window: 24h, per: person}}\n";

TEST(DraftTrial, what_a_rule_blocks_is_counted_by_report_person_and_host) {
  auto out =
      tried(kUploadsBlocked,
            {{1, upload("a", 1000, 10)}, {1, upload("b", 1000, 10)}, {2, upload("a", 1000, 10)}});
  EXPECT_EQ(out.reports(), 3u);
  EXPECT_EQ(out.decisions().at("block"), 3u);
  EXPECT_EQ(out.hosts(), 2u);
  EXPECT_EQ(out.persons(), 2u) << "a uid is somebody else on another host";
  ASSERT_EQ(out.examples_size(), 3);
  EXPECT_EQ(out.examples(0).decision().action(), v1::Action::block);
  EXPECT_EQ(out.examples(0).decision().rule(), "uploads");
  EXPECT_FALSE(out.examples(0).decision().enforced());
}

TEST(DraftTrial, a_limit_stops_only_what_would_not_have_had_room) {
  auto out = tried(kUploadsLimited, {{1, upload("a", 1000, 300'000)},    // half of it at once
                                     {1, upload("b", 1000, 300'000)},    // no room any more
                                     {1, upload("c", 1001, 300'000)},    // another person
                                     {2, upload("d", 1000, 300'000)}});  // another machine
  EXPECT_EQ(out.decisions().at("limit"), 1u);
  EXPECT_EQ(out.decisions().at("log"), 3u);
  EXPECT_EQ(out.persons(), 1u);
  ASSERT_EQ(out.examples_size(), 1) << "a finding that is logged as it was is no news";
  EXPECT_EQ(out.examples(0).id(), "b");
}

TEST(DraftTrial, a_window_fills_again) {
  auto out = tried(kUploadsLimited,
                   {{1, upload("a", 1000, 500'000)}, {1, upload("b", 1000, 500'000, 23)}});
  EXPECT_FALSE(out.decisions().contains("limit"));
}

TEST(DraftTrial, a_revision_counts_by_what_it_adds) {
  auto out = tried(kUploadsLimited, {{1, upload("a", 1000, 200'000)},
                                     {1, upload("a", 1000, 400'000)},
                                     {1, upload("a", 1000, 400'000)},
                                     {1, upload("a", 1000, 500'000)}});
  EXPECT_EQ(out.reports(), 1u);
  EXPECT_FALSE(out.decisions().contains("limit"));
  out = tried(kUploadsLimited, {{1, upload("a", 1000, 200'000)}, {1, upload("a", 1000, 600'000)}});
  EXPECT_EQ(out.decisions().at("limit"), 1u);
}

TEST(DraftTrial, what_was_stopped_and_the_draft_lets_pass_is_an_example) {
  v1::Report stopped = upload("a", 1000, 10);
  stopped.mutable_decision()->set_action(v1::Action::block);
  auto out = tried(
      "resolvers: [{address: 10.0.0.53, via: office}]\nnetworks: {office: {interface: tun0}}\n"
      "destinations: {approved: [{domain: dropboxapi.com}]}\n"
      "rules:\n  - {id: uploads, when: {detector: cloud_upload, destination: {not: approved}}, "
      "then: block}\n",
      {{1, stopped}});
  EXPECT_EQ(out.hosts(), 0u);
  ASSERT_EQ(out.examples_size(), 1);
  EXPECT_EQ(out.examples(0).decision().action(), v1::Action::log);
}

TEST(DraftTrial, the_strictest_hundred_are_shown) {
  DraftTrial trial(draft_of(kUploadsBlocked));
  for (int n = 0; n < 150; ++n) {
    v1::Report stopped = upload("quiet" + std::to_string(n), 1000, 10);
    stopped.mutable_finding()->set_detector("bulk_egress");
    stopped.mutable_decision()->set_action(v1::Action::block);  // now only logged
    EXPECT_TRUE(trial.on(stopped, 1));
  }
  for (int n = 0; n < 60; ++n)
    EXPECT_TRUE(trial.on(upload("loud" + std::to_string(n), 1000, 10), 1));
  v1::ReplayPolicyResponse out;
  trial.result(out);
  ASSERT_EQ(out.examples_size(), static_cast<int>(kMaxExamples));
  for (int n = 0; n < 60; ++n)
    EXPECT_EQ(out.examples(n).decision().action(), v1::Action::block) << n;
}

TEST(DraftTrial, what_a_report_claims_of_itself_is_bounded) {
  v1::Report absurd = upload("a", 1000, UINT64_MAX);
  absurd.mutable_updated()->set_seconds(INT64_MAX);
  absurd.mutable_destination()->set_address("no address");
  absurd.mutable_destination()->set_name(std::string(300, '.'));
  absurd.mutable_destination()->set_trust(static_cast<v1::Trust::Value>(77));
  absurd.mutable_decision()->set_action(static_cast<v1::Action::Value>(77));
  auto out = tried(kUploadsLimited, {{1, absurd}});
  EXPECT_EQ(out.reports(), 1u);
}

TEST(DraftTrial, what_the_draft_lists_is_known_where_its_name_was_proven_then) {
  constexpr char kKnown[] =
      "networks: {office: {interface: tun0}}\nresolvers: [{address: 10.0.0.53, via: office}]\n"
      "destinations: {known: [{domain: press.example}]}\n"
      "rules:\n  - {id: elsewhere, when: {trust: unknown}, then: block}\n";
  const auto blocked = [&](const char* name, v1::Trust::Value then, bool proven) {
    v1::Report report = upload("a", 1000, 10);
    report.mutable_destination()->set_name(name);
    report.mutable_destination()->set_trust(then);
    if (proven) report.mutable_destination()->set_name_proven(true);
    return tried(kKnown, {{1, report}}).decisions().count("block") == 1;
  };
  EXPECT_FALSE(blocked("www.press.example", v1::Trust::unknown, true));
  EXPECT_TRUE(blocked("www.press.example", v1::Trust::unknown, false)) << "it was only said";
  EXPECT_TRUE(blocked("www.other.example", v1::Trust::unknown, true));
  EXPECT_TRUE(blocked("www.other.example", v1::Trust::known, true)) << "the draft lists it no more";
}

}  // namespace
}  // namespace weir
