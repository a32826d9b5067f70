// `weir replay` as scripts and people use it: what it prints where, and what it exits with.
#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/policy/policy.h"
#include "platform/event_log/event_log.h"
#include "tests/scenarios/traffic.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

using traffic::ip;

std::string scratch(const std::string& name) {
  return testing::TempDir() + "weir_e2e_replay_" + std::to_string(::getpid()) + "_" + name;
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Ran {
  int status = -1;
  std::string out, err;

  std::vector<std::string> lines() const {
    std::vector<std::string> lines;
    std::istringstream stream(out);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }
};

Ran weir(const std::string& arguments) {
  const std::string out = scratch("out"), err = scratch("err");
  const std::string command = std::string("LC_ALL=C timeout 60 ") + WEIR_PROGRAM + " " + arguments +
                              " >" + out + " 2>" + err + " </dev/null";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(out), contents(err)};
}

template <class Message>
bool is(const std::string& line, Message& message) {
  return google::protobuf::util::JsonStringToMessage(line, &message).ok();
}

const Endpoint kClient{ip("10.0.0.5"), 40000};
const Endpoint kServer{ip("203.0.113.9"), 443};

std::string upload() {
  traffic::Script script;
  script.look_up({kClient.address, 50000}, {ip("10.0.0.53"), 53}, "content.dropboxapi.com",
                 kServer.address);
  script.tcp_flow(kClient, kServer, traffic::client_hello("content.dropboxapi.com"), 400'000, 900);
  const std::string path = scratch("upload.pcap");
  traffic::write_pcap(path, script.packets);
  return path;
}

std::string broken() {
  traffic::Script script;
  script.tcp_flow(kClient, kServer, traffic::client_hello("www.site.example"), 2000, 900);
  for (std::size_t i = 0; i < script.packets.size(); i += 2) script.packets[i].bytes[0] = 0x95;
  const std::string path = scratch("broken.pcap");
  traffic::write_pcap(path, script.packets);
  return path;
}

TEST(replay, json_is_a_message_a_line_reports_then_one_summary) {
  const Ran ran = weir("replay --format json " + upload());
  EXPECT_EQ(ran.status, 0) << ran.err;
  const auto lines = ran.lines();
  ASSERT_GE(lines.size(), 2u);
  std::uint32_t revision = 0;
  std::string id;
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    v1::Report report;
    ASSERT_TRUE(is(lines[i], report)) << lines[i];
    EXPECT_EQ(report.revision(), ++revision);
    if (id.empty()) id = report.id();
    EXPECT_EQ(report.id(), id);
    EXPECT_EQ(report.finding().detector(), "cloud_upload");
    EXPECT_EQ(report.actor().address(), "10.0.0.5");
    EXPECT_NE(report.capture().find("upload.pcap"), std::string::npos);
    EXPECT_FALSE(report.finding().because().empty());
    if (!report.finding().because().empty()) EXPECT_NE(report.finding().because(0).text(), "");
  }
  v1::Summary summary;
  ASSERT_TRUE(is(lines.back(), summary)) << lines.back();
  EXPECT_EQ(summary.flows(), 2u);
  EXPECT_GT(summary.packets(), 280u);
}

TEST(replay, capture_and_policy_may_come_from_pipes) {
  const std::string path = upload();
  const std::string policy = std::string(WEIR_SOURCE) + "/data/policies/support-desk.yaml";
  const Ran file = weir("replay --format json --policy " + policy + " " + path);
  const std::string out = scratch("piped");
  const std::string piped = "bash -c 'cat " + path + " | timeout 60 " + WEIR_PROGRAM +
                            " replay --format json --policy <(cat " + policy + ") /dev/stdin' >" +
                            out;
  ASSERT_EQ(std::system(piped.c_str()), 0);
  const auto renamed = [](std::string text, const std::string& from) {
    for (std::size_t at; (at = text.find(from)) != std::string::npos;)
      text.replace(at, from.size(), "F");
    return text;
  };
  EXPECT_EQ(renamed(contents(out), "/dev/stdin"), renamed(file.out, path));
}

