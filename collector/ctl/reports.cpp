// `weirctl reports`: what left, and what was stopped.
#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include <CLI/CLI.hpp>
#include <map>

#include "collector/ctl/session.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

int list(CtlSession& session, const CtlOptions& options, v1::ListReportsRequest request,
         std::uint32_t most) {
  Table table(kReportHead);
  int status = 0;
  for (std::uint32_t seen = 0;;) {
    v1::ListReportsResponse answer;
    request.set_limit(std::min<std::uint32_t>(most - seen, 1000));
    if (!session.call("weir.v1.ReportAdminService/ListReports", request, answer, status))
      return status;
    for (const v1::Report& report : answer.reports())
      if (options.output == Output::table)
        table.add(report_row(report));
      else
        print_message(report, options.output);
    if (answer.has_removed_before())
      fmt::print(stderr, "weirctl: what came before {} was removed: the collector keeps no more\n",
                 time_text(answer.removed_before()));
    seen += static_cast<std::uint32_t>(answer.reports_size());
    request.set_page(answer.next_page());
    if (request.page().empty() || seen >= most) break;
  }
  if (options.output == Output::table) table.print();
  return kExitDone;
}

// A line as soon as a report comes; a broken connection is taken up where it ended.
int watch(CtlSession& session, const CtlOptions& options, const v1::WatchReportsRequest& request) {
  if (options.output == Output::table) fmt::print("{}\n", fmt::join(kReportHead, "  "));
  std::fflush(stdout);
  return session.watch<v1::WatchReportsResponse>(
      "weir.v1.ReportAdminService/WatchReports", request,
      [&](const v1::WatchReportsResponse& answer) {
        if (!answer.has_report()) return true;
        if (options.output == Output::table)
          fmt::print("{}\n", fmt::join(report_row(answer.report()), "  "));
        else
          print_message(answer.report(), options.output);
        std::fflush(stdout);
        return true;
      });
}

int show(CtlSession& session, const CtlOptions& options, const std::string& id) {
  v1::GetReportRequest request;
  v1::GetReportResponse answer;
  request.set_id(id);
  int status = kExitDone;
  if (session.call("weir.v1.ReportAdminService/GetReport", request, answer, status))
    print_message(answer.explanation(),
                  options.output == Output::json ? Output::json : Output::yaml);
  return status;
}

}  // namespace

int ctl_reports(int argc, char** argv) {
  CLI::App app("What left, and what was stopped.", "weirctl reports");
  CtlOptions options;
  v1::ReportFilter filter;
  std::string host, detector, rule, service, severity, resume, id;
  std::uint32_t limit = 100;
  CLI::App* all = app.add_subcommand("list", "the newest first");
  all->add_option("--limit", limit, "at most so many")->capture_default_str();
  CLI::App* live = app.add_subcommand("watch", "print each as it comes in, until Ctrl-C");
  live->add_option("--resume", resume, "where an earlier watch ended");
  CLI::App* one = app.add_subcommand("show", "one, and how it was decided");
  one->add_option("ID", id)->required();
  for (CLI::App* verb : {all, live}) {
    verb->add_option("--host", host, "id of the host");
    verb->add_option("--detector", detector);
    verb->add_option("--rule", rule);
    verb->add_option("--service", service);
    verb->add_option("--severity", severity, "at least this one")
        ->check(CLI::IsMember({"info", "low", "medium", "high", "critical"}).description(""))
        ->type_name("info|low|medium|high|critical");
  }
  for (CLI::App* verb : {all, live, one}) add_ctl_options(*verb, options);
  app.require_subcommand(1);
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  filter.set_host_id(host);
  filter.set_detector(detector);
  filter.set_rule(rule);
  filter.set_service(service);
  v1::Severity::Value least{};
  if (v1::Severity::Value_Parse(severity, &least)) filter.set_least_severity(least);
  std::optional<CtlSession> session = CtlSession::open(options);
  if (!session) return kExitUsage;
  if (all->parsed()) {
    v1::ListReportsRequest request;
    *request.mutable_filter() = filter;
    return list(*session, options, request, limit);
  }
  if (one->parsed()) return show(*session, options, id);
  v1::WatchReportsRequest request;
  *request.mutable_filter() = filter;
  request.set_resume(resume);
  return watch(*session, options, request);
}

}  // namespace weir
