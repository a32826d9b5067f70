// `weirctl policy`: from a YAML file to what every desk of a group keeps.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>

#include "collector/ctl/assign.h"
#include "collector/ctl/known.h"
#include "collector/ctl/rotate.h"
#include "collector/ctl/session.h"
#include "collector/ctl/sign.h"
#include "core/policy/evaluate.h"
#include "core/policy/known_names.h"
#include "core/policy/surface/surface.h"
#include "platform/files/lists.h"
#include "proto/map/policy_proto.h"
#include "proto/map/text.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

constexpr std::uint64_t kDay_s = 86'400;

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Result<std::string> read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(fmt::format("{}: can't be read", path));
  std::string text(kMaxPolicyBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxPolicyBytes)
    return fail(fmt::format("{}: larger than {} bytes", path, kMaxPolicyBytes));
  return text;
}

Result<Policy> parse_file(const std::string& text, const std::string& path) {
  return parse_policy(text, path, read_beside(path, lists_of(text), kMaxListBytes));
}

Result<Policy> read_policy(const std::string& path) {
  Result<std::string> text = read_text(path);
  return text ? parse_file(*text, path) : tl::unexpected(text.error());
}

// What a desk of this version would refuse, a line each.
std::string refused_in(const Policy& policy) {
  std::string sentences;
  if (policy.mode == Mode::enforce)
    for (const std::string& part : unenforceable(policy))
      sentences += (sentences.empty() ? "" : "\n") + part;
  return sentences;
}

int lint(const std::string& path) {
  Result<std::string> text = read_text(path);
  if (!text) {
    fmt::print(stderr, "weirctl: {}\n", text.error().sentence);
    return kExitUsage;
  }
  Result<Policy> policy = parse_file(*text, path);
  std::string faults = policy ? refused_in(*policy) : policy.error().sentence;
  if (faults.empty()) {
    const std::size_t known = known_count(policy->known);
    fmt::print(stderr, "{}: {} rules{}, no fault\n", path, policy->rules.size(),
               known > 0 ? fmt::format(", {} known domains", known) : "");
    return kExitDone;
  }
  fmt::print("{}\n", faults);
  return kExitViolations;
}

struct Publication {
  std::string group = "default";
  std::uint64_t lifetime_s = 90 * kDay_s;
  bool wait = false;
  CtlOptions options;
};

bool status_of(CtlSession& session, const std::string& group, bool wait,
               v1::GetPolicyStatusResponse& answer, int& status) {
  v1::GetPolicyStatusRequest request;
  request.set_group(group);
  request.set_wait(wait);
  return session.call("weir.v1.PolicyAdminService/GetPolicyStatus", request, answer, status);
}

// With the reason where desired and effective differ.
int print_status(const v1::GetPolicyStatusResponse& state, Output output) {
  if (output != Output::table) {
    print_message(state, output);
    return kExitDone;
  }
  if (state.desired() == 0)
    fmt::print("the group has no policy: what its hosts have stays in force on {}\n",
               state.pending());
  else
    fmt::print("policy {} is desired: effective on {}, refused by {}, pending on {}\n",
               state.desired(), state.effective(), state.refused(), state.pending());
  if (state.highest() > state.desired())
    fmt::print(
        "hosts have a policy {} that this collector does not know: it was put back from an older "
        "copy. Publish again: they follow a number above that\n",
        state.highest());
  for (const v1::HostInfo& host : state.differing()) {
    fmt::print("  {} ({}): has {}", host.host().id(), host.host().name(), host.policy().number());
    if (!host.policy().policy_group().empty() && host.policy().policy_group() != host.group())
      fmt::print(" of group {}", host.policy().policy_group());
    if (!host.policy().group().empty() && host.policy().group() != host.group())
      fmt::print("; takes policies of group {} only: assign it anew", host.policy().group());
    for (const v1::Reason& why : host.policy().why())
      fmt::print("; {}", why.text().empty()
                             ? fmt::format("{}({})", why.code(), fmt::join(why.args(), ", "))
                             : why.text());
    fmt::print("\n");
  }
  for (const v1::HostInfo& host : state.joining())
    fmt::print("  {} ({}): of group {}, is told to join and has not answered\n", host.host().id(),
               host.host().name(), host.group());
  return state.refused() == 0 ? kExitDone : kExitFailed;
}

