// `weir why ID`: the path of one decision, from the reports that the agent keeps.
#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

#include "agent/cli/commands.h"
#include "agent/cli/printer.h"
#include "agent/run/state_dir.h"
#include "agent/wire/report_proto.h"
#include "core/policy/explain.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

// The last revision; reports of an older generation (.1) are looked through first.
std::optional<v1::Report> find_report(const std::string& dir, const std::string& id,
                                      bool& readable) {
  std::optional<v1::Report> found;
  readable = false;
  std::string wanted = "\"id\":\"" + id + "\"";  // spares the parser most lines
  for (const char* name : {"/reports.jsonl.1", "/reports.jsonl"}) {
    std::ifstream file(dir + name);
    readable = readable || file.is_open();
    for (std::string line; std::getline(file, line);) {
      v1::Report report;
      if (line.find(wanted) == std::string::npos) continue;
      if (!google::protobuf::util::JsonStringToMessage(line, &report).ok()) continue;
      if (report.id() == id && (!found || report.revision() >= found->revision()))
        found = std::move(report);
    }
  }
  return found;
}

void add_step(v1::Explanation& path, const char* stage, const std::string& text,
              const std::string& code) {
  v1::Explanation::Step* step = path.add_steps();
  step->set_stage(stage);
  step->mutable_reason()->set_code(code);
  step->mutable_reason()->set_text(text);
}

// Such as a limit that is spent: what was found is why it was decided.
bool stands_in_finding(const v1::Report& report, const v1::Reason& reason) {
  return std::any_of(report.finding().because().begin(), report.finding().because().end(),
                     [&](const v1::Reason& r) { return r.text() == reason.text(); });
}

v1::Explanation explain_path(const v1::Report& report, Language language) {
  v1::Explanation path;
  *path.mutable_report() = report;
  const v1::Destination& to = report.destination();
  const v1::Actor& actor = report.actor();
  add_step(path, "event",
           fmt::format(fmt::runtime(either(
                           language, "{} (pid {}, uid {}) sent {} to {} port {} and received {}.",
                           "{}（进程 {}，用户 {}）发出 {}，去向 {} 端口 {}，收到 {}。")),
                       actor.program(), actor.pid(), actor.person().user().uid(),
                       human_bytes(report.bytes_out(), language), to.address(), to.port(),
                       human_bytes(report.bytes_in(), language)),
           "sent");
  add_step(path, "enrich",
           fmt::format(fmt::runtime(either(language, "That address is {}{}{}; its trust is {}.",
                                           "该地址为 {}{}{}；信任级别为 {}。")),
                       to.name().empty() ? either(language, "not named", "未命名") : to.name(),
                       to.service().empty() ? "" : either(language, ", the service ", "，服务 "),
                       to.service(), v1::Trust::Value_Name(to.trust())),
           "destination");
  for (const v1::Reason& reason : report.finding().because())
    add_step(path, "detect", reason.text(), reason.code());
  const std::string& rule = report.decision().rule();
  if (!rule.empty()) path.add_matched(rule);
  if (!rule.empty())
    add_step(path, "decide", explain(Reason{"rule_matched", {rule}}, language), "rule_matched");
  for (const v1::Reason& reason : report.decision().because())
    if (!stands_in_finding(report, reason)) add_step(path, "decide", reason.text(), reason.code());
  add_step(
      path, "enforce",
      fmt::format("{}: {}", v1::Action::Value_Name(report.decision().action()),
                  report.decision().enforced() ? either(language, "enforced.", "已执行。")
                                               : either(language, "only reported.", "仅报告。")),
      report.decision().enforced() ? "enforced" : "observed");
  return path;
}

}  // namespace

int cmd_why(int argc, char** argv) {
  CLI::App app(
      "Print the path of a decision: what happened, what was known, which rule, what was done.",
      "weir why");
  std::string id, state_dir = kStateDir, format = "text";
  app.add_option("ID", id, "id of a report")->required();
  add_state_and_format(app, state_dir, format);
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  bool readable = false;
  std::optional<v1::Report> report = find_report(state_dir, id, readable);
  if (!readable) {
    fmt::print(stderr,
               "weir why: {}/reports.jsonl: {}; --state names the folder that `weir run` uses\n",
               state_dir, std::strerror(errno));
    return errno == EACCES ? kExitNotAllowed : kExitUsage;
  }
  if (!report) {
    fmt::print(stderr, "weir why: no report {} in {}/reports.jsonl\n", id, state_dir);
    return kExitFailed;
  }
  const Language language = language_of_caller();
  add_texts(language, *report);  // the agent wrote them in its own language
  v1::Explanation path = explain_path(*report, language);
  if (format == "json") {
    fmt::print("{}\n", json_line(path));
    return kExitDone;
  }
  fmt::print(fmt::runtime(either(language, "report {} revision {}\n", "报告 {} 第 {} 版\n")),
             report->id(), report->revision());
  for (const v1::Explanation::Step& step : path.steps())
    fmt::print("{:<8} {}\n", step.stage(), step.reason().text());
  return kExitDone;
}

}  // namespace weir
