// Truth tables of the evaluator: conditions, precedence, allow, and what is possible before a name.
#include "core/policy/evaluate.h"

#include <random>

#include "core/policy/compile.h"
#include "core/policy/default_policy.h"
#include "tests/core/policy/sample.h"

namespace weir {
namespace {

Policy rules(const std::string& yaml) {
  std::string text = with_rules(yaml);
  text.insert(text.find("services:"),
              "resolvers: [{address: 10.0.0.53, via: office}]\n"
              "destinations: {approved: [{service: crm}]}\n");
  return must_parse(text);
}

bool matches(const std::string& when, const Facts& facts) {
  const Policy p = rules("  - {id: a, when: " + when + ", then: log}\n");
  return !evaluate(p, facts).matched.empty();
}

bool possible(const std::string& when, const Facts& facts) {
  const Policy p =
      rules("  - {id: a, when: " + when + ", then: {limit: {bytes: 1MiB, per: host}}}\n");
  return possible_limits(p, facts) != 0;
}

Facts some_facts() {
  Facts f;
  f.destination.endpoint = {*IpAddress::parse("203.0.113.9"), 443};
  f.destination.name = "content.dropboxapi.com";
  f.destination.service = "dropbox";
  f.destination.category = "cloud_storage";
  f.destination.channel = "tls";
  f.destination.trust = Trust::upload;
  f.actor.person = 1000;
  f.actor.program = "/usr/bin/curl";
  f.labels = {"list"};
  f.weight = 200;
  f.burst = 65536;
  f.detector = "cloud_upload";
  return f;
}

TEST(evaluate, each_field_holds_and_fails_as_it_says) {
  const Facts f = some_facts();
  for (const char* when : {"{label: list}",
                           "{label: [code, list]}",
                           "{weight: strict}",
                           "{weight: 200}",
                           "{trust: upload}",
                           "{trust: [unknown, upload]}",
                           "{upload_to: cloud_storage}",
                           "{upload_to: [paste, dropbox]}",
                           "{burst: 64KiB}",
                           "{destination: {domain: dropboxapi.com}}",
                           "{destination: {domain: content.dropboxapi.com}}",
                           "{destination: {service: dropbox}}",
                           "{destination: {cidr: [10.0.0.0/8, 203.0.113.0/24]}}",
                           "{destination: {category: cloud_storage}}",
                           "{destination: {not: approved}}",
                           "{detector: cloud_upload}",
                           "{program: curl}",
                           "{program: /usr/bin/curl}",
                           "{person: 1000}",
                           "{channel: tls}",
                           "{not: {person: 1001}}",
                           "{label: list, person: 1000}",
                           "{any: [{person: 7}, {channel: tls}]}",
                           "{all: [{person: 1000}, {channel: tls}]}"})
    EXPECT_TRUE(matches(when, f)) << when;
  for (const char* when : {"{label: code}",
                           "{weight: 201}",
                           "{trust: approved}",
                           "{upload_to: paste}",
                           "{burst: 65537}",
                           "{destination: {domain: xdropboxapi.com}}",
                           "{destination: {domain: a.content.dropboxapi.com}}",
                           "{destination: {service: box}}",
                           "{destination: {cidr: 10.0.0.0/8}}",
                           "{destination: {category: paste}}",
                           "{destination: approved}",
                           "{detector: dns_tunnel}",
                           "{program: wget}",
                           "{program: /bin/curl}",
                           "{person: 1001}",
                           "{channel: quic}",
                           "{not: {person: 1000}}",
                           "{label: list, person: 1001}",
                           "{any: [{person: 7}, {channel: dns}]}",
                           "{all: [{person: 1000}, {channel: dns}]}",
                           "{destination: {service: dropbox, category: paste}}"})
    EXPECT_FALSE(matches(when, f)) << when;
}

TEST(evaluate, what_is_missing_is_not_so) {
  const Facts nothing;
  for (const char* when :
       {"{label: list}", "{weight: 1}", "{trust: unknown}", "{upload_to: paste}", "{burst: 1}",
        "{destination: {domain: a.example}}", "{destination: {service: crm}}",
        "{destination: {category: paste}}", "{destination: approved}", "{detector: tunnel}",
        "{program: curl}", "{person: 0}", "{channel: tls}"}) {
    EXPECT_FALSE(matches(when, nothing)) << when;
    EXPECT_TRUE(matches(std::string("{not: ") + when + "}", nothing)) << when;
  }
}

TEST(evaluate, a_service_of_the_policy_is_found_by_its_names_and_ranges) {
  Facts f;
  f.destination.name = "www.crm.example";
  EXPECT_TRUE(matches("{destination: {service: crm}}", f));
  f.destination.name = "wwwcrm.example";
  EXPECT_FALSE(matches("{destination: {service: crm}}", f));
  f.destination.endpoint.address = *IpAddress::parse("198.51.100.7");
  EXPECT_TRUE(matches("{destination: {service: crm}}", f));
}

TEST(evaluate, a_dns_finding_matches_a_domain_by_its_zone) {
  Facts f;
  f.destination.zone = "t.evil.example";
  f.detector = "dns_tunnel";
  EXPECT_TRUE(matches("{destination: {domain: evil.example}, detector: dns_tunnel}", f));
  EXPECT_FALSE(matches("{destination: {domain: good.example}, detector: dns_tunnel}", f));
}

constexpr const char* kLadder = R"(
  - {id: log, when: {person: [1, 2, 3, 4]}, then: {log: , severity: low}}
  - {id: limit, when: {person: [2, 3, 4]}, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: hold, when: {person: [3, 4]}, then: {hold: {for: 45s}, severity: high}}
  - {id: block, when: {person: 4}, then: block}
  - {id: limit2, when: {person: 4}, then: {limit: [{bytes: 1MiB, per: person}, {bytes: 2MiB, per: host}]}}
)";

TEST(evaluate, the_strictest_of_all_matching_rules_wins_and_every_limit_counts) {
  const Policy p = rules(kLadder);
  const struct {
    PersonId person;
    Action action;
    const char* rule;
    std::uint64_t limits;
    Severity severity;
    std::size_t matched;
  } cases[] = {
      {0, Action::allow, "", 0, Severity::unspecified, 0},
      {1, Action::log, "log", 0, Severity::low, 1},
      {2, Action::limit, "limit", 0b1, Severity::low, 2},
      {3, Action::hold, "hold", 0b1001, Severity::high, 3},
      {4, Action::block, "block", 0b1111, Severity::high, 5}};  // the last row is the hold's
  for (const auto& expected : cases) {
    Facts f;
    f.actor.person = expected.person;
    const Verdict v = evaluate(p, f);
    EXPECT_EQ(v.decision.action, expected.action);
    EXPECT_EQ(v.decision.rule, expected.rule);
    EXPECT_EQ(v.limits, expected.limits);
    EXPECT_EQ(v.severity, expected.severity);
    EXPECT_EQ(v.matched.size(), expected.matched);
    EXPECT_EQ(v.decision.enforced, expected.action >= Action::limit);
  }
}

constexpr const char* kAllow = R"(
  - {id: small, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: smaller, then: {limit: {bytes: 512KiB, per: person}}}
  - {id: courier, when: {destination: {domain: courier.example}}, then: {allow: {excepts: smaller}}}
  - {id: backup, when: {program: /usr/bin/restic}, then: {allow: {excepts: [small, smaller]}}}
)";

