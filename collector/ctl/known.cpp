// Asks for used names and prints them as a list's file: see known.h.
#include "collector/ctl/known.h"

#include <fmt/format.h>

#include <chrono>

#include "collector/ctl/commands.h"
#include "proto/map/text.h"
#include "weir/v1/admin.pb.h"

namespace weir {

int print_known(CtlSession& session, const KnownTerms& terms, Output output) {
  const std::int64_t now_s = std::chrono::duration_cast<std::chrono::seconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count();
  v1::ListUsedNamesRequest request;
  v1::ListUsedNamesResponse answer;
  request.set_group(terms.group);
  request.set_persons(terms.persons);
  request.set_by_host(terms.by_host);
  request.mutable_from()->set_seconds(now_s - static_cast<std::int64_t>(terms.within_s));
  int status = kExitDone;
  if (!session.call("weir.v1.PolicyAdminService/ListUsedNames", request, answer, status))
    return status;
  if (output != Output::table) {
    print_message(answer, output);
    return kExitDone;
  }
  google::protobuf::Timestamp now;
  now.set_seconds(now_s);
  fmt::print(
      "# Domains that at least {} {} of group {} used, from {} to {}, by names that a\n"
      "# resolver of the policy proved. Made by `weirctl policy known`; read it before you sign "
      "it.\n",
      terms.persons, terms.by_host ? "hosts" : "persons", terms.group, time_text(request.from()),
      time_text(now));
  for (const v1::UsedName& name : answer.names())
    fmt::print("{} # {}\n", shown(name.domain()), name.persons());
  fmt::print(stderr, "{} domains out of {} rows{}\n", answer.names_size(), answer.rows(),
             answer.cut() ? "; there were more than can be counted, the list is not whole" : "");
  return kExitDone;
}

}  // namespace weir
