// `weirctl requests`: what persons ask for, and what is decided. An approval is an exception that
// is signed here: the collector can neither make nor widen one.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <map>

#include "collector/ctl/ask.h"
#include "collector/ctl/order.h"
#include "collector/ctl/session.h"
#include "collector/ctl/sign.h"
#include "core/policy/exceptions.h"
#include "core/policy/signature.h"
#include "proto/map/text.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

using Body = v1::CommandBody;
using State = v1::RequestInfo;

std::string state_text(const v1::RequestInfo& info) {
  std::string text = v1::RequestInfo::State_Name(info.state());
  if (info.decided_by().empty() || info.state() == State::expired) return text;
  if (!info.has_result()) return text + ", its host does not know yet";
  if (info.result().outcome() == v1::CommandResult::done) return text;
  return text + (info.result().outcome() == v1::CommandResult::refused ? ", refused by its host"
                                                                       : ", its host was away");
}

std::string bytes_text(std::uint64_t bytes) {
  return bytes == 0 ? "the limit again" : size_text(bytes);
}

std::string span_text(std::uint64_t seconds) {
  if (seconds == 0) return "-";
  if (seconds % 86'400 == 0) return fmt::format("{}d", seconds / 86'400);
  if (seconds % 3'600 == 0) return fmt::format("{}h", seconds / 3'600);
  return seconds % 60 == 0 ? fmt::format("{}m", seconds / 60) : fmt::format("{}s", seconds);
}

// An exception is for a uid and for a name, or an address where there is none: what a host says
// beside them (a person's name, a service) is not what is signed.
std::string who_text(const v1::Person& person) {
  if (person.name().empty() || !person.user().has_uid()) return person_text(person);
  return fmt::format("{} (uid {})", person.name(), person.user().uid());
}

std::string where_text(const v1::Destination& place) {
  return place.name().empty() ? place.address() : place.name();
}

int list(CtlSession& session, const CtlOptions& options, const v1::ListRequestsRequest& filter) {
  return session.list<v1::ListRequestsResponse>(
      "weir.v1.RequestAdminService/ListRequests", filter, options.output,
      Table({"ID", "STATE", "ASKED", "HOST", "WHO", "TO", "RULE", "BYTES", "FOR", "WHY"}),
      [](const v1::ListRequestsResponse& answer) -> const auto& { return answer.requests(); },
      [](const v1::RequestInfo& info) {
        const v1::ExceptionRequest& asked = info.request();
        return std::vector<std::string>{
            asked.id(),
            state_text(info),
            time_text(info.received()),
            info.host().name().empty() ? info.host().id() : info.host().name(),
            who_text(asked.person()),
            where_text(asked.destination()),
            asked.rule(),
            bytes_text(asked.bytes()),
            span_text(asked.duration_s()),
            asked.justification()};
      });
}

struct Decided {
  std::string id, note;
  std::optional<std::uint64_t> bytes;
  std::optional<std::uint64_t> for_s;
  bool yes = false;  // nothing is asked before it is signed
  CtlOptions options;
};

// False: `status` is the command's, and a sentence was printed.
bool find(CtlSession& session, const std::string& id, v1::RequestInfo& found, int& status) {
  v1::ListRequestsRequest request;
  v1::ListRequestsResponse answer;
  request.set_id(id);
  status = kExitFailed;
  if (id.empty() ||
      !session.call("weir.v1.RequestAdminService/ListRequests", request, answer, status))
    return false;
  if (answer.requests_size() != 1) {
    fmt::print(stderr, "weirctl: there is no request {}\n", shown(id));
    return false;
  }
  found = answer.requests(0);
  return true;
}