TEST(evaluate, allow_sets_aside_exactly_the_rules_that_it_names) {
  const Policy p = rules(kAllow);
  Facts f;
  EXPECT_EQ(evaluate(p, f).limits, 0b11u);
  f.destination.name = "www.courier.example";
  f.name_proven = true;
  Verdict v = evaluate(p, f);
  EXPECT_EQ(v.limits, 0b01u);
  EXPECT_EQ(v.set_aside, std::vector<std::string>{"smaller"});
  EXPECT_EQ(v.decision.action, Action::limit);
  f.actor.program = "/usr/bin/restic";
  v = evaluate(p, f);
  EXPECT_EQ(v.limits, 0u);
  EXPECT_EQ(v.decision.action, Action::allow);
  EXPECT_EQ(v.decision.rule, "courier");
}

TEST(evaluate, a_name_that_is_only_claimed_sets_nothing_aside) {
  const Policy p = rules(kAllow);
  Facts f;
  f.destination.name = "www.courier.example";
  EXPECT_EQ(evaluate(p, f).limits, 0b11u);
  const Policy inverse = rules(R"(
  - {id: all, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: others, when: {not: {destination: {domain: evil.example}}}, then: {allow: {excepts: all}}}
)");
  f.destination.name = "good.example";
  EXPECT_EQ(evaluate(inverse, f).limits, 1u) << "that it claims another name proves nothing either";
  f.name_proven = true;
  EXPECT_EQ(evaluate(inverse, f).limits, 0u);
}

