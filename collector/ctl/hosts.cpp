// `weirctl hosts`: the fleet, and what is asked of one host.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <map>

#include "collector/ctl/ask.h"
#include "collector/ctl/order.h"
#include "collector/ctl/release.h"
#include "collector/ctl/session.h"
#include "collector/ctl/sign.h"
#include "core/event/address.h"
#include "proto/map/text.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

std::string policy_text(const v1::PolicyState& policy) {
  if (policy.state() == v1::PolicyState::STATE_UNSPECIFIED) return "-";  // it never reported
  const bool none = policy.state() == v1::PolicyState::built_in || policy.number() == 0;
  std::string text =
      none ? "built in"
           : fmt::format("{} {}", policy.number(),
                         policy.state() == v1::PolicyState::expired ? "expired" : "effective");
  const bool of_other = !policy.policy_group().empty() && policy.policy_group() != policy.group();
  if (of_other) text += fmt::format(" of group {}", policy.policy_group());
  // What it has taken since says that the refusal before is past.
  if (!of_other && policy.refused_number() != 0 && policy.refused_number() < policy.number())
    return text;
  if (policy.refused_number() != 0) text += fmt::format(", {} refused", policy.refused_number());
  for (const v1::Reason& reason : policy.why())
    text += fmt::format(" ({})", reason.text().empty() ? reason.code() : reason.text());
  return text;
}