// Signs under the number that follows `now`. The collector refuses it if another was faster.
bool sign_next(CtlSession& session, const Policy& policy, const Publication& wanted,
               const v1::GetPolicyStatusResponse& now, v1::SignedPolicy& out, int& status) {
  EnvelopeTerms terms{std::max(now.desired(), now.highest()) + 1, now_s() - kBackdated_s,
                      now_s() + static_cast<std::int64_t>(wanted.lifetime_s), wanted.group};
  auto made = sign_policy(policy, terms, unhex(session.admin().policy_secret_key), out);
  if (made) return true;
  fmt::print(stderr, "weirctl: {}\n", made.error().sentence);
  status = kExitFailed;
  return false;
}

int finish(CtlSession& session, const Publication& wanted, std::uint32_t number,
           const std::string& more = "") {
  fmt::print(stderr, "policy {} is published for group {}{}\n", number, wanted.group, more);
  if (!wanted.wait) return kExitDone;
  v1::GetPolicyStatusResponse state;
  int status = 0;
  if (!status_of(session, wanted.group, true, state, status)) return status;
  return print_status(state, wanted.options.output);
}

int publish(CtlSession& session, const std::string& path, const Publication& wanted) {
  Result<Policy> policy = read_policy(path);
  std::string faults = policy ? refused_in(*policy) : policy.error().sentence;
  if (!faults.empty()) {
    fmt::print(stderr, "weirctl: nothing was published:\n{}\n", faults);
    return kExitUsage;
  }
  v1::PublishPolicyRequest request;
  v1::PublishPolicyResponse answer;
  v1::GetPolicyStatusResponse now;
  int status = 0;
  request.set_group(wanted.group);
  if (!status_of(session, wanted.group, false, now, status) ||
      !sign_next(session, *policy, wanted, now, *request.mutable_policy(), status) ||
      !session.call("weir.v1.PolicyAdminService/PublishPolicy", request, answer, status))
    return status;
  return finish(session, wanted, answer.number());
}

int roll_back(CtlSession& session, std::uint32_t to, const Publication& wanted) {
  v1::GetPolicyStatusResponse now;
  int status = 0;
  if (!status_of(session, wanted.group, false, now, status)) return status;
  v1::GetPolicyRequest earlier;
  v1::GetPolicyResponse found;
  earlier.set_group(wanted.group);
  earlier.set_number(to);
  earlier.set_earlier(to == 0);
  if (!session.call("weir.v1.PolicyAdminService/GetPolicy", earlier, found, status)) return status;
  Result<Policy> policy = policy_in(found.policy(), wanted.group, own_keys(session.admin()));
  if (!policy) {
    fmt::print(stderr, "weirctl: policy {}: {}\n", found.number(), policy.error().sentence);
    return kExitFailed;
  }
  v1::RollbackPolicyRequest request;
  v1::RollbackPolicyResponse answer;
  request.set_group(wanted.group);
  request.set_source(found.number());
  if (!sign_next(session, *policy, wanted, now, *request.mutable_policy(), status) ||
      !session.call("weir.v1.PolicyAdminService/RollbackPolicy", request, answer, status))
    return status;
  return finish(session, wanted, answer.number(),
                fmt::format(": it has the text of {} ({}, published {} by {}) in place of that of "
                            "{}",
                            found.number(), shown(policy->name), time_text(found.published()),
                            shown(found.published_by()), now.desired()));
}

// What a draft would have done with what a group's desks reported.
int replay(CtlSession& session, const std::string& path, const std::string& group,
           std::uint64_t since_s, Output output) {
  Result<Policy> policy = read_policy(path);
  if (!policy) {
    fmt::print(stderr, "weirctl: {}\n", policy.error().sentence);
    return kExitUsage;
  }
  v1::ReplayPolicyRequest request;
  v1::ReplayPolicyResponse answer;
  to_proto(*policy, *request.mutable_policy());
  request.set_group(group);
  request.mutable_from()->set_seconds(now_s() - static_cast<std::int64_t>(since_s));
  int status = kExitDone;
  if (!session.call("weir.v1.PolicyAdminService/ReplayPolicy", request, answer, status))
    return status;
  if (output != Output::table) {
    print_message(answer, output);
    return kExitDone;
  }
  fmt::print("tried on {} reports of group {}{}\n", answer.reports(), group,
             answer.cut() ? "; more were left out (try a shorter --since)" : "");
  for (const auto& [action, count] : answer.decisions()) fmt::print("  {:<8}{}\n", action, count);
  fmt::print("it would have stopped something for {} people on {} hosts\n", answer.persons(),
             answer.hosts());
  if (answer.examples_size() > 0) {
    fmt::print("\ndecided otherwise than it was (at most 100):\n");
    Table table(kReportHead);
    for (const v1::Report& report : answer.examples()) table.add(report_row(report));
    table.print();
  }
  fmt::print(
      "\nOnly what was reported can be tried: what no rule or detector spoke of then is not here.\n"
      "Names and networks count as proven, and accounts start empty.\n");
  return kExitDone;
}