TEST(evaluate, a_finding_that_no_rule_speaks_of_is_logged_and_a_flow_is_allowed) {
  Facts f;
  EXPECT_EQ(evaluate(*default_policy(), f).decision.action, Action::allow);
  f.detector = "dns_tunnel";
  const Verdict v = evaluate(*default_policy(), f);
  EXPECT_EQ(v.decision.action, Action::log);
  EXPECT_EQ(v.decision.rule, "");
  EXPECT_EQ(v.limits, 0u);
  EXPECT_EQ(default_policy()->mode, Mode::observe);
  EXPECT_TRUE(unenforceable(*default_policy()).empty());
}

TEST(evaluate, observe_decides_the_same_and_enforces_nothing) {
  Policy p = rules(kLadder);
  p.mode = Mode::observe;
  Facts f;
  f.actor.person = 4;
  const Verdict v = evaluate(p, f);
  EXPECT_EQ(v.decision.action, Action::block);
  EXPECT_EQ(v.limits, 0b1111u);
  EXPECT_FALSE(v.decision.enforced);
}

TEST(possible_limits, what_is_unknown_of_a_new_flow_counts_as_possible) {
  Facts f;
  f.destination.endpoint.address = *IpAddress::parse("203.0.113.9");
  for (const char* when :
       {"{label: list}", "{weight: 1}", "{trust: unknown}", "{upload_to: paste}", "{burst: 1}",
        "{destination: {domain: a.example}}", "{destination: {service: crm}}",
        "{destination: {category: paste}}", "{destination: approved}", "{program: curl}",
        "{person: 0}", "{channel: tls}", "{destination: {cidr: 203.0.113.0/24}}"})
    EXPECT_TRUE(possible(when, f)) << when;
  for (const char* when :
       {"{trust: unknown}", "{destination: {domain: a.example}}", "{destination: approved}",
        "{program: curl}", "{label: list}", "{channel: tls}"})
    EXPECT_TRUE(possible(std::string("{not: ") + when + "}", f))
        << "not unknown is unknown: " << when;
  EXPECT_FALSE(possible("{destination: {cidr: 10.0.0.0/8}}", f));
  EXPECT_FALSE(possible("{destination: {cidr: 10.0.0.0/8, domain: a.example}}", f));
  EXPECT_TRUE(possible("{any: [{destination: {cidr: 10.0.0.0/8}}, {trust: unknown}]}", f));
}

TEST(possible_limits, a_known_name_settles_domain_service_and_category) {
  Facts f;
  f.destination.name = "www.shop.example";
  EXPECT_FALSE(possible("{upload_to: cloud_storage}", f));
  EXPECT_FALSE(possible("{destination: {service: dropbox}}", f));
  EXPECT_FALSE(possible("{destination: {domain: a.example}}", f));
  EXPECT_TRUE(possible("{destination: {domain: shop.example}}", f));
  EXPECT_TRUE(possible("{trust: unknown}", f));
}

TEST(possible_limits, a_row_that_waits_for_a_finding_does_not_count_before_it) {
  EXPECT_FALSE(possible("{detector: cloud_upload}", Facts{}));
}