TEST(replay, flows_are_printed_only_when_asked_for) {
  const Ran without = weir("replay --format json " + upload());
  const Ran with = weir("replay --flows --format json " + upload());
  EXPECT_EQ(with.lines().size(), without.lines().size() + 2);
  bool named = false;
  for (const std::string& line : with.lines()) {
    v1::Flow flow;
    if (!is(line, flow) || flow.protocol() != "tls") continue;
    named = true;
    EXPECT_EQ(flow.server_name(), "content.dropboxapi.com");
    EXPECT_EQ(flow.client(), "10.0.0.5:40000");
    EXPECT_EQ(flow.server(), "203.0.113.9:443");
    EXPECT_GT(flow.bytes_out(), 400'000u);
  }
  EXPECT_TRUE(named);
}

TEST(replay, broken_packets_are_counted_by_kind_and_no_failure) {
  const Ran ran = weir("replay --format json " + broken());
  EXPECT_EQ(ran.status, 0);
  v1::Summary summary;
  ASSERT_TRUE(is(ran.lines().back(), summary));
  std::uint32_t damaged = 0;
  for (const auto& [kind, count] : summary.malformed()) damaged += count;
  EXPECT_GE(damaged, 4u);
}

TEST(replay, unreadable_file_is_one_sentence_and_exit_2_and_the_others_are_still_read) {
  const std::string text = scratch("notes.txt");
  std::ofstream(text) << "these are notes and no capture\n";
  const Ran ran = weir("replay --format json /nonexistent/file " + text + " " + upload());
  EXPECT_EQ(ran.status, 2);
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 2) << ran.err;
  EXPECT_NE(ran.err.find("/nonexistent/file"), std::string::npos);
  EXPECT_NE(ran.err.find("No such file"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("notes.txt"), std::string::npos);
  v1::Summary summary;
  ASSERT_TRUE(is(ran.lines().back(), summary));
  EXPECT_EQ(summary.flows(), 2u);
}

TEST(replay, text_is_for_people_without_colour_in_a_pipe) {
  const Ran ran = weir("replay " + upload());
  EXPECT_EQ(ran.status, 0);
  EXPECT_NE(ran.out.find("cloud_upload"), std::string::npos);
  EXPECT_NE(ran.out.find("content.dropboxapi.com"), std::string::npos);
  EXPECT_NE(ran.out.find("packets"), std::string::npos);
  EXPECT_EQ(ran.out.find('\033'), std::string::npos);
  EXPECT_EQ(ran.out.find("(("), std::string::npos);
}

TEST(replay, name_from_the_wire_can_not_write_to_the_terminal) {
  traffic::Script script;
  script.tcp_flow(kClient, kServer, traffic::client_hello("\033]0;owned\007.dropboxapi.com"),
                  400'000, 900);
  const std::string path = scratch("hostile.pcap");
  traffic::write_pcap(path, script.packets);
  const Ran text = weir("replay --flows " + path),
            json = weir("replay --flows --format json " + path);
  for (const Ran& ran : {text, json}) {
    EXPECT_EQ(ran.out.find('\033'), std::string::npos);
    EXPECT_EQ(ran.out.find('\007'), std::string::npos);
  }
}

TEST(replay, policy_of_the_caller_decides_and_a_wrong_one_names_line_and_column) {
  const std::string good = scratch("good.yaml"), wrong = scratch("wrong.yaml");
  std::ofstream(good) << "apiVersion: weir/v1\nname: desk\nmode: enforce\nrules:\n"
                         "  - id: no-clouds\n    when: {upload_to: [cloud_storage]}\n"
                         "    then: {limit: {bytes: 256KiB, per: person}}\n";
  std::ofstream(wrong) << "apiVersion: weir/v1\nname: desk\nmode: maybe\n";
  const Ran ran = weir("replay --format json --policy " + good + " " + upload());
  EXPECT_EQ(ran.status, 0) << ran.err;
  bool limited = false;
  for (const std::string& line : ran.lines()) {
    v1::Report report;
    if (!is(line, report) || report.decision().rule() != "no-clouds") continue;
    limited = limited || report.decision().action() == v1::Action::limit;
    EXPECT_FALSE(report.decision().enforced());
  }
  EXPECT_TRUE(limited) << ran.out;
  const Ran refused = weir("replay --policy " + wrong + " " + upload());
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("wrong.yaml:3:7"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("observe"), std::string::npos) << refused.err;
}

TEST(replay, sample_policies_of_the_tree_are_taken) {
  EXPECT_EQ(
      weir("replay --policy " WEIR_SOURCE "/data/policies/support-desk.yaml " + upload()).status,
      0);
}

// What `weir run --record` leaves: an upload that the recorded policy stopped.
std::string recorded() {
  const std::string path = scratch("events.log");
  const int file = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  LogWriter log(file);
  Policy policy;
  policy.mode = Mode::enforce;
  policy.number = 12;
  Limit limit;
  limit.rule = "recorded-rule";
  limit.bytes = 200'000;
  limit.per = Per::person;
  policy.limits = {limit};
  Rule rule;
  rule.id = "recorded-rule";
  rule.action = Action::limit;
  rule.limits = {0};
  policy.rules = {rule};
  std::int64_t now = 1'000'000'000;
  const auto write = [&](EventBody body) {
    now += 1'000'000;
    log.write({{1'700'000'000'000'000'000 + now, now}, std::move(body)});
  };
  const SocketRef socket{77, 7, 1000, 11};
  const FlowKey flow{kClient, kServer, Transport::tcp};
  write(HostStarted{"desk-1", "b0070000-0000-4000-8000-000000000001", 1});
  write(PolicyChanged{std::make_shared<const Policy>(policy)});
  write(ProcessStarted{11, 1, 111, 7, 1000, 1000, "/usr/bin/curl"});
  const traffic::Sent hello{0, true,
                            traffic::tcp(kClient, kServer, 101, 1, traffic::kAck,
                                         traffic::client_hello("content.dropboxapi.com"))};
  write(traffic::event_of(hello, socket).body);
  for (std::uint64_t sent = 65'536; sent <= 196'608; sent += 65'536)
    write(FlowUsage{socket, flow, sent, 1000, 0, false});
  write(AccountSpent{socket, flow, 0, 0, 199'000});
  write(FlowUsage{socket, flow, 199'000, 1000, 5000, true});
  EXPECT_TRUE(log.flush());
  ::close(file);
  return path;
}

TEST(replay, event_log_is_told_by_its_content_and_says_what_was_enforced) {
  const std::string log = recorded();
  const Ran one = weir("replay --format json " + log), two = weir("replay --format json " + log);
  EXPECT_EQ(one.status, 0) << one.err;
  EXPECT_EQ(one.out, two.out);
  v1::Report report;
  ASSERT_GE(one.lines().size(), 2u);
  ASSERT_TRUE(is(one.lines()[one.lines().size() - 2], report)) << one.out;
  EXPECT_EQ(report.decision().rule(), "recorded-rule");
  EXPECT_EQ(report.decision().policy_number(), 12u);
  EXPECT_TRUE(report.decision().enforced());
  EXPECT_EQ(report.actor().program(), "/usr/bin/curl");
  EXPECT_EQ(report.bytes_out(), 199'000u);
  EXPECT_EQ(report.capture(), "");
}

TEST(replay, policy_of_the_caller_replaces_the_recorded_one) {
  const std::string draft = scratch("draft.yaml");
  std::ofstream(draft) << "apiVersion: weir/v1\nname: draft\nmode: enforce\nrules:\n"
                          "  - id: draft-rule\n    when: {upload_to: [cloud_storage]}\n"
                          "    then: {limit: {bytes: 96KiB, per: person}}\n";
  const Ran ran = weir("replay --format json --policy " + draft + " " + recorded());
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.out.find("recorded-rule"), std::string::npos);
  bool spent = false;
  for (const std::string& line : ran.lines()) {
    v1::Report report;
    if (!is(line, report) || report.decision().rule() != "draft-rule") continue;
    EXPECT_FALSE(report.decision().enforced());
    spent = spent || report.finding().detector() == "limit";
  }
  EXPECT_TRUE(spent) << ran.out;
}

TEST(weir, what_this_version_has_not_is_said_and_a_wrong_option_names_its_command) {
  const Ran ran = weir("inspect");
  EXPECT_EQ(ran.status, 2);
  EXPECT_NE(ran.err.find("not built in this version"), std::string::npos) << ran.err;
  EXPECT_NE(weir("nonsense").err.find("is no command"), std::string::npos);
  const Ran wrong = weir("replay --format xml x");
  EXPECT_EQ(wrong.status, 2);
  EXPECT_EQ(wrong.err.rfind("weir replay: --format", 0), 0u) << wrong.err;
  EXPECT_EQ(std::count(wrong.err.begin(), wrong.err.end(), '\n'), 1) << wrong.err;
}

TEST(weir, help_version_and_wrong_use_say_what_to_do) {
  EXPECT_EQ(weir("--version").out.rfind("weir ", 0), 0u);
  EXPECT_NE(weir("--help").out.find("replay"), std::string::npos);
  const Ran help = weir("replay --help");
  EXPECT_EQ(help.status, 0);
  EXPECT_NE(help.out.find("--policy"), std::string::npos);
  for (const char* wrong : {"", "nonsense", "replay", "replay --format xml x", "replay --wat x"}) {
    const Ran ran = weir(wrong);
    EXPECT_EQ(ran.status, 2) << wrong;
    EXPECT_NE(ran.err, "") << wrong;
  }
}

}  // namespace
}  // namespace weir
