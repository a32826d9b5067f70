// `weirctl tokens`: what lets a host enrol.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "collector/ctl/session.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

std::vector<std::string> row_of(const v1::TokenInfo& token) {
  return {token.id(), token.group(), fmt::format("{}/{}", token.uses(), token.max_uses()),
          token.revoked() ? "revoked" : time_text(token.expires()), token.created_by()};
}

int create(CtlSession& session, const CtlOptions& options, const v1::CreateTokenRequest& request) {
  v1::CreateTokenResponse answer;
  int status = 0;
  if (!session.call("weir.v1.TokenAdminService/CreateToken", request, answer, status))
    return status;
  if (options.output != Output::table) {
    print_message(answer, options.output);
    return kExitDone;
  }
  // The token alone goes to standard output: `weirctl tokens create > token`.
  fmt::print("{}\n", answer.text());
  fmt::print(stderr, "token {} for group {}: {} use(s), until {}; it is shown this once\n",
             answer.token().id(), answer.token().group(), answer.token().max_uses(),
             time_text(answer.token().expires()));
  return kExitDone;
}

int list(CtlSession& session, const CtlOptions& options) {
  return session.list<v1::ListTokensResponse>(
      "weir.v1.TokenAdminService/ListTokens", v1::ListTokensRequest(), options.output,
      Table({"ID", "GROUP", "USED", "EXPIRES", "MADE BY"}),
      [](const v1::ListTokensResponse& answer) -> const auto& { return answer.tokens(); }, row_of);
}

}  // namespace

int ctl_tokens(int argc, char** argv) {
  CLI::App app("What lets a host enrol.", "weirctl tokens");
  CtlOptions options;
  v1::CreateTokenRequest wanted;
  std::string group = "default", id;
  std::uint32_t uses = 1;
  std::uint64_t lifetime_s = 3600;
  CLI::App* make = app.add_subcommand("create", "make one; its text is shown once");
  make->add_option("--group", group, "that the hosts will belong to")->capture_default_str();
  make->add_option("--uses", uses, "hosts that may enrol by it")->capture_default_str();
  make->add_option("--lifetime", lifetime_s, "at most a day")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, std::uint64_t>{{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}))
      ->type_name("60m|24h")
      ->default_str("1h");
  CLI::App* show = app.add_subcommand("list", "list them, used and revoked ones too");
  CLI::App* revoke = app.add_subcommand("revoke", "end one now");
  revoke->add_option("ID", id)->required();
  for (CLI::App* verb : {make, show, revoke}) add_ctl_options(*verb, options);
  app.require_subcommand(1);
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  std::optional<CtlSession> session = CtlSession::open(options);
  if (!session) return kExitUsage;
  if (make->parsed()) {
    wanted.set_group(group);
    wanted.set_max_uses(uses);
    wanted.set_lifetime_s(static_cast<std::uint32_t>(lifetime_s));
    return create(*session, options, wanted);
  }
  if (show->parsed()) return list(*session, options);
  v1::RevokeTokenRequest request;
  v1::RevokeTokenResponse answer;
  request.set_id(id);
  int status = kExitDone;
  if (session->call("weir.v1.TokenAdminService/RevokeToken", request, answer, status))
    fmt::print(stderr, "token {} is revoked\n", id);
  return status;
}

}  // namespace weir