TEST(possible_limits, an_allow_takes_a_row_away_only_when_it_surely_applies) {
  const Policy p = rules(kAllow);
  Facts f;
  EXPECT_EQ(possible_limits(p, f), 0b11u);
  f.destination.name = "www.courier.example";
  EXPECT_EQ(possible_limits(p, f), 0b11u);
  f.name_proven = true;
  EXPECT_EQ(possible_limits(p, f), 0b01u);
}

// Whatever is learnt later, the rows of the verdict were among the possible ones: else a first
// flight would have gone uncharged.
TEST(possible_limits, always_contain_what_the_verdict_finds_when_more_is_known) {
  const Policy p = rules(R"(
  - {id: r0, when: {trust: unknown}, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: r1, when: {not: {destination: {domain: shop.example}}}, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: r2, when: {any: [{program: curl}, {all: [{label: list}, {not: {channel: tls}}]}]}, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: r3, when: {upload_to: [cloud_storage, crm], destination: {not: approved}}, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: r4, when: {person: 1000, destination: {cidr: 203.0.113.0/24}}, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: r5, when: {not: {any: [{trust: known}, {weight: 20}]}}, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: r6, when: {destination: {service: crm}}, then: {limit: {bytes: 1MiB, per: host}}}
  - {id: x1, when: {destination: {domain: shop.example}}, then: {allow: {excepts: [r0, r5]}}}
  - {id: x2, when: {not: {program: curl}}, then: {allow: {excepts: r1}}}
)");
  std::mt19937 random(11);
  const auto coin = [&] { return random() % 2 == 0; };
  std::uint64_t seen = 0;
  for (int i = 0; i < 20000; ++i) {
    Facts early;
    early.destination.endpoint.address = *IpAddress::parse(coin() ? "203.0.113.9" : "198.51.100.1");
    Facts late = early;
    late.destination.name = coin() ? "www.shop.example" : "crm.example";
    late.destination.category = coin() ? "cloud_storage" : "";
    late.destination.trust = static_cast<Trust>(1 + random() % 6);
    late.destination.channel = coin() ? "tls" : "http";
    late.actor.program = coin() ? "/usr/bin/curl" : "/usr/bin/wget";
    late.actor.person = coin() ? 1000 : 1001;
    if (coin()) late.labels = {"list"};
    late.weight = random() % 40;
    late.approved = late.destination.trust == Trust::approved;
    late.name_proven = coin();
    // What an early look may know already.
    if (coin()) early.actor = late.actor;
    if (coin()) early.destination.trust = late.destination.trust, early.approved = late.approved;
    const std::uint64_t rows = evaluate(p, late).limits;
    EXPECT_EQ(rows & ~possible_limits(p, early), 0u) << i;
    seen |= rows;
  }
  EXPECT_EQ(seen, 0b1111111u) << "every row must have been exercised";
}

TEST(unenforceable, names_rule_and_part) {
  const Policy sample = must_parse(read_tree_file("data/policies/support-desk.yaml"));
  std::string all;
  for (const auto& sentence : unenforceable(sample)) all += sentence + "\n";
  for (const char* part :
       {"rule customer-list-stays: label:", "rule customer-list-stays: weight:",
        "rule known-web-after-a-read: label:", "rule no-personal-cloud: burst:",
        "rule tunnels: detector tunnel:", "labels: customer-data:", "indexes: crm:"})
    EXPECT_NE(all.find(part), std::string::npos) << part << "\n" << all;
  for (const char* part : {"unknown-places", "courier-claims", "destinations:", "resolvers:"})
    EXPECT_EQ(all.find(part), std::string::npos) << part << "\n" << all;
}

TEST(unenforceable, approval_that_nothing_can_prove_is_named_with_what_is_missing) {
  Policy sample = must_parse(read_tree_file("data/policies/support-desk.yaml"));
  const auto all_of = [](const Policy& policy) {
    std::string all;
    for (const auto& sentence : unenforceable(policy)) all += sentence + "\n";
    return all;
  };
  sample.resolvers[0].via.clear();  // it narrows, and proves nothing
  std::string all = all_of(sample);
  for (const char* part : {"approved: 'our-crm' is approved by its name, but no resolver",
                           "approved: 'example-corp.com' is approved by its name, but no resolver",
                           "rule courier-claims: allow sets rules aside by a name"})
    EXPECT_NE(all.find(part), std::string::npos) << part << "\n" << all;
  EXPECT_EQ(all.find("10.0.0.0/8"), std::string::npos) << all;
  sample.networks.clear();
  EXPECT_NE(all_of(sample).find("'10.0.0.0/8' is approved over a network, but"), std::string::npos);
}

