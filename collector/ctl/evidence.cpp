// `weirctl evidence`: whether the records of a host are whole and in their order.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "collector/ctl/session.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

const char* reason_of(v1::LostRange::Why why) {
  switch (why) {
    case v1::LostRange::evicted:
      return "the host's spool was full";
    case v1::LostRange::damaged:
      return "damaged in the host's spool";
    case v1::LostRange::not_written:
      return "the host's disk refused them";
    case v1::LostRange::collector_restored:
      return "the collector was put back from an older copy";
    default:
      return "the host said no reason";
  }
}

}  // namespace

int ctl_evidence(int argc, char** argv) {
  CLI::App app("Whether the records of a host are whole and in their order.", "weirctl evidence");
  CtlOptions options;
  v1::VerifyEvidenceRequest request;
  v1::VerifyEvidenceResponse answer;
  std::string host;
  CLI::App* verify = app.add_subcommand("verify", "walk the chain of a host's records");
  verify->add_option("HOST", host, "its id")->required();
  add_ctl_options(*verify, options);
  app.require_subcommand(1);
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  std::optional<CtlSession> session = CtlSession::open(options);
  if (!session) return kExitUsage;
  request.set_host_id(host);
  int status = kExitDone;
  if (!session->call("weir.v1.EvidenceAdminService/VerifyEvidence", request, answer, status))
    return status;
  if (options.output != Output::table) {
    print_message(answer, options.output);
  } else {
    fmt::print("{} records, {} gaps that were told, {} breaks\n", answer.records(), answer.gaps(),
               answer.breaks_size());
    for (const auto& gap : answer.missing())
      fmt::print("  {} {} to {} are missing: {}\n", v1::Lane::Value_Name(gap.first().lane()),
                 gap.first().sequence(), gap.last_sequence(), reason_of(gap.why()));
    for (const auto& broken : answer.breaks())
      fmt::print("  {} {}: {}\n", v1::Lane::Value_Name(broken.at().lane()), broken.at().sequence(),
                 broken.sentence());
  }
  return answer.breaks_size() == 0 ? kExitDone : kExitViolations;
}

}  // namespace weir
