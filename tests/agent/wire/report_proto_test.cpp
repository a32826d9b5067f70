// What scripts read: CONTRACT's field names and forms, and that foreign text can't break a line.
#include "agent/wire/report_proto.h"

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fmt/format.h>

#include "core/line/counters.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

// 2026-03-04T05:06:07.089Z
constexpr std::int64_t kTime = 1'772'600'767'089'000'000;

Report sample() {
  Report r;
  r.id = "r1";
  r.revision = 2;
  r.group = "g1";
  r.at = {kTime, 5};
  r.updated = {kTime + 1'000'000'000, 6};
  r.capture = "a.pcap";
  r.finding = {"cloud_upload", Severity::high, 90, {{"upload_burst", {"65536"}}}, {"T1567.002"}};
  r.destination.endpoint = {*IpAddress::parse("192.0.2.1"), 443};
  r.destination.name = "content.dropboxapi.com";
  r.destination.zone = "dropboxapi.com";
  r.destination.service = "dropbox";
  r.destination.category = "cloud_storage";
  r.destination.channel = "tls";
  r.destination.trust = Trust::upload;
  r.actor = {.tree = 1ULL << 63,
             .person = 1000,
             .pid = 42,
             .program = "/usr/bin/curl",
             .address = *IpAddress::parse("2001:db8::7")};
  r.bytes_out = 262144;
  r.bytes_in = 1234;
  r.customers = 77;
  r.decision = {Action::block, "no-personal-cloud", 3, true, {}};
  return r;
}

TEST(report_proto, a_name_that_was_proven_says_so_and_another_says_nothing) {
  Report report = sample();
  v1::Report message;
  to_proto(report, message);
  EXPECT_FALSE(message.destination().has_name_proven());
  report.destination.name_proven = true;
  to_proto(report, message);
  EXPECT_TRUE(message.destination().name_proven());
}

TEST(report_proto, a_report_is_one_line_with_the_names_and_forms_of_the_contract) {
  v1::Report message;
  to_proto(sample(), message);
  EXPECT_EQ(
      json_line(message),
      R"({"id":"r1","revision":2,"group":"g1","capture":"a.pcap",)"
      R"("finding":{"detector":"cloud_upload","severity":"high","confidence":90,)"
      R"("because":[{"code":"upload_burst","args":["65536"],"text":""}],"attack":["T1567.002"]},)"
      R"("destination":{"address":"192.0.2.1","port":443,"name":"content.dropboxapi.com",)"
      R"("zone":"dropboxapi.com","service":"dropbox","category":"cloud_storage",)"
      R"("channel":"tls","trust":"upload"},)"
      R"("actor":{"tree":"9223372036854775808","person":{"user":{"uid":1000},"name":""},)"
      R"("pid":42,"program":"/usr/bin/curl","address":"2001:db8::7"},)"
      R"("bytesOut":"262144","bytesIn":"1234","customers":77,)"
      R"("decision":{"action":"block","rule":"no-personal-cloud","policyNumber":3,)"
      R"("enforced":true,"because":[]},"customerKeys":[],)"
      R"("time":"2026-03-04T05:06:07.089Z","updated":"2026-03-04T05:06:08.089Z"})");
}

TEST(report_proto, the_text_of_every_reason_is_the_renderers) {
  Report report = sample();
  report.decision.because = {{"rule_matched", {"no-personal-cloud"}}};
  for (Language language : {Language::english, Language::chinese}) {
    v1::Report message;
    to_proto(report, message);
    add_texts(language, message);
    EXPECT_EQ(message.finding().because(0).text(), explain(report.finding.because[0], language));
    EXPECT_EQ(message.decision().because(0).text(), explain(report.decision.because[0], language));
    EXPECT_FALSE(message.finding().because(0).text().empty());
  }
}

TEST(report_proto, defaults_are_printed_and_what_is_not_known_is_absent_or_empty) {
  std::string line = json_line(Report{}, Language::english);
  for (const char* part :
       {R"("bytesOut":"0")", R"("severity":"SEVERITY_UNSPECIFIED")",
        R"("trust":"TRUST_UNSPECIFIED")", R"("action":"ACTION_UNSPECIFIED")", R"("policyNumber":0)",
        R"("attack":[])", R"("address":"")", R"("time":"1970-01-01T00:00:00Z")"}) {
    EXPECT_NE(line.find(part), std::string::npos) << part << "\n" << line;
  }
  EXPECT_EQ(line.find("person"), std::string::npos);
}

TEST(report_proto, closed_sets_are_the_short_words_of_the_contract) {
  auto trust = [](Trust t) {
    Report r;
    r.destination.trust = t;
    v1::Report message;
    to_proto(r, message);
    return v1::Trust::Value_Name(message.destination().trust());
  };
  EXPECT_EQ(trust(Trust::approved), "approved");
  EXPECT_EQ(trust(Trust::known), "known");
  EXPECT_EQ(trust(Trust::unknown), "unknown");
  EXPECT_EQ(trust(Trust::upload), "upload");
  EXPECT_EQ(trust(Trust::infrastructure), "infrastructure");
  EXPECT_EQ(trust(Trust::undeclared_udp), "undeclared_udp");
  auto action = [](Action a) {
    Report r;
    r.decision.action = a;
    v1::Report message;
    to_proto(r, message);
    return v1::Action::Value_Name(message.decision().action());
  };
  EXPECT_EQ(action(Action::allow), "allow");
  EXPECT_EQ(action(Action::log), "log");
  EXPECT_EQ(action(Action::warn), "warn");
  EXPECT_EQ(action(Action::limit), "limit");
  EXPECT_EQ(action(Action::hold), "hold");
  EXPECT_EQ(action(Action::block), "block");
  EXPECT_EQ(action(Action::isolate), "isolate");
}

TEST(report_proto, a_program_whose_path_is_not_text_is_shown_escaped_and_kept_as_bytes) {
  Report report;
  report.actor.program = "/tmp/\xff\x1b[31m";
  v1::Report message;
  to_proto(report, message);
  EXPECT_EQ(message.actor().program(), "/tmp/\\xff\\x1b[31m");
  EXPECT_EQ(message.actor().program_path().raw(), report.actor.program);
  EXPECT_EQ(message.actor().program_path().encoding(), v1::Path::opaque);
}

TEST(report_proto, a_flow_has_endpoints_with_brackets_around_ipv6) {
  FlowRecord flow;
  flow.key = {{*IpAddress::parse("192.0.2.7"), 50000},
              {*IpAddress::parse("2001:db8::1"), 443},
              Transport::tcp};
  flow.protocol = "tls";
  flow.server_name = "example.com";
  flow.alpn = "h2";
  flow.ja4 = "t13d";
  flow.bytes_out = 1ULL << 40;
  flow.bytes_in = 9;
  flow.first_seen_ns = kTime;
  flow.last_seen_ns = kTime + 1;
  EXPECT_EQ(json_line(flow),
            R"({"protocol":"tls","client":"192.0.2.7:50000","server":"[2001:db8::1]:443",)"
            R"("serverName":"example.com","alpn":"h2","ja4":"t13d","bytesOut":"1099511627776",)"
            R"("bytesIn":"9","firstSeen":"2026-03-04T05:06:07.089Z",)"
            R"("lastSeen":"2026-03-04T05:06:07.089000001Z"})");
}

TEST(report_proto, a_usage_row_has_the_start_of_its_hour) {
  UsageRow row;
  row.person = 1000;
  row.program = "/usr/bin/curl";
  row.destination = "example.com";
  row.trust = Trust::known;
  row.hour = kTime / 3'600'000'000'000;
  row.bytes_out = 5;
  row.flows = 2;
  row.name_proven = true;
  EXPECT_EQ(json_line(row),
            R"({"person":{"user":{"uid":1000},"name":""},"program":"/usr/bin/curl",)"
            R"("destination":"example.com","trust":"known","bytesOut":"5","bytesIn":"0","flows":2,)"
            R"("nameProven":true,"hour":"2026-03-04T05:00:00Z"})");
}

TEST(report_proto, the_summary_names_every_kind_of_damage_and_every_limit_in_one_order) {
  Counters counters;
  counters.net.packets = 1ULL << 33;  // beyond 32 bits: saturates
  counters.net.bytes = 1ULL << 33;
  counters.net.flows = 3;
  counters.net.malformed[static_cast<std::size_t>(Damage::truncated)] = 4;
  counters.net.flows_dropped = 5;
  std::string line = json_line(counters);
  EXPECT_EQ(line.rfind(R"({"packets":4294967295,"bytes":"8589934592","flows":3,"malformed":{)", 0),
            0u)
      << line;
  EXPECT_NE(line.find(R"("truncated":4)"), std::string::npos) << line;
  for (const auto& [name, count] : dropped_by_limit(counters)) {
    EXPECT_NE(line.find(fmt::format("\"{}\":{}", name, count)), std::string::npos) << line;
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(json_line(counters), line);
}

RC_GTEST_PROP(report_proto, any_bytes_anywhere_give_one_line_that_parses_to_the_same_message, ()) {
  auto bytes = [] { return *rc::gen::arbitrary<std::string>(); };
  Report r = sample();
  r.id = bytes();
  r.capture = bytes();
  r.finding.detector = bytes();
  r.finding.because = {{bytes(), {bytes(), bytes()}}};
  r.destination.name = bytes();
  r.destination.zone = bytes();
  r.destination.service = bytes();
  r.actor.program = bytes();
  r.decision.rule = bytes();
  r.at.wall_ns = *rc::gen::arbitrary<std::int64_t>();
  r.bytes_out = *rc::gen::arbitrary<std::uint64_t>();
  std::string line = json_line(r, Language::english);
  RC_ASSERT(line.find('\n') == std::string::npos);
  v1::Report expected;
  to_proto(r, expected);
  add_texts(Language::english, expected);
  v1::Report parsed;
  RC_ASSERT(google::protobuf::util::JsonStringToMessage(line, &parsed).ok());
  RC_ASSERT(parsed.SerializeAsString() == expected.SerializeAsString());
}

}  // namespace
}  // namespace weir
