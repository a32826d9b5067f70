// `weirctl hosts`: the fleet.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "collector/ctl/session.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

std::string policy_text(const v1::PolicyState& policy) {
  if (policy.state() == v1::PolicyState::STATE_UNSPECIFIED) return "-";  // it never reported
  std::string text =
      policy.state() == v1::PolicyState::built_in
          ? "built in"
          : fmt::format("{} {}", policy.number(), v1::PolicyState::State_Name(policy.state()));
  if (policy.refused_number() != 0) text += fmt::format(", {} refused", policy.refused_number());
  for (const v1::Reason& reason : policy.why())
    text += fmt::format(" ({})", reason.text().empty() ? reason.code() : reason.text());
  return text;
}

int list(CtlSession& session, const CtlOptions& options, const v1::ListHostsRequest& request) {
  return session.list<v1::ListHostsResponse>(
      "weir.v1.HostAdminService/ListHosts", request, options.output,
      Table({"ID", "NAME", "GROUP", "STATE", "LAST SEEN", "VERSION", "POLICY"}),
      [](const v1::ListHostsResponse& answer) -> const auto& { return answer.hosts(); },
      [](const v1::HostInfo& host) {
        return std::vector<std::string>{host.host().id(),
                                        host.host().name(),
                                        host.group(),
                                        v1::HostInfo::State_Name(host.state()),
                                        time_text(host.last_seen()),
                                        host.version(),
                                        policy_text(host.policy())};
      });
}

int show(CtlSession& session, const CtlOptions& options, const std::string& id) {
  v1::GetHostRequest request;
  v1::GetHostResponse answer;
  request.set_id(id);
  int status = kExitDone;
  if (session.call("weir.v1.HostAdminService/GetHost", request, answer, status))
    print_message(answer, options.output == Output::json ? Output::json : Output::yaml);
  return status;
}

}  // namespace

int ctl_hosts(int argc, char** argv) {
  CLI::App app("The fleet.", "weirctl hosts");
  CtlOptions options;
  v1::ListHostsRequest filter;
  std::string group, id, reason;
  CLI::App* all = app.add_subcommand("list", "list them");
  all->add_option("--group", group, "only this one's");
  CLI::App* one = app.add_subcommand("show", "all that is known of one");
  one->add_option("ID", id)->required();
  CLI::App* revoke = app.add_subcommand("revoke", "end its certificate; it may enrol anew");
  revoke->add_option("ID", id)->required();
  revoke->add_option("--reason", reason, "for the record")->required();
  for (CLI::App* verb : {all, one, revoke}) add_ctl_options(*verb, options);
  app.require_subcommand(1);
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  std::optional<CtlSession> session = CtlSession::open(options);
  if (!session) return kExitUsage;
  if (all->parsed()) {
    filter.set_group(group);
    return list(*session, options, filter);
  }
  if (one->parsed()) return show(*session, options, id);
  v1::RevokeHostRequest request;
  v1::RevokeHostResponse answer;
  request.set_id(id);
  request.set_reason(reason);
  int status = kExitDone;
  if (session->call("weir.v1.HostAdminService/RevokeHost", request, answer, status))
    fmt::print(stderr, "host {} is revoked\n", id);
  return status;
}

}  // namespace weir
