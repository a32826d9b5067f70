// The YAML surface: what compiles to what, and where each mistake is told.
#include "core/policy/surface/surface.h"

#include "core/policy/compile.h"
#include "core/policy/evaluate.h"
#include "tests/core/policy/sample.h"

namespace weir {
namespace {

using Kind = Condition::Kind;
using Field = Condition::Field;

TEST(surface, a_network_may_say_where_its_tunnel_leads) {
  const std::string head =
      "apiVersion: weir/v1\nname: p\nnetworks: {office: {interface: wg0, gateway: ";
  const std::string rest = "}}\nrules: [{id: r, then: log}]\n";
  const Policy one = must_parse(head + "198.51.100.7" + rest);
  ASSERT_EQ(one.networks.at(0).gateways.size(), 1u);
  EXPECT_EQ(one.networks[0].gateways[0].text(), "198.51.100.7");
  EXPECT_EQ(must_parse(head + "[198.51.100.7, 2001:db8::7]" + rest).networks[0].gateways.size(),
            2u);
}

TEST(surface, the_sample_of_the_contract_compiles_whole) {
  const Policy p = must_parse(read_tree_file("data/policies/support-desk.yaml"));
  EXPECT_EQ(p.name, "support-desk");
  EXPECT_EQ(p.mode, Mode::observe);
  EXPECT_EQ(p.on_exit, OnExit::keep);
  EXPECT_EQ(p.defaults.on_deadline, Action::allow);
  EXPECT_EQ(p.defaults.first_flight, 16u * 1024);
  EXPECT_EQ(p.defaults.answers, 32u << 20);
  ASSERT_EQ(p.networks.size(), 1u);
  EXPECT_EQ(p.networks[0].interface, "tun0");
  ASSERT_EQ(p.resolvers.size(), 1u);
  EXPECT_EQ(p.resolvers[0].address.text(), "10.0.0.53");
  EXPECT_EQ(p.resolvers[0].via, "office");
  ASSERT_EQ(p.services.size(), 1u);
  EXPECT_EQ(p.services[0].domains, std::vector<std::string>{"crm.example-corp.com"});
  ASSERT_EQ(p.indexes.size(), 1u);
  EXPECT_EQ(p.indexes[0].file, "crm.edm");

  ASSERT_EQ(p.labels.size(), 1u);
  const Label& label = p.labels[0];
  EXPECT_EQ(label.id, "customer-data");
  ASSERT_EQ(label.any.size(), 4u);
  EXPECT_EQ(label.any[0].what, "cn_resident_id");
  EXPECT_EQ(label.any[0].unique, 5u);
  EXPECT_EQ(label.any[1].kind, LabelSource::Kind::exact_match);
  EXPECT_EQ(label.any[2].what, "/srv/crm/export");
  EXPECT_EQ(label.any[3].above, "own_p99");
  EXPECT_EQ(label.any[3].floor, 8u * 1024 * 1024);
  EXPECT_EQ(label.any[3].bytes_per_customer, 200u);
  EXPECT_EQ(label.weight.strict, 200u);
  EXPECT_EQ(label.weight.half_life_ns, 3600'000'000'000);

  ASSERT_EQ(p.approved.size(), 3u);
  EXPECT_EQ(p.approved[2].prefix.text(), "10.0.0.0/8");
  EXPECT_EQ(p.approved[2].via, "office");

  ASSERT_EQ(p.rules.size(), 6u);
  const Rule& first = p.rules[0];
  EXPECT_EQ(first.severity, Severity::high);
  EXPECT_EQ(first.when.kind, Kind::all);
  ASSERT_EQ(first.when.parts.size(), 3u);
  EXPECT_EQ(first.when.parts[1].field, Field::weight);
  EXPECT_EQ(first.when.parts[1].number, 200u) << "strict, as the label beside it says";
  EXPECT_EQ(first.limits, (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(p.limits[0].bytes, 16u * 1024);
  EXPECT_EQ(p.limits[0].per, Per::destination);
  EXPECT_EQ(p.limits[0].window_ns, 24 * 3600'000'000'000);
  EXPECT_EQ(p.limits[0].labels, 1u);
  EXPECT_EQ(p.limits[3].labels, 0u);
  ASSERT_TRUE(p.rules[2].hold);
  EXPECT_EQ(p.rules[2].hold->for_ns, 45'000'000'000);
  EXPECT_EQ(p.rules[2].hold->otherwise, Action::block);
  EXPECT_EQ(p.rules[4].excepts, std::vector<std::string>{"unknown-places"});
  EXPECT_EQ(p.rules[5].action, Action::block);
  ASSERT_EQ(p.limits.size(), 6u) << "the hold has a row of its own, after the limits";
  EXPECT_TRUE(is_hold(p.limits[5]));
  EXPECT_EQ(p.rules[2].limits, std::vector<std::uint32_t>{5});
}

TEST(surface, every_action_and_every_form_of_a_limit_compiles) {
  const Policy p = must_parse(with_rules(R"(
  - {id: a, then: log}
  - {id: b, then: {log: }}
  - {id: c, then: {warn: {}, severity: low}}
  - {id: d, then: {limit: {bytes: 1000000, per: process_tree}}}
  - {id: e, then: {limit: {customers: 20, window: 7d, per: person}}}
  - {id: f, then: {limit: [{bytes: 10MB, customers: 5, window: 60m, per: host}, {bytes: 1GiB, per: [process_tree, destination]}]}}
  - {id: g, then: {limit: [{bytes: 5kB, window: 24h, per: [host, destination]}, {bytes: 2GB, per: [person, destination]}, {bytes: 3, per: destination}, {bytes: 10MiB, per: flow}]}}
  - {id: h, when: {trust: unknown}, then: {hold: {for: 5m}}}
  - {id: i, when: {detector: dns_tunnel}, then: {block: , severity: critical}}
  - {id: j, when: {detector: dns_tunnel}, then: isolate}
  - {id: k, then: {allow: {excepts: [d, e]}}}
)"));
  ASSERT_EQ(p.limits.size(), 9u);
  EXPECT_EQ(p.limits[0].bytes, 1000000u);
  EXPECT_EQ(p.limits[0].window_ns, 0);
  EXPECT_EQ(p.limits[0].per, Per::process_tree);
  EXPECT_TRUE(p.limits[0].liftable) << "an allow sets it aside";
  EXPECT_FALSE(p.limits[1].bytes);
  EXPECT_EQ(p.limits[1].customers, 20u);
  EXPECT_EQ(p.limits[2].bytes, 10'000'000u);
  EXPECT_EQ(p.limits[2].customers, 5u);
  EXPECT_EQ(p.limits[2].window_ns, 3600'000'000'000);
  EXPECT_FALSE(p.limits[2].liftable) << "always applies, and nothing sets it aside";
  EXPECT_EQ(p.limits[3].per, Per::process_tree_destination);
  EXPECT_EQ(p.limits[4].per, Per::host_destination);
  EXPECT_EQ(p.limits[5].per, Per::destination);
  EXPECT_EQ(p.limits[6].per, Per::destination);
  EXPECT_EQ(p.limits[7].per, Per::flow);
  EXPECT_EQ(p.limits[7].window_ns, 0);
  EXPECT_EQ(p.rules[2].severity, Severity::low);
  EXPECT_EQ(p.rules[7].hold->otherwise, Action::block);
  EXPECT_EQ(p.rules[8].severity, Severity::critical);
  EXPECT_EQ(p.rules[9].action, Action::isolate);
}

TEST(surface, groups_nest_and_several_keys_mean_all) {
  const Policy p = must_parse(with_rules(R"(
  - id: a
    when:
      trust: [unknown, upload]
      any:
        - program: curl
        - all: [{person: 1000}, {not: {channel: dns, program: /usr/bin/dig}}]
      destination: {domain: a.example, not: {service: [crm, dropbox]}}
    then: log
)"));
  const Condition& when = p.rules[0].when;
  EXPECT_EQ(when.kind, Kind::all);
  ASSERT_EQ(when.parts.size(), 3u);
  EXPECT_EQ(when.parts[0].values, (std::vector<std::string>{"unknown", "upload"}));
  const Condition& to = when.parts[1];
  EXPECT_EQ(to.kind, Kind::all);
  EXPECT_EQ(to.parts[1].kind, Kind::none);
  EXPECT_EQ(to.parts[1].parts[0].field, Field::destination_service);
  const Condition& any = when.parts[2];
  EXPECT_EQ(any.kind, Kind::any);
  EXPECT_EQ(any.parts[1].parts[1].kind, Kind::none);
  EXPECT_EQ(any.parts[1].parts[1].parts[0].parts.size(), 2u);
}

struct Bad {
  const char* yaml;
  const char* error;
};

void expect_errors(std::initializer_list<Bad> cases, bool rules_only) {
  for (const Bad& bad : cases) {
    const auto policy = parse_policy(rules_only ? with_rules(bad.yaml) : bad.yaml, "p.yaml");
    ASSERT_FALSE(policy) << bad.yaml;
    EXPECT_EQ(policy.error().sentence, bad.error) << bad.yaml;
  }
}

TEST(surface, a_mistake_in_a_rule_is_told_with_its_place_and_what_is_allowed) {
  expect_errors(
      {
          {"  - {id: a, then: {limit: {bytes: 16KB, per: host}}}\n",
           "p.yaml:8:35: rules[0].then.limit.bytes: '16KB' is not allowed here; allowed: a whole "
           "number of bytes, or one with KiB, MiB, GiB, kB, MB or GB, such as 64KiB"},
          {"  - {id: a, then: {limit: {bytes: 16KiB, window: 2h, per: host}}}\n",
           "p.yaml:8:50: rules[0].then.limit.window: '2h' is not allowed here; allowed: one of 1h, "
           "24h, 7d"},
          {"  - {id: a, then: {limit: {bytes: 16KiB, per: user}}}\n",
           "p.yaml:8:47: rules[0].then.limit.per: 'user' is not allowed here; allowed: "
           "process_tree, person, host, destination or flow"},
          {"  - {id: a, then: {limit: {bytes: 16KiB, per: [flow, destination]}}}\n",
           "p.yaml:8:47: rules[0].then.limit.per: a pair is [process_tree, destination], [person, "
           "destination] or [host, destination]"},
          {"  - {id: a, then: {limit: {bytes: 16KiB, window: 24h, per: flow}}}\n",
           "p.yaml:8:5: rules[0]: rule 'a': a limit per flow has no window, since a flow's account "
           "ends with the flow; leave it out, or say per: person for what leaves in that time"},
          {"  - {id: a, then: {limit: {bytes: 16KiB, per: [person, host]}}}\n",
           "p.yaml:8:47: rules[0].then.limit.per: a pair is [process_tree, destination], [person, "
           "destination] or [host, destination]"},
          {"  - {id: a, then: {limit: {window: 1h, per: host}}}\n",
           "p.yaml:8:27: rules[0].then.limit: needs at least one of bytes or customers"},
          {"  - {id: a, then: {limit: {bytes: 16KiB}}}\n",
           "p.yaml:8:27: rules[0].then.limit: 'per' is missing: process_tree, person, host, "
           "destination or flow, or a list of such"},
          {"  - {id: a, then: {limit: {bytes: 0, per: host}}}\n",
           "p.yaml:8:5: rules[0]: rule 'a': a limit of 0 bytes lets nothing leave; say block "
           "instead"},
          {"  - {id: a, then: {limt: {bytes: 1, per: host}}}\n",
           "p.yaml:8:19: rules[0].then: needs exactly one of allow, log, warn, limit, hold, block "
           "or isolate\np.yaml:8:20: rules[0].then: 'limt' is not known here; allowed: allow, log, "
           "warn, limit, hold, block, isolate or severity"},
          {"  - {id: a, then: {log: , warn: }}\n",
           "p.yaml:8:19: rules[0].then: needs exactly one of allow, log, warn, limit, hold, block "
           "or isolate"},
          {"  - {id: a, then: {log: loudly}}\n",
           "p.yaml:8:25: rules[0].then.log: takes no value, but has a plain value"},
          {"  - {id: a, then: allow}\n",
           "p.yaml:8:19: rules[0].then: 'allow' is not allowed here; allowed: log, warn, block or "
           "isolate, or a mapping with allow, log, warn, limit, hold, block, isolate or severity"},
          {"  - {id: a, then: {allow: {excepts: [b]}}}\n",
           "p.yaml:8:5: rules[0]: rule 'a': excepts 'b', but no rule has this id"},
          {"  - {id: a, then: {allow: {}}}\n",
           "p.yaml:8:27: rules[0].then.allow: 'excepts' is missing: an id of a-z, 0-9, '-' and "
           "'_', at most 64 long, or a list of such"},
          {"  - {id: a, then: block}\n",
           "p.yaml:8:5: rules[0]: rule 'a': without 'when' it would stop all that this host sends, "
           "its name look-ups, its clock and its way to the collector included; say what it is "
           "about"},
          {"  - {id: a, then: log}\n  - {id: a, then: log}\n",
           "p.yaml:9:10: rules[1].id: 'a' is the id of an earlier rule, on line 8"},
          {"  - {id: A b, then: log}\n",
           "p.yaml:8:10: rules[0].id: 'A b' is not allowed here; allowed: an id of a-z, 0-9, '-' "
           "and '_', at most 64 long"},
          {"  - {id: a, id: b, then: log}\n", "p.yaml:8:13: rules[0]: 'id' stands here twice"},
          {"  - {id: a, when: {label: lst}, then: log}\n",
           "p.yaml:8:27: rules[0].when.label: 'lst' is no label of this policy; allowed: list "
           "or code"},
          {"  - {id: a, when: {destination: {service: crn}}, then: log}\n",
           "p.yaml:8:43: rules[0].when.destination.service: 'crn' is neither a service of this "
           "policy nor of the catalogue; allowed: crm, or an id of data/catalogue.txt such as "
           "dropbox"},
          {"  - {id: a, when: {detector: dns_tunel}, then: log}\n",
           "p.yaml:8:30: rules[0].when.detector: 'dns_tunel' is not allowed here; allowed: "
           "dns_tunnel, encrypted_dns, cloud_upload, bulk_egress, messaging_upload, "
           "mail_attachment, tunnel, name_mismatch, sensitive_content, encrypted_container or "
           "off_baseline"},
          {"  - {id: a, when: {trust: [unknown, bad]}, then: log}\n",
           "p.yaml:8:37: rules[0].when.trust[1]: 'bad' is not allowed here; allowed: approved, "
           "known, unknown, upload, infrastructure or undeclared_udp"},
          {"  - {id: a, when: {destination: {cidr: 10.0.0.0/33}}, then: log}\n",
           "p.yaml:8:40: rules[0].when.destination.cidr: '10.0.0.0/33' is not allowed here; "
           "allowed: an address range such as 10.0.0.0/8"},
          {"  - {id: a, when: {}, then: log}\n",
           "p.yaml:8:19: rules[0].when: needs at least one of label, weight, trust, upload_to, "
           "burst, destination, detector, program, person, channel, all, any or not"},
          {"  - {id: a, when: {any: []}, then: log}\n",
           "p.yaml:8:25: rules[0].when.any: the list is empty; leave it out instead"},
          {"  - {id: a, when: {person: alice}, then: log}\n",
           "p.yaml:8:28: rules[0].when.person: 'alice' is not allowed here; allowed: a login uid "
           "(a "
           "number)"},
          {"  - {id: a, when: {trust: unknown}, then: {hold: {for: 45}}}\n",
           "p.yaml:8:56: rules[0].then.hold.for: '45' is not allowed here; allowed: a whole number "
           "with s, m, h or d, such as 45s or 24h"},
          {"  - {id: a, when: {trust: unknown}, then: {hold: {for: 1h}}}\n",
           "p.yaml:8:5: rules[0]: rule 'a': a hold lasts at most 5m: servers close a waiting "
           "request sooner"},
          {"  - {id: a, then: {limit: {bytes: 4000, window: 1h, per: host}}}\n",
           "p.yaml:8:5: rules[0]: rule 'a': a windowed limit below 4KiB would not even let a TLS "
           "hello leave (half of it is sent at once); say block, or raise it"},
          {"  - just words\n",
           "p.yaml:8:5: rules[0]: 'just words' is not allowed here; allowed: a mapping with id, "
           "when "
           "or then"},
      },
      true);
}

TEST(surface, a_mistake_outside_the_rules_is_told_too) {
  const std::string head = "apiVersion: weir/v1\nname: p\n";
  const std::string tail = "rules: [{id: a, then: log}]\n";
  const struct {
    const char* middle;
    const char* error;
  } cases[] = {
      {"mode: enforced\n",
       "p.yaml:3:7: mode: 'enforced' is not allowed here; allowed: observe or enforce"},
      {"moode: observe\n",
       "p.yaml:3:1: 'moode' is not known here; allowed: apiVersion, name, mode, on_exit, defaults, "
       "networks, resolvers, never_block, services, indexes, labels, destinations or rules"},
      {"defaults: {other_families: block}\n",
       "p.yaml:3:28: defaults.other_families: 'block' is not allowed here; allowed: detect or "
       "prevent"},
      {"defaults: {first_flight: 1}\n",
       "p.yaml:1:1: defaults.first_flight must be from 2KiB to 1MiB"},
      {"networks: {a: {interface: }}\n",
       "p.yaml:3:27: networks.a.interface: is nothing; allowed: the name of a network interface"},
      {"resolvers: [{address: 10.0.0.53, via: vpn}]\n",
       "p.yaml:3:39: resolvers[0].via: 'vpn' is no network of this policy, which has none"},
      {"services: {dropbox: {domains: dropbox.example}}\n",
       "p.yaml:3:12: services: 'dropbox' is a service of the catalogue already; take another id"},
      {"services: {a: {domains: 'bad..example'}}\n",
       "p.yaml:3:25: services.a.domains: 'bad..example' is not allowed here; allowed: a domain "
       "such "
       "as example.com"},
      {"services: {a: {category: paste}}\n",
       "p.yaml:3:15: services.a: needs at least one of domains, upload_hosts or ranges"},
      {"labels: {a: {any: [{unique: 5}]}}\n",
       "p.yaml:3:20: labels.a.any[0]: needs exactly one of type, exact_match, path or "
       "received_from\np.yaml:3:29: labels.a.any[0].unique: 'unique' is only allowed beside "
       "'type'"},
      {"labels: {a: {any: [{exact_match: crm}]}}\n",
       "p.yaml:3:34: labels.a.any[0].exact_match: 'crm' is no index of this policy, which has "
       "none"},
      {"labels: {a: {any: [{path: srv}]}}\n",
       "p.yaml:3:27: labels.a.any[0].path: 'srv' is not allowed here; allowed: an absolute path"},
      {"labels: {a: {any: [{path: /srv}], weight: {tighten: 300}}}\n",
       "p.yaml:3:43: labels.a.weight: report, tighten and strict must not fall in this order"},
      {"indexes: {a: ../x}\n",
       "p.yaml:3:14: indexes.a: '../x' is not allowed here; allowed: a file name without a folder"},
      {"destinations: {approved: [{cidr: 10.0.0.0/8}]}\n",
       "p.yaml:3:27: destinations.approved[0]: a range alone proves nothing (every hotspot has a "
       "10.0.0.0/8): 'via' must name the network over which it is reached"},
      {"destinations: {approved: [{domain: a.example, service: dropbox}]}\n",
       "p.yaml:3:27: destinations.approved[0]: needs exactly one of service, domain or cidr"},
  };
  for (const auto& bad : cases) {
    const auto policy = parse_policy(head + bad.middle + tail, "p.yaml");
    ASSERT_FALSE(policy) << bad.middle;
    EXPECT_EQ(policy.error().sentence, bad.error);
  }
}

TEST(surface, what_is_no_policy_file_is_refused) {
  expect_errors(
      {
          {"", "p.yaml:1:1: is empty"},
          {"- a\n",
           "p.yaml:1:1: is a list; allowed: a mapping with apiVersion, name, mode, on_exit, "
           "defaults, networks, resolvers, never_block, services, indexes, labels, destinations or "
           "rules"},
          {"a: [\n", "p.yaml:2:1: is not YAML: end of sequence flow not found"},
          {"a: &x 1\n", "p.yaml:1:4: anchors (&name) are not allowed; write the value out"},
          {"a: *x\n", "p.yaml:1:4: is not YAML: the referenced anchor is not defined"},
          {"a: !!binary aGk=\n", "p.yaml:1:4: tags (!name) are not allowed"},
          {"? [a, b]\n: 1\n", "p.yaml:1:3: a key must be a plain word"},
          {"apiVersion: weir/v2\nname: p\nrules: [{id: a, then: log}]\n",
           "p.yaml:1:13: apiVersion: 'weir/v2' is not allowed here; allowed: weir/v1"},
          {"apiVersion: weir/v1\nname: p\nrules: [{id: a, then: log}]\n---\nx: 1\n",
           "p.yaml:5:1: a second document begins; a policy file has one"},
      },
      false);
}

TEST(surface, hostile_yaml_is_refused_before_it_costs_anything) {
  EXPECT_EQ(parse_policy(std::string(kMaxPolicyBytes + 1, ' '), "p.yaml").error().sentence,
            "p.yaml:1:1: larger than 1048576 bytes, the most that a policy may have");
  const auto lists = [](std::size_t n) { return std::string(n, '[') + "a" + std::string(n, ']'); };
  EXPECT_EQ(parse_policy(lists(16), "p.yaml").error().sentence.substr(0, 24),
            "p.yaml:1:1: is a list; a");
  EXPECT_EQ(parse_policy(lists(17), "p.yaml").error().sentence,
            "p.yaml:1:17: nested deeper than 16 levels");
  EXPECT_NE(parse_policy(std::string(500000, '['), "p.yaml").error().sentence.find("nested deeper"),
            std::string::npos);
  std::string dashes;
  for (int i = 0; i < 200000; ++i) dashes += "- ";
  EXPECT_EQ(parse_policy(dashes, "p.yaml").error().sentence,
            "p.yaml:1:33: nested deeper than 16 levels");
  std::string maps;
  for (int i = 0; i < 400; ++i) maps += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  EXPECT_EQ(parse_policy(maps, "p.yaml").error().sentence,
            "p.yaml:17:17: nested deeper than 16 levels");
  EXPECT_FALSE(parse_policy("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "p.yaml"));
}

TEST(surface, a_file_full_of_mistakes_gets_a_bounded_answer) {
  std::string rules;
  for (int i = 0; i < 500; ++i) rules += "  - {bad: 1}\n";
  const auto policy = parse_policy(with_rules(rules), "p.yaml");
  ASSERT_FALSE(policy);
  const std::string& text = policy.error().sentence;
  EXPECT_EQ(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')), kMaxPolicyErrors);
  EXPECT_NE(text.find("p.yaml: and 1480 more"), std::string::npos) << text.substr(text.size() - 80);
}

std::string many_limits(int count, const std::string& when) {
  std::string rules;
  for (int i = 0; i < count; ++i)
    rules += "  - {id: r" + std::to_string(i) + ", when: " + when +
             ", then: {limit: {bytes: 1MiB, per: host}}}\n";
  return with_rules(rules);
}

TEST(surface, the_sixty_fourth_limit_is_refused_at_its_rule) {
  const auto policy = parse_policy(many_limits(64, "{trust: unknown}"), "p.yaml");
  ASSERT_FALSE(policy);
  EXPECT_NE(
      policy.error().sentence.find("p.yaml:71:5: rules[63]: rule 'r63': this is limit 64 of the "
                                   "policy; the kernel part holds 63"),
      std::string::npos)
      << policy.error().sentence;
}

TEST(surface, more_limits_on_one_new_flow_than_can_be_charged_at_once_are_refused) {
  for (const char* when : {"{trust: unknown}", "{destination: {cidr: 10.0.0.0/8}}",
                           "{program: curl}", "{label: list}", "{detector: cloud_upload}"}) {
    EXPECT_TRUE(parse_policy(many_limits(8, when), "p.yaml")) << when;
    const auto policy = parse_policy(many_limits(9, when), "p.yaml");
    ASSERT_FALSE(policy) << when;
    EXPECT_EQ(
        policy.error().sentence,
        "p.yaml:1:1: 9 limits could count for one and the same new flow, whose name and program "
        "are not known yet; at most 8 can be charged at once: merge some");
  }
}

TEST(policy, enforce_refuses_an_approval_that_could_never_be_proven_where_it_stands) {
  const std::string head = "apiVersion: weir/v1\nname: t\nmode: ";
  const std::string body =
      "\nnetworks: {office: {interface: tun0}}\n"
      "resolvers: [{address: 8.8.8.8}]\n"
      "destinations:\n"
      "  approved: [{domain: a.example}, {cidr: 10.0.0.0/8, via: office}]\n"
      "rules:\n"
      "  - {id: a, then: {limit: {bytes: 1MiB, per: host}}}\n"
      "  - {id: b, when: {destination: {domain: a.example}}, then: {allow: {excepts: a}}}\n";
  EXPECT_TRUE(parse_policy(head + "observe" + body, "p.yaml"));
  const auto refused = parse_policy(head + "enforce" + body, "p.yaml");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sentence,
            "p.yaml:7:14: destinations.approved[0]: 'a.example' is approved by its name, but no "
            "resolver of this policy can prove a name; add one, with the network that it is "
            "reached over: resolvers: [{address: …, via: …}]\n"
            "p.yaml:10:5: rules[1]: allow sets rules aside by a name, which must be proven, but no "
            "resolver of this policy can prove a name; add one, with the network that it is "
            "reached over: resolvers: [{address: …, via: …}]");
  std::string proven = head + "enforce" + body;
  proven.replace(proven.find("8.8.8.8}"), 8, "8.8.8.8, via: office}");
  EXPECT_TRUE(parse_policy(proven, "p.yaml"));
  const auto nothing = parse_policy(
      head + "enforce\nrules:\n  - {id: a, when: {trust: approved}, then: log}\n", "p.yaml");
  ASSERT_FALSE(nothing);
  EXPECT_NE(
      nothing.error().sentence.find("p.yaml:5:5: rules[0]: it holds only for what is approved"),
      std::string::npos)
      << nothing.error().sentence;
}

}  // namespace
}  // namespace weir