TEST(unenforceable, what_this_version_enforces_is_accepted) {
  const Policy p = rules(R"(
  - {id: a, when: {trust: unknown, program: curl}, then: {limit: [{bytes: 1MiB, window: 24h, per: destination}, {bytes: 2MiB, per: person}]}}
  - {id: b, when: {upload_to: cloud_storage, person: 1000}, then: {limit: {bytes: 1MiB, per: process_tree}}}
  - {id: c, when: {detector: dns_tunnel}, then: block}
  - {id: d, when: {detector: cloud_upload, burst: 64KiB}, then: {limit: {bytes: 1MiB, per: [host, destination]}}}
  - {id: e, when: {program: backup}, then: {allow: {excepts: a}}}
  - {id: f, then: log}
  - {id: g, when: {upload_to: cloud_storage}, then: {hold: {for: 45s, ask: justification}}}
  - {id: h, when: {program: curl}, then: {hold: {for: 1s, otherwise: allow}}}
)");
  Policy without_labels = p;
  without_labels.labels.clear();
  EXPECT_EQ(unenforceable(without_labels), std::vector<std::string>{});
}

TEST(unenforceable, a_hold_of_a_version_that_could_not_hold_is_refused) {
  Policy p = rules("  - {id: g, when: {trust: unknown}, then: {hold: {for: 45s}}}\n");
  ASSERT_EQ(p.rules[0].limits.size(), 1u);
  EXPECT_TRUE(check_policy(p).empty());
  p.rules[0].limits.clear();
  p.limits.clear();
  EXPECT_TRUE(check_policy(p).empty()) << "it observes as it did";
  const std::vector<std::string> missing = unenforceable(p);
  EXPECT_TRUE(std::any_of(missing.begin(), missing.end(), [](const std::string& sentence) {
    return sentence.find("publish the policy again") != std::string::npos;
  }));
}

TEST(unenforceable, every_other_action_and_field_is_refused) {
  const struct {
    const char* rule;
    const char* part;
  } cases[] = {
      {"{id: a, when: {trust: unknown}, then: isolate}", "rule a: isolate:"},
      {"{id: a, when: {trust: unknown}, then: warn}", "rule a: warn:"},
      {"{id: a, when: {trust: unknown}, then: {hold: {for: 46s}}}", "rule a: hold: for is from"},
      {"{id: a, when: {detector: bulk_egress}, then: {hold: {for: 45s}}}",
       "rule a: hold: a finding comes when"},
      {"{id: a, when: {trust: unknown}, then: block}", "rule a: block:"},
      {"{id: a, then: {limit: {customers: 5, per: host}}}", "rule a: limit customers:"},
      {"{id: a, when: {burst: 1MiB}, then: {limit: {bytes: 1MiB, per: host}}}", "rule a: burst:"},
      {"{id: a, when: {label: list}, then: log}", "rule a: label:"},
      {"{id: a, when: {weight: 5}, then: log}", "rule a: weight:"},
      {"{id: a, when: {detector: off_baseline}, then: log}", "rule a: detector off_baseline:"},
  };
  for (const auto& bad : cases) {
    std::string all;
    for (const auto& sentence : unenforceable(rules(std::string("  - ") + bad.rule + "\n")))
      all += sentence + "\n";
    EXPECT_NE(all.find(bad.part), std::string::npos) << bad.rule << "\n" << all;
  }
}

TEST(possible_limits, an_address_that_is_not_known_yet_may_be_in_any_range) {
  EXPECT_TRUE(possible("{destination: {cidr: 10.0.0.0/8}}", Facts{}));
  EXPECT_TRUE(possible("{destination: {not: {cidr: 0.0.0.0/0}}}", Facts{}));
}

}  // namespace
}  // namespace weir