Body approval(const v1::RequestInfo& info, const Decided& decision, OrderTerms terms,
              std::int64_t now_s) {
  const v1::ExceptionRequest& asked = info.request();
  const std::uint64_t asked_s = asked.duration_s() == 0 ? kUsualException_s : asked.duration_s();
  terms.lifetime_s = std::min(decision.for_s.value_or(asked_s), std::uint64_t{kLongestException_s});
  Body body = order_to(terms, Body::except, now_s);
  body.set_lease_s(static_cast<std::uint32_t>(terms.lifetime_s));
  v1::Exception& exception = *body.mutable_exception();
  exception.set_id(new_id());
  exception.set_request_id(asked.id());
  exception.add_sets_aside(asked.rule());
  *exception.mutable_person() = asked.person();
  *exception.mutable_destination() = asked.destination();
  if (decision.bytes || asked.bytes() != 0)
    exception.set_bytes(decision.bytes.value_or(asked.bytes()));
  exception.mutable_until()->set_seconds(body.expires_wall_s());
  return body;
}

Body denial(const v1::RequestInfo& info, OrderTerms terms, std::int64_t now_s) {
  terms.lifetime_s = kMaxCommandLifeS;  // the person is told whenever the host is back
  Body body = order_to(terms, Body::deny_request, now_s);
  body.mutable_exception()->set_request_id(info.request().id());
  return body;
}

// What is signed, from the body itself: what the collector shows beside it may be another thing.
std::string sentence_of(const v1::RequestInfo& info, const Body& body) {
  const v1::Exception& exception = body.exception();
  if (body.verb() != Body::except) {
    const v1::ExceptionRequest& asked = info.request();
    return shown(fmt::format("the request {} of {}, to send to {}, on host {}",
                             exception.request_id(), who_text(asked.person()),
                             where_text(asked.destination()), body.host_id()));
  }
  return shown(fmt::format(
      "{} may send {} to {} beside the rule {}, until {}, on host {}", who_text(exception.person()),
      exception.has_bytes() ? size_text(exception.bytes()) : "as much as its limit again",
      where_text(exception.destination()), exception.sets_aside(0), time_text(exception.until()),
      body.host_id()));
}

// An exception for a name counts only where a resolver of the host's policy has proven it.
void warn_of_unproven(const v1::ExceptionRequest& asked) {
  const v1::Destination& to = asked.destination();
  if (to.name().empty() || to.name_proven()) return;
  fmt::print(stderr,
             "weirctl: nothing had proven the name {} on that host when it was reported. An "
             "exception for a name counts only where it is proven: this one may change nothing\n",
             shown(to.name()));
}

// What was decided, and what the host said to it. `made`: what was signed, which the collector's
// answer need not repeat.
int tell(const v1::RequestInfo& info, const Body& made, const Decided& decision) {
  if (decision.options.output != Output::table) print_message(info, decision.options.output);
  if (info.has_result() && info.result().outcome() != v1::CommandResult::done) {
    fmt::print(stderr, "weirctl: host {} {}: {}\n", shown(info.host().name()),
               info.result().outcome() == v1::CommandResult::refused ? "refused" : "did not do it",
               reasons_of(info.result()));
    return kExitFailed;
  }
  fmt::print(stderr, "{}: {}\n", made.verb() == Body::except ? "approved" : "denied",
             sentence_of(info, made));
  if (info.has_result() && info.result().why_size() > 0)
    fmt::print(stderr, "host {} says: {}\n", shown(info.host().name()), reasons_of(info.result()));
  if (!info.has_result())
    fmt::print(stderr,
               "host {} has not answered within 10 s: it gets this when it comes back. `weirctl "
               "requests list` says what became of it\n",
               shown(info.host().name()));
  return kExitDone;
}

