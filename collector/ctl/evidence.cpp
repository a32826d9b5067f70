// `weirctl evidence`: whether the records of a host are whole and in their order.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "collector/ctl/session.h"
#include "weir/v1/admin.pb.h"

namespace weir {

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
    fmt::print("{} records, {} gaps that the host told, {} breaks\n", answer.records(),
               answer.gaps(), answer.breaks_size());
    for (const auto& broken : answer.breaks())
      fmt::print("  {} {}: {}\n", v1::Lane::Value_Name(broken.at().lane()), broken.at().sequence(),
                 broken.sentence());
  }
  return answer.breaks_size() == 0 ? kExitDone : kExitViolations;
}

}  // namespace weir