std::string lasts_as_long_as_a_command(const std::string& text) {
  std::uint64_t lifetime_s = 0;
  return CLI::detail::lexical_cast(text, lifetime_s) && lifetime_s >= 1 &&
                 lifetime_s <= kAssignmentLife_s
             ? ""
             : "a host takes a command for at least 1h, at most 7d";
}

}  // namespace

int ctl_policy(int argc, char** argv) {
  CLI::App app("From a YAML file to what every desk of a group keeps.", "weirctl policy");
  Publication wanted;
  OrderTerms order{.host = "", .principal = "", .reason = "", .lifetime_s = kAssignmentLife_s};
  bool yes = false;
  std::string file;
  std::uint32_t to = 0;
  std::uint64_t since_s = 7 * kDay_s;
  CLI::App* check = app.add_subcommand("lint", "say what is wrong with a file; needs no collector");
  CLI::App* tried = app.add_subcommand("replay", "try a draft on what was reported");
  CLI::App* publish_it = app.add_subcommand("publish", "sign a file and publish it to a group");
  CLI::App* known =
      app.add_subcommand("known", "print what colleagues use, as a list for a policy");
  CLI::App* back = app.add_subcommand("rollback", "publish an earlier text again");
  CLI::App* show = app.add_subcommand("status", "desired against effective");
  CLI::App* move = app.add_subcommand("assign", "have a host join a group");
  CLI::App* rotate =
      app.add_subcommand("rotate-key", "sign by a new key; the old one is void then");
  for (CLI::App* verb : {check, tried, publish_it})
    verb->add_option("FILE", file, "policy, YAML")->required();
  back->add_option("--to", to, "its number (default: the newest before with another text)");
  const CLI::AsNumberWithUnit lasting(
      std::map<std::string, std::uint64_t>{{"h", 3600}, {"d", kDay_s}});
  for (CLI::App* verb : {publish_it, back})
    verb->add_option("--lifetime", wanted.lifetime_s, "of the signature (default: 90d)")
        ->transform(lasting)
        ->type_name("90d");
  tried->add_option("--since", since_s, "how far back (default: 7d)")
      ->transform(lasting)
      ->type_name("7d");
  KnownTerms used;
  known->add_option("--persons", used.persons, "who used it with proof, at least")
      ->check(CLI::Range(2, 32))
      ->capture_default_str();
  known->add_option("--within", used.within_s, "how far back (default: 14d)")
      ->transform(lasting)
      ->type_name("14d");
  known->add_flag("--by-host", used.by_host, "a desk counts as one person");
  known->add_option("--group", used.group)->capture_default_str();
  move->add_option("HOST", order.host, "its id")->required();
  move->add_flag("--yes", yes, "sign it without a question at the terminal");
  move->add_option("--reason", order.reason, "for the record, on the host too");
  move->add_option("--lifetime", order.lifetime_s, "a host that is away has so long (default: 7d)")
      ->transform(lasting)
      ->check(lasts_as_long_as_a_command)
      ->type_name("7d");
  for (CLI::App* verb : {tried, publish_it, back, show, move})
    verb->add_option("--group", wanted.group)->capture_default_str();
  for (CLI::App* verb : {publish_it, back, show})
    verb->add_flag("--wait", wanted.wait, "until all that are online have it, at most 30 s");
  for (CLI::App* verb : {tried, publish_it, known, back, show, move, rotate})
    add_ctl_options(*verb, wanted.options);
  app.require_subcommand(1);
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  if (check->parsed()) return lint(file);
  std::optional<CtlSession> session = CtlSession::open(wanted.options);
  if (!session) return kExitUsage;
  if (tried->parsed()) return replay(*session, file, wanted.group, since_s, wanted.options.output);
  if (known->parsed()) return print_known(*session, used, wanted.options.output);
  if (publish_it->parsed()) return publish(*session, file, wanted);
  if (back->parsed()) return roll_back(*session, to, wanted);
  if (rotate->parsed()) return rotate_key(*session, wanted.options);
  if (move->parsed()) return assign_host(*session, order, wanted.group, yes, wanted.options);
  v1::GetPolicyStatusResponse state;
  int status = 0;
  if (!status_of(*session, wanted.group, wanted.wait, state, status)) return status;
  return print_status(state, wanted.options.output);
}

}  // namespace weir