int decide(CtlSession& session, const Decided& decision, bool approve) {
  v1::RequestInfo info;
  int status = kExitDone;
  if (!find(session, decision.id, info, status)) return status;
  const OrderTerms terms{
      .host = info.host().id(), .principal = session.admin().principal, .reason = decision.note};
  const auto now_s = static_cast<std::int64_t>(std::time(nullptr));
  v1::DecideRequestRequest request;
  v1::DecideRequestResponse answer;
  request.set_id(decision.id);
  request.set_approve(approve);
  request.set_note(decision.note);
  request.set_beyond_asked(decision.bytes || decision.for_s);
  if (approve) warn_of_unproven(info.request());
  const Body body = approve ? approval(info, decision, terms, now_s) : denial(info, terms, now_s);
  if (!agreed(fmt::format("{} {}?", approve ? "Sign an approval:" : "Sign a denial of",
                          sentence_of(info, body)),
              decision.yes))
    return kExitFailed;
  if (auto made =
          sign_command(body, unhex(session.admin().policy_secret_key), *request.mutable_command());
      !made) {
    fmt::print(stderr, "weirctl: {}\n", made.error().sentence);
    return kExitFailed;
  }
  if (!session.call("weir.v1.RequestAdminService/DecideRequest", request, answer, status))
    return status;
  return tell(answer.request(), body, decision);
}

CLI::Validator between(std::uint64_t least, std::uint64_t most, std::string otherwise) {
  const auto check = [least, most, otherwise](const std::string& text) {
    std::uint64_t value = 0;
    return CLI::detail::lexical_cast(text, value) && value >= least && value <= most ? ""
                                                                                     : otherwise;
  };
  return CLI::Validator(check, "");
}

const std::map<std::string, std::uint64_t> kSizes{{"KiB", 1ull << 10}, {"MiB", 1ull << 20},
                                                  {"GiB", 1ull << 30}, {"kB", 1'000},
                                                  {"MB", 1'000'000},   {"GB", 1'000'000'000}};

}  // namespace

int ctl_requests(int argc, char** argv) {
  CLI::App app("What persons ask for, beyond a rule.", "weirctl requests");
  CtlOptions options;
  Decided decision;
  std::string state;
  CLI::App* all = app.add_subcommand("list", "the newest first");
  all->add_option("--state", state, "only those")
      ->check(CLI::IsMember({"open", "approved", "denied", "expired"}).description(""))
      ->type_name("open|approved|denied|expired");
  CLI::App* approve =
      app.add_subcommand("approve", "sign the exception that was asked for, or another");
  approve->add_option("ID", decision.id)->required();
  approve->add_option("--bytes", decision.bytes, "so many instead of what was asked, at most 4GiB")
      ->transform(CLI::AsNumberWithUnit(kSizes))
      ->check(between(1, kMostExceptionBytes, "an exception is for at least 1 byte, at most 4GiB"))
      ->type_name("64KiB");
  approve->add_option("--for", decision.for_s, "so long instead of what was asked, at most 24h")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, std::uint64_t>{{"s", 1}, {"m", 60}, {"h", 3'600}, {"d", 86'400}}))
      ->check(between(1, kLongestException_s, "an exception lasts at least 1s, at most 24h"))
      ->type_name("1h");
  CLI::App* deny = app.add_subcommand("deny", "refuse it; the person is told why");
  deny->add_option("ID", decision.id)->required();
  approve->add_option("--note", decision.note, "for the record, and for the person");
  deny->add_option("--note", decision.note, "for the record, and for the person")->required();
  add_ctl_options(*all, options);
  for (CLI::App* verb : {approve, deny}) {
    verb->add_flag("--yes", decision.yes, "sign it without a question at the terminal");
    add_ctl_options(*verb, decision.options);
  }
  app.require_subcommand(1);
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  std::optional<CtlSession> session = CtlSession::open(all->parsed() ? options : decision.options);
  if (!session) return kExitUsage;
  if (!all->parsed()) return decide(*session, decision, approve->parsed());
  v1::ListRequestsRequest filter;
  State::State only{};
  if (v1::RequestInfo::State_Parse(state, &only)) filter.set_state(only);
  return list(*session, options, filter);
}

}  // namespace weir
