// `weir exec`: a command under a limit of bytes, kept by the kernel.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <map>

#include "agent/cli/commands.h"
#include "agent/cli/printer.h"
#include "agent/run/exec.h"
#include "agent/run/exec_served.h"
#include "core/policy/units.h"

namespace weir {
namespace {

constexpr std::int64_t kHourNs = 3600ll * 1'000'000'000;

const std::map<std::string, std::int64_t> kWindows{
    {"1h", kHourNs}, {"24h", 24 * kHourNs}, {"7d", 7 * 24 * kHourNs}};

// Served by the running agent: see agent/run/exec_served.h.
int ask_agent(const ExecOptions& options, bool json, const std::string& socket, bool more) {
  if (more) {
    fmt::print(stderr, "weir exec: --policy and --cgroup are for root: sudo weir exec …\n");
    return kExitNotAllowed;
  }
  AskOptions ask;
  ask.request.flags = json ? kExecJson : 0;
  if (language_of_caller() == Language::chinese) ask.request.flags |= kExecChinese;
  ask.request.limit = options.limit;
  ask.request.window_ns = static_cast<std::uint64_t>(options.window_ns);
  ask.command = options.command;
  ask.socket = socket;
  Result<int> status = ask_limited(ask);
  if (status) return *status;
  fmt::print(stderr, "weir exec: {}\n", status.error().sentence);
  return kExitNotAllowed;
}

}  // namespace

int cmd_exec(int argc, char** argv) {
  CLI::App app(
      "Run a command that may send at most BYTES from this machine, with all that it starts.\n"
      "weir exec --limit BYTES [OPTION]… -- COMMAND…",
      "weir exec");
  ExecOptions options;
  std::string format = "text", window, limit, policy, socket = kExecSocket;
  app.add_option("--limit", limit, "4096, 256KiB, 10MB …; TCP counts payload")
      ->required()
      ->type_name("BYTES");
  add_choice(app, "--window", window, {"1h", "24h", "7d"},
             "half at once, the rest over this time (default: a total for the run)");
  app.add_option("--policy", policy, "its rules count too, as under `weir run`")->type_name("FILE");
  app.add_option("--cgroup", options.cgroup, "where the hooks attach (default: the cgroup2 root)")
      ->type_name("PATH");
  app.add_option("--exec-socket", socket, "where the agent serves other users than root")
      ->type_name("PATH")
      ->capture_default_str();
  add_choice(app, "--format", format, {"text", "json"},
             "the summary: text on stderr, or json on stdout");
  app.prefix_command();
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  Result<std::uint64_t> bytes = parse_size(limit);
  if (!bytes) {
    fmt::print(stderr, "weir exec: --limit: {}\n", bytes.error().sentence);
    return kExitUsage;
  }
  options.limit = *bytes;
  options.command = app.remaining();
  if (!options.command.empty() && options.command[0] == "--")
    options.command.erase(options.command.begin());
  if (options.command.empty()) {
    fmt::print(stderr, "weir exec: which command? weir exec --limit 256KiB -- curl …\n");
    return kExitUsage;
  }
  if (options.command[0].starts_with("-")) {
    fmt::print(stderr, "weir exec: no option {}; `weir exec --help` lists them\n",
               options.command[0]);
    return kExitUsage;
  }
  if (!window.empty()) options.window_ns = kWindows.at(window);
  if (::geteuid() != 0)
    return ask_agent(options, format == "json", socket, !policy.empty() || !options.cgroup.empty());
  if (!policy.empty()) {
    Result<CompiledPolicy> compiled = compile_policy(policy);
    if (!compiled) {
      fmt::print(stderr, "weir exec: {}\n", compiled.error().sentence);
      return kExitUsage;
    }
    options.policy = std::move(*compiled);
  }
  Result<ExecSummary> summary = run_limited(options);
  if (!summary) {
    fmt::print(stderr, "weir exec: {}\n", summary.error().sentence);
    return kExitFailed;
  }
  Language language = language_of_caller();
  if (format == "json")
    fmt::print("{}\n", json_of(*summary, language));
  else
    fmt::print(stderr, "{}", text_of(*summary, language));
  return summary->stopped ? kExitViolations : summary->exit_status;
}

}  // namespace weir
