// What `weir exec --policy` makes of the agent's reports.
#include "agent/run/exec_summary.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir {
namespace {

std::string line(const char* detector, const char* action, const char* enforced) {
  return fmt::format(
      R"({{"id":"r1","revision":2,"finding":{{"detector":"{}","because":[{{"code":"limit_spent","args":["cloud","262144","86400","dropbox.com","115800"]}}]}},"decision":{{"action":"{}","rule":"cloud","enforced":{}}}}})",
      detector, action, enforced);
}

TEST(exec_report, only_what_was_enforced_and_spent_or_blocked_stopped_something) {
  EXPECT_TRUE(exec_report(line("limit", "limit", "true"))->stopped);
  EXPECT_FALSE(exec_report(line("limit", "limit", "false"))->stopped);
  EXPECT_FALSE(exec_report(line("cloud_upload", "limit", "true"))->stopped);
  EXPECT_TRUE(exec_report(line("dns_tunnel", "block", "true"))->stopped);
  EXPECT_FALSE(exec_report(line("dns_tunnel", "log", "true"))->stopped);
}

TEST(exec_report, what_is_no_report_is_none) {
  for (const char* damaged : {"", "{}", "nonsense", "[1]", "{\"id\":7"})
    EXPECT_FALSE(exec_report(damaged)) << damaged;
}

TEST(exec_summary, a_rule_that_stopped_the_command_is_named_in_text) {
  ExecSummary summary;
  summary.limit = 4 << 20;
  summary.bytes_out = 131072;
  summary.reports.push_back(*exec_report(line("limit", "limit", "true")));
  summary.stopped = true;
  const std::string text = text_of(summary, Language::english);
  EXPECT_NE(text.find("stopped by a rule of the policy"), std::string::npos) << text;
  EXPECT_NE(text.find("Rule cloud stopped it. Rule cloud lets 256 KiB leave in 24 hours"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace weir
