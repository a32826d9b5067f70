// `weirctl policy assign`: a host joins another group. It is the host's to do, by a command that is
// signed here; the collector keeps it until the host has answered.
#include "collector/ctl/assign.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "collector/ctl/ask.h"
#include "collector/ctl/sign.h"
#include "proto/map/text.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// A policy of the group that was replaced since must not come back: the host takes none below what
// is desired now.
Result<void> sign_join(const CtlSession& session, const OrderTerms& terms, const std::string& group,
                       std::uint32_t least, v1::Command& out) {
  const std::int64_t decided_ms = now_ms();
  v1::CommandBody body = order_to(terms, v1::CommandBody::join_group, decided_ms / 1'000);
  body.mutable_join()->set_group(group);
  body.mutable_join()->set_least_number(least);
  body.mutable_join()->set_decided_wall_ms(decided_ms);
  return sign_command(std::move(body), unhex(session.admin().policy_secret_key), out);
}

// An agent of before there were such commands refuses a part that it does not know.
bool is_too_old(const v1::CommandResult& result) {
  return std::ranges::any_of(
      result.why(), [](const v1::Reason& why) { return why.code() == "command_unknown_part"; });
}

int print_undone(const v1::AssignPolicyRequest& request, const v1::AssignPolicyResponse& answer,
                 const OrderTerms& terms) {
  const std::string& group = answer.host().group();
  if (!answer.has_result())
    fmt::print(stderr,
               "weirctl: command {} is pending: host {} belongs to group {} until it has answered. "
               "It has not within 10 s; it gets the command when it comes back, for another {} h\n",
               request.command().id(), terms.host, group, terms.lifetime_s / 3'600);
  else
    fmt::print(
        stderr, "weirctl: host {} {}, and belongs to group {} still: {}\n", terms.host,
        answer.result().outcome() == v1::CommandResult::expired ? "did not do it" : "refused",
        group, reasons_of(answer.result()));
  if (is_too_old(answer.result()))
    fmt::print(stderr, "weirctl: its agent ({}) can't change its group: upgrade it first\n",
               answer.host().version());
  return kExitFailed;
}

}  // namespace

int assign_host(CtlSession& session, OrderTerms terms, const std::string& group, bool yes,
                const CtlOptions& options) {
  terms.principal = session.admin().principal;
  v1::GetPolicyStatusRequest of_group;
  v1::GetPolicyStatusResponse now;
  int status = kExitDone;
  of_group.set_group(group);
  if (!session.call("weir.v1.PolicyAdminService/GetPolicyStatus", of_group, now, status))
    return status;
  if (!agreed(fmt::format("Sign for host {}: join group {}, take its policies from number {} on?",
                          shown(terms.host), shown(group), now.desired()),
              yes))
    return kExitFailed;
  v1::AssignPolicyRequest request;
  v1::AssignPolicyResponse answer;
  request.set_host_id(terms.host);
  request.set_group(group);
  if (auto made = sign_join(session, terms, group, now.desired(), *request.mutable_command());
      !made) {
    fmt::print(stderr, "weirctl: {}\n", made.error().sentence);
    return kExitFailed;
  }
  if (!session.call("weir.v1.PolicyAdminService/AssignPolicy", request, answer, status))
    return status;
  if (options.output != Output::table) print_message(answer, options.output);
  if (answer.result().outcome() != v1::CommandResult::done)
    return print_undone(request, answer, terms);
  if (now.desired() == 0)
    fmt::print(stderr,
               "host {} belongs to group {}, which has no policy yet: the host keeps the one that "
               "it has\n",
               terms.host, group);
  else
    fmt::print(stderr, "host {} belongs to group {}, and takes its policies from {} on\n",
               terms.host, group, now.desired());
  return kExitDone;
}

}  // namespace weir
