// What a person reads: numbers, a report in a few lines, a policy in plain words.
#include "core/policy/explain.h"

#include "core/policy/explain_words.h"
#include "core/policy/policy.h"
#include "tests/core/policy/sample.h"

namespace weir {
namespace {

TEST(explain, bytes_are_scaled_and_never_rounded_to_a_thousand_and_twenty_four) {
  EXPECT_EQ(human_bytes(0), "0 bytes");
  EXPECT_EQ(human_bytes(1), "1 byte");
  EXPECT_EQ(human_bytes(17), "17 bytes");
  EXPECT_EQ(human_bytes(1023), "1023 bytes");
  EXPECT_EQ(human_bytes(1024), "1 KiB");
  EXPECT_EQ(human_bytes(256 * 1024), "256 KiB");
  EXPECT_EQ(human_bytes(1536 * 1024), "1.5 MiB");
  EXPECT_EQ(human_bytes(1048575), "1 MiB");
  EXPECT_EQ(human_bytes(~std::uint64_t{0}), "16 EiB");
  EXPECT_EQ(human_bytes(17, Language::chinese), "17 字节");
}

TEST(explain, times_are_said_in_the_largest_whole_unit) {
  EXPECT_EQ(human_seconds(45, Language::english), "45 seconds");
  EXPECT_EQ(human_seconds(3600, Language::english), "1 hour");
  EXPECT_EQ(human_seconds(86400, Language::english), "24 hours");
  EXPECT_EQ(human_seconds(7 * 86400, Language::english), "7 days");
  EXPECT_EQ(human_seconds(7 * 86400, Language::chinese), "7 天");
  EXPECT_EQ(human_seconds(90, Language::english), "90 seconds");
}

Report spent() {
  Report r;
  r.id = "r-17";
  r.finding.detector = "limit";
  r.finding.because = {{"limit_spent", {"cloud", "262144", "3600", "dropbox.com", "115800"}}};
  r.destination.name = "content.dropboxapi.com";
  r.destination.service = "dropbox";
  r.actor.program = "/usr/bin/curl";
  r.actor.person = 1000;
  r.bytes_out = 115800;
  r.decision.action = Action::limit;
  r.decision.rule = "cloud";
  r.decision.enforced = true;
  return r;
}

TEST(explain, tampering_is_about_nobody_and_nothing_that_was_sent) {
  Report r;
  r.id = "r-18";
  r.finding.detector = "tampering";
  r.finding.because = {{"hook_removed", {"weir_egress", "2", "5120"}}, {"hook_restored", {}}};
  r.decision.action = Action::log;
  EXPECT_EQ(explain(r, Language::english),
            "What bounds this machine was tampered with.\n"
            "The kernel program weir_egress was taken from its place, which needs root's rights. "
            "For at most 2 seconds it held nothing, and at most 5 KiB left this machine in that "
            "time. It is back at its place.\n"
            "If your administrator did not do this, tell them the number r-18.");
  EXPECT_EQ(explain(r, Language::chinese),
            "本机的管控遭到破坏。\n内核程序 weir_egress 被人移除，此操作需要 root "
            "权限。其失效时间最长 2 秒，期间本机最多发出 5 KiB。已恢复原位。\n"
            "如非管理员所为，请将编号 r-18 告诉管理员。");
}

TEST(explain, a_report_says_what_happened_why_what_was_done_and_what_next) {
  EXPECT_EQ(
      explain(spent(), Language::english),
      "A limit is spent: curl (person 1000) sent 113.1 KiB to Dropbox (content.dropboxapi.com).\n"
      "Rule cloud lets 256 KiB leave in 1 hour, 128 KiB of it at once. That is used up: 113.1 KiB "
      "went to dropbox.com; the rest comes back over 1 hour.\n"
      "Rule cloud applies. More than the limit does not leave; everything else goes on.\n"
      "If you need this for your work, tell your administrator the number r-17.");
  EXPECT_EQ(
      explain(spent(), Language::chinese),
      "额度已用完：curl（用户 1000） 发出 113.1 KiB，去向 Dropbox (content.dropboxapi.com)。\n"
      "规则 cloud 允许 1 小时内发出 256 KiB，其中 128 KiB 可一次发出。这部分已用完：已向 "
      "dropbox.com 发出 113.1 KiB；其余额度在 1 小时内逐步恢复。\n"
      "适用规则 cloud。超出额度的部分不会发出，其他一切照常。\n"
      "如工作需要，请将编号 r-17 告诉管理员。");
}

TEST(explain, a_total_that_is_spent_speaks_of_no_window) {
  const Reason total = {"limit_total_spent", {"once", "1048576", "203.0.113.9", "1040000"}};
  EXPECT_EQ(explain(total, Language::english),
            "Rule once lets 1 MiB leave in all. That is used up: 1015.6 KiB went to 203.0.113.9.");
}

TEST(explain, a_flow_that_has_sent_its_number_is_one_connection) {
  const Reason flow = {"limit_flow_spent", {"small", "1048576", "203.0.113.9", "1040000"}};
  EXPECT_EQ(explain(flow, Language::english),
            "Rule small lets each connection send 1 MiB. One to 203.0.113.9 has used that up: it "
            "sent 1015.6 KiB.");
  EXPECT_EQ(per_words(Per::flow, Language::english), "connection");
  EXPECT_EQ(per_words("flow", Language::chinese), "连接");
}

TEST(explain, a_report_that_stopped_nothing_says_so) {
  Report r = spent();
  r.decision.enforced = false;
  EXPECT_NE(explain(r, Language::english).find("would not leave"), std::string::npos);
}

TEST(explain, every_action_gives_two_to_four_lines_in_both_languages) {
  for (Action action : {Action::allow, Action::log, Action::warn, Action::limit, Action::hold,
                        Action::block, Action::isolate})
    for (bool enforced : {false, true})
      for (Language language : {Language::english, Language::chinese}) {
        Report r = spent();
        r.decision.action = action;
        r.decision.enforced = enforced;
        const std::string text = explain(r, language);
        const auto lines = 1 + std::count(text.begin(), text.end(), '\n');
        EXPECT_GE(lines, 2) << text;
        EXPECT_LE(lines, 4) << text;
        EXPECT_EQ(text.find_first_of("{}"), std::string::npos) << text;
      }
}

TEST(explain, a_dns_finding_is_about_its_zone_and_an_actor_without_program_is_an_address) {
  Report r;
  r.id = "x";
  r.finding.detector = "dns_tunnel";
  r.finding.because = {{"dns_zone_bytes", {"t.evil.example", "4096", "24h"}}};
  r.destination.zone = "t.evil.example";
  r.destination.endpoint = {*IpAddress::parse("10.0.0.53"), 53};
  r.actor.address = *IpAddress::parse("192.0.2.7");
  r.bytes_out = 8192;
  r.decision.action = Action::log;
  EXPECT_EQ(explain(r, Language::english),
            "Data left inside DNS questions: 192.0.2.7 sent 8 KiB to t.evil.example.\n"
            "Names asked for under t.evil.example carried 4 KiB of new data within 24 hours.\n"
            "It was recorded.\nYou need not do anything.");
}

TEST(explain, what_no_program_here_has_sent_is_named_so) {
  Report report = spent();
  report.actor = {};
  report.actor.person = kForwarded;
  EXPECT_NE(explain(report, Language::english).find("container behind this one"),
            std::string::npos);
  EXPECT_EQ(explain(report, Language::chinese).find("4294967293"), std::string::npos);
}

TEST(explain, the_sample_policy_is_told_rule_by_rule_in_both_languages) {
  const Policy p = must_parse(read_tree_file("data/policies/support-desk.yaml"));
  EXPECT_EQ(
      explain(p, Language::english),
      "support-desk observes: it decides and reports, and stops nothing.\n"
      "- customer-list-stays: if the sender carries the label customer-data and at least 200 "
      "customers were read and the destination is unknown: at most 16 KiB in any 24 hours for each "
      "destination of a person, and at most 64 KiB in any 24 hours for each person. (severity "
      "high)\n"
      "- known-web-after-a-read: if the sender carries the label customer-data and at least 200 "
      "customers were read and the destination is known: at most 128 KiB in any 1 hour for each "
      "destination of a person.\n"
      "- no-personal-cloud: if it goes to cloud_storage, object_storage, file_transfer, paste, "
      "ai_chat, webmail or messaging and 64 KiB or more are uploaded at once and not (the "
      "destination "
      "is approved): let it wait 45 seconds for an answer, then stop it.\n"
      "- unknown-places: if the destination is unknown: at most 512 KiB in any 24 hours for each "
      "destination of a person, and at most 4 MiB in any 24 hours for each person.\n"
      "- courier-claims: if it goes to courier.example or below: set aside unknown-places.\n"
      "- tunnels: if dns_tunnel or tunnel finds something: stop it.\n");
  const std::string chinese = explain(p, Language::chinese);
  for (const Rule& rule : p.rules)
    EXPECT_NE(chinese.find("- " + rule.id + "：如果"), std::string::npos);
  EXPECT_NE(chinese.find("每个用户的去向在任意 24 小时内最多 16 KiB"), std::string::npos)
      << chinese;
  EXPECT_EQ(chinese.find_first_of("{}?"), std::string::npos) << chinese;
}

TEST(explain, every_action_and_field_of_a_policy_has_words) {
  const Policy p = must_parse(with_rules(R"(
  - {id: a, then: {log: , severity: low}}
  - {id: b, when: {label: list, weight: 7, trust: known, upload_to: paste, burst: 1MiB, detector: tunnel, program: curl, person: 5, channel: dns}, then: warn}
  - {id: c, when: {destination: {domain: a.example, service: crm, cidr: 10.0.0.0/8, category: paste, not: approved}}, then: {hold: {for: 10s, otherwise: allow}}}
  - {id: d, when: {any: [{person: 1}, {all: [{person: 2}, {not: {person: 3}}]}]}, then: isolate}
  - {id: e, then: {limit: {bytes: 1MiB, customers: 9, per: [host, destination]}}}
  - {id: f, then: {allow: {excepts: [a, e]}}}
)"));
  for (Language language : {Language::english, Language::chinese})
    EXPECT_EQ(explain(p, language).find_first_of("{}?"), std::string::npos) << explain(p, language);
  EXPECT_NE(
      explain(p, Language::english)
          .find("- d: if the person is 1 or (the person is 2 and not (the person is 3)): cut"),
      std::string::npos)
      << explain(p, Language::english);
}

}  // namespace
}  // namespace weir