int list(CtlSession& session, const CtlOptions& options, const v1::ListHostsRequest& request) {
  return session.list<v1::ListHostsResponse>(
      "weir.v1.HostAdminService/ListHosts", request, options.output,
      Table({"ID", "NAME", "GROUP", "STATE", "LAST SEEN", "VERSION", "TIER", "POLICY"}),
      [](const v1::ListHostsResponse& answer) -> const auto& { return answer.hosts(); },
      [](const v1::HostInfo& host) {
        return std::vector<std::string>{host.host().id(),
                                        host.host().name(),
                                        host.group(),
                                        v1::HostInfo::State_Name(host.state()),
                                        time_text(host.last_seen()),
                                        host.version(),
                                        host.tier() == 0 ? "-" : fmt::to_string(host.tier()),
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

// ---- commands -----------------------------------------------------------------------------------

constexpr std::uint32_t kLongestIsolation_s = 4 * 3'600;  // what a host takes

struct Asked {
  OrderTerms terms;
  std::string lease;                    // of `undo`
  std::uint64_t tree = 0;               // of `kill` …
  std::string report;                   // … or the report that names it
  std::string place;                    // of `block`: a name, an address or a prefix …
  std::optional<std::uint32_t> person;  // … for this one alone …
  std::uint32_t block_s = 3'600;        // … and how long
  bool yes = false;                     // nothing is asked before it is signed
  CtlOptions options;
};

// What reads as an address, or has a slash, is no name.
void put_place(const Asked& order, v1::CommandBody& body) {
  if (order.person) body.mutable_person()->mutable_user()->set_uid(*order.person);
  v1::Destination& place = *body.mutable_destination();
  if (Prefix::parse(order.place) || order.place.find('/') != std::string::npos)
    place.set_address(order.place);
  else
    place.set_name(order.place);
}

// Signs it and waits for the host. False: `status` is the command's, and a sentence was printed.
bool send(CtlSession& session, const Asked& order, v1::CommandBody::Verb verb,
          v1::CommandResult& result, int& status) {
  OrderTerms terms = order.terms;
  terms.principal = session.admin().principal;
  v1::SendCommandRequest request;
  v1::SendCommandResponse answer;
  request.set_host_id(terms.host);
  status = kExitFailed;
  v1::CommandBody body = order_to(terms, verb, std::time(nullptr));
  body.set_lease_id(order.lease);
  body.set_tree(order.tree);
  if (verb == v1::CommandBody::block_destination) put_place(order, body);
  if (auto made = sign_command(std::move(body), unhex(session.admin().policy_secret_key),
                               *request.mutable_command());
      !made) {
    fmt::print(stderr, "weirctl: {}\n", made.error().sentence);
    return false;
  }
  if (!session.call("weir.v1.HostAdminService/SendCommand", request, answer, status)) return false;
  result = answer.result();
  if (answer.has_result() && result.outcome() == v1::CommandResult::done) return true;
  status = kExitFailed;
  if (!answer.has_result())
    fmt::print(
        stderr,
        "weirctl: command {} is pending: the host has not answered within 10 s; it gets it "
        "when it comes back, for another {} s. `weirctl hosts show {}` says what became of it\n",
        request.command().id(), terms.lifetime_s, terms.host);
  else
    fmt::print(stderr, "weirctl: host {} {}: {}\n", terms.host,
               result.outcome() == v1::CommandResult::expired ? "did not do it" : "refused",
               reasons_of(result));
  if (order.options.output != Output::table) print_message(answer, order.options.output);
  return false;
}

void print_isolation(const v1::Lease& lease) {
  const v1::Decision& why = lease.decision();
  fmt::print("ISOLATED until {} ({}); `weirctl hosts undo` ends it: {}\n", time_text(lease.until()),
             why.because_size() > 0 && why.because(0).args_size() > 0
                 ? shown(why.because(0).args(0))
                 : "-",
             lease.id());
}

void print_release(const v1::Lease& lease) {
  const v1::Decision& why = lease.decision();
  fmt::print("RELEASED until {}: it only observes ({}); `weirctl hosts undo` ends it: {}\n",
             time_text(lease.until()),
             why.because_size() > 0 && why.because(0).args_size() > 0
                 ? shown(why.because(0).args(0))
                 : "-",
             lease.id());
}

void print_block(const v1::Lease& lease) {
  const v1::Decision& why = lease.decision();
  const v1::Destination& to = lease.destination();
  fmt::print(
      "BLOCKED {} for {} until {} ({}); `weirctl hosts undo` ends it: {}\n",
      shown(to.name().empty() ? to.address() : to.name()),
      lease.has_person() ? person_text(lease.person()) : "everybody", time_text(lease.until()),
      why.because_size() > 0 && why.because(0).args_size() > 0 ? shown(why.because(0).args(0))
                                                               : "-",
      lease.id());
}

int print_health(const v1::GetHostResponse& host, Output output) {
  const v1::HostHealth& health = host.health();
  const int status = health.health().degraded_size() > 0 ? kExitDegraded : kExitDone;
  if (output != Output::table) {
    print_message(health, output);
    return status;
  }
  fmt::print("tier {}, policy {}, {} resident\n", health.health().tier(),
             policy_text(host.host().policy()), size_text(health.health().rss_bytes()));
  for (const v1::Reason& why : health.health().degraded())
    fmt::print("degraded: {}\n",
               why.text().empty() ? fmt::format("{}({})", why.code(), fmt::join(why.args(), ", "))
                                  : why.text());
  Table controls({"CONTROL", "STATE"}), counters({"COUNTER", "VALUE"});
  for (const v1::Control& control : health.controls())
    controls.add({control.control(), v1::Control::State_Name(control.state())});
  for (const auto& counter : health.health().counters())
    counters.add({counter.name(), fmt::to_string(counter.value())});
  bool excepts = false;
  Table leases({"EXCEPTION", "WHO", "TO", "BESIDE", "LEFT", "OF", "UNTIL"});
  for (const v1::Lease& lease : health.leases()) {
    if (lease.action() == v1::Action::isolate) {
      print_isolation(lease);
      continue;
    }
    if (lease.action() == v1::Action::block) {
      print_block(lease);
      continue;
    }
    if (lease.decision().rule() == "crashed" && lease.action() == v1::Action::log) {
      fmt::print(
          "CRASHED three times within a minute: it only observes until a new policy comes or its "
          "agent is started again\n");
      continue;
    }
    if (lease.decision().rule() == "release" && lease.action() == v1::Action::log) {
      print_release(lease);
      continue;
    }
    leases.add({lease.id(), person_text(lease.person()),
                lease.destination().name().empty() ? lease.destination().address()
                                                   : lease.destination().name(),
                lease.decision().rule(), size_text(lease.bytes_left()), size_text(lease.bytes()),
                time_text(lease.until())});
    excepts = true;
  }
  if (excepts) leases.print();
  controls.print();
  counters.print();
  return status;
}

int send_health(CtlSession& session, const Asked& order) {
  v1::CommandResult result;
  int status = kExitDone;
  if (!send(session, order, v1::CommandBody::send_health, result, status)) return status;
  v1::GetHostRequest request;
  v1::GetHostResponse host;
  request.set_id(order.terms.host);
  if (!session.call("weir.v1.HostAdminService/GetHost", request, host, status)) return status;
  return print_health(host, order.options.output);
}

int renew(CtlSession& session, const Asked& order) {
  v1::CommandResult result;
  int status = kExitDone;
  if (!agreed(fmt::format("Sign for host {}: renew its certificate?", shown(order.terms.host)),
              order.yes))
    return kExitFailed;
  if (!send(session, order, v1::CommandBody::renew_certificate, result, status)) return status;
  if (order.options.output != Output::table) print_message(result, order.options.output);
  fmt::print(stderr, "host {} has a new certificate\n", order.terms.host);
  return kExitDone;
}

int undo(CtlSession& session, const Asked& order) {
  v1::CommandResult result;
  int status = kExitDone;
  if (!agreed(fmt::format("Sign for host {}: end the exception, block, isolation or release {}?",
                          shown(order.terms.host), shown(order.lease)),
              order.yes))
    return kExitFailed;
  if (!send(session, order, v1::CommandBody::undo, result, status)) return status;
  if (order.options.output != Output::table) print_message(result, order.options.output);
  fmt::print(stderr, "{} has ended on host {}\n", order.lease, order.terms.host);
  return kExitDone;
}

int isolate(CtlSession& session, const Asked& order) {
  v1::CommandResult result;
  int status = kExitDone;
  if (!agreed(
          fmt::format("Sign for host {}: isolate it for {} s? Nothing leaves it then but to its "
                      "resolvers and what its policy names under never_block",
                      shown(order.terms.host), order.terms.lease_s),
          order.yes))
    return kExitFailed;
  if (!send(session, order, v1::CommandBody::isolate, result, status)) return status;
  if (order.options.output != Output::table) print_message(result, order.options.output);
  fmt::print(stderr, "host {} is isolated; `weirctl hosts undo {} {}` ends it before its time\n",
             order.terms.host, order.terms.host, result.id());
  return kExitDone;
}

int block(CtlSession& session, Asked order) {
  v1::CommandResult result;
  order.terms.lease_s = order.block_s;
  int status = kExitDone;
  const std::string whom =
      order.person ? fmt::format("user {}", *order.person) : std::string("everybody");
  if (!agreed(fmt::format("Sign for host {}: block {} for {} for {} s?", shown(order.terms.host),
                          shown(order.place), whom, order.terms.lease_s),
              order.yes))
    return kExitFailed;
  if (!send(session, order, v1::CommandBody::block_destination, result, status)) return status;
  if (order.options.output != Output::table) print_message(result, order.options.output);
  fmt::print(stderr,
             "{} is blocked on host {} for {}; `weirctl hosts undo {} {}` ends it before its "
             "time\n",
             shown(order.place), order.terms.host, whom, order.terms.host, result.id());
  return kExitDone;
}

CLI::App* add_block(CLI::App& hosts, Asked& order) {
  CLI::App* verb =
      hosts.add_subcommand("block", "have nothing leave one for a destination, for at most 7 days");
  verb->add_option("--destination", order.place, "a name and what is below it, an address, a range")
      ->required()
      ->type_name("NAME|ADDRESS|CIDR");
  verb->add_option("--person", order.person, "for this user alone")->type_name("UID");
  verb->add_option("--for", order.block_s, "it ends by itself after so long (default: 1h)")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, std::uint32_t>{{"s", 1}, {"m", 60}, {"h", 3'600}, {"d", 86'400}}))
      ->type_name("1h");
  return verb;
}

// Whose processes a report is about. False: the sentence was printed.
bool find_tree(CtlSession& session, Asked& order, int& status) {
  if (order.report.empty() && order.tree == 0) {
    fmt::print(stderr, "weirctl hosts kill: --tree ID or --report ID\n");
    status = kExitUsage;
    return false;
  }
  if (order.report.empty()) return true;
  v1::GetReportRequest request;
  v1::GetReportResponse answer;
  request.set_id(order.report);
  if (!session.call("weir.v1.ReportAdminService/GetReport", request, answer, status)) return false;
  order.tree = answer.explanation().report().actor().tree();
  const std::string& host = answer.explanation().report().host().id();
  status = kExitFailed;
  if (host != order.terms.host)
    fmt::print(stderr, "weirctl: report {} is of host {}\n", shown(order.report), shown(host));
  else if (order.tree == 0)
    fmt::print(stderr, "weirctl: report {} names no process tree\n", shown(order.report));
  else
    return true;
  return false;
}

int kill_it(CtlSession& session, Asked order) {
  v1::CommandResult result;
  int status = kExitDone;
  if (!find_tree(session, order, status)) return status;
  if (!agreed(fmt::format("Sign for host {}: kill every process of the tree {}? Nothing undoes it",
                          shown(order.terms.host), order.tree),
              order.yes))
    return kExitFailed;
  if (!send(session, order, v1::CommandBody::kill_tree, result, status)) return status;
  if (order.options.output != Output::table) print_message(result, order.options.output);
  const bool left = std::any_of(result.why().begin(), result.why().end(), [](const auto& why) {
    return why.code() == "command_tree_left" || why.code() == "command_tree_not_silenced";
  });
  fmt::print(stderr, "tree {} of host {} {}. {}\n", order.tree, order.terms.host,
             left ? "is not killed whole" : "is killed", reasons_of(result));
  return left ? kExitFailed : kExitDone;
}

CLI::App* add_kill(CLI::App& hosts, Asked& order) {
  CLI::App* verb =
      hosts.add_subcommand("kill", "kill every process of a tree on one; nothing undoes it");
  CLI::Option* tree = verb->add_option("--tree", order.tree, "as reports name it");
  CLI::Option* report = verb->add_option("--report", order.report, "the tree of that report");
  tree->excludes(report)->type_name("ID");
  report->type_name("ID");
  return verb;
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
  Asked order;
  CLI::App* health =
      app.add_subcommand("health", "ask one how it is, now; exit 6 if it is degraded");
  CLI::App* renew_it = app.add_subcommand("renew", "have one renew its certificate, now");
  CLI::App* undo_it = app.add_subcommand(
      "undo",
      "end an exception, a block, the isolation or the release of one; `health` lists them");
  CLI::App* isolate_it =
      app.add_subcommand("isolate", "have nothing leave one, for at most 4 hours");
  CLI::App* kill_verb = add_kill(app, order);
  CLI::App* block_it = add_block(app, order);
  for (CLI::App* verb : {health, renew_it, undo_it, isolate_it, kill_verb, block_it}) {
    verb->add_option("ID", order.terms.host)->required();
    verb->add_option("--reason", order.terms.reason, "for the record, on the host too");
    verb->add_option("--lifetime", order.terms.lifetime_s,
                     "a host that is away has so long (default: 1h)")
        ->transform(CLI::AsNumberWithUnit(
            std::map<std::string, std::uint64_t>{{"s", 1}, {"h", 3'600}, {"d", 86'400}}))
        ->type_name("1h");
    add_ctl_options(*verb, order.options);
  }
  undo_it->add_option("LEASE", order.lease, "its id")->required();
  std::uint32_t lease_s = kLongestIsolation_s;
  isolate_it->add_option("--for", lease_s, "it ends by itself after so long (default: 4h)")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, std::uint32_t>{{"s", 1}, {"m", 60}, {"h", 3'600}}))
      ->type_name("4h");
  for (CLI::App* verb :
       {renew_it, undo_it, isolate_it, kill_verb, block_it})  // `health` changes nothing there
    verb->add_flag("--yes", order.yes, "sign it without a question at the terminal");
  ReleaseWords release;
  CLI::App* release_it = add_release(app, release);
  for (CLI::App* verb : {all, one, revoke}) add_ctl_options(*verb, options);
  app.require_subcommand(1);
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  if (release_it->parsed()) return answer_challenge(release);
  const bool orders = health->parsed() || renew_it->parsed() || undo_it->parsed() ||
                      isolate_it->parsed() || kill_verb->parsed() || block_it->parsed();
  if (isolate_it->parsed()) order.terms.lease_s = lease_s;
  std::optional<CtlSession> session = CtlSession::open(orders ? order.options : options);
  if (!session) return kExitUsage;
  if (health->parsed()) return send_health(*session, order);
  if (renew_it->parsed()) return renew(*session, order);
  if (undo_it->parsed()) return undo(*session, order);
  if (isolate_it->parsed()) return isolate(*session, order);
  if (kill_verb->parsed()) return kill_it(*session, order);
  if (block_it->parsed()) return block(*session, std::move(order));
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
