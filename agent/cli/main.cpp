// `weir`: finds the command and runs it. To add one: its function in commands.h, its line in
// kCommands.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <iterator>
#include <string_view>

#include "agent/cli/commands.h"

namespace weir {
namespace {

struct Command {
  std::string_view name;
  int (*run)(int argc, char** argv);
  std::string_view summary;
};

constexpr Command kCommands[] = {
    {"exec", cmd_exec, "run a command under a limit of bytes, kept by the kernel"},
    {"run", cmd_run, "bound and report what leaves this host"},
    {"replay", cmd_replay, "tell from captures and event logs what left, and why it matters"},
    {"status", cmd_status, "say what is tight, why, until when"},
    {"why", cmd_why, "print the path of a decision"},
    {"my-events", cmd_my_events, "list your own reports, and what became of your requests"},
    {"request", cmd_request, "ask for an exception"},
    {"answer", cmd_answer, "say why what waits may go on"},
    {"enroll", cmd_enroll, "make this host one of a collector's"},
    {"doctor", cmd_doctor, "try every control on this host"},
    {"release", cmd_release, "remove what holds without a program"},
};

// Commands that scripts may expect one day: said plainly rather than taken for a mistake.
constexpr std::string_view kLater[] = {"inspect"};

void print_help(std::FILE* to) {
  fmt::print(to,
             "weir measures and bounds what leaves this host.\n\n"
             "Usage: weir COMMAND [OPTION]…\n       weir COMMAND --help\n\nCommands:\n");
  for (const Command& command : kCommands)
    fmt::print(to, "  {:<10} {}\n", command.name, command.summary);
  fmt::print(to, "\nOptions:\n  --help     this text\n  --version  version of weir\n");
}

int run(int argc, char** argv) {
  if (argc < 2) {
    print_help(stderr);
    return kExitUsage;
  }
  const std::string_view name = argv[1];
  if (name == "--version" || name == "-V" || name == "version") {
    fmt::print("weir {}\n", WEIR_VERSION);
    return kExitDone;
  }
  if (name == "--help" || name == "-h" || name == "help") {
    print_help(stdout);
    return kExitDone;
  }
  for (const Command& command : kCommands)
    if (command.name == name) return command.run(argc - 1, argv + 1);
  if (std::find(std::begin(kLater), std::end(kLater), name) != std::end(kLater)) {
    fmt::print(stderr, "weir: '{}' is not built in this version\n", name);
    return kExitUsage;
  }
  fmt::print(stderr, "weir: '{}' is no command; `weir --help` lists them\n", name);
  return kExitUsage;
}

}  // namespace

int parse_arguments(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return -1;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    fmt::print(stderr, "{0}: {1}; `{0} --help` lists what there is\n", app.get_name(),
               error.what());
    return kExitUsage;
  }
}

void add_choice(CLI::App& app, const std::string& name, std::string& value,
                const std::vector<std::string>& words, const std::string& text) {
  app.add_option(name, value, text)
      ->check(CLI::IsMember(words).description(""))
      ->type_name(fmt::format("{}", fmt::join(words, "|")));
}

void add_state_and_format(CLI::App& app, std::string& state_dir, std::string& format) {
  app.add_option("--state", state_dir, "folder of the agent")
      ->type_name("DIR")
      ->capture_default_str();
  add_choice(app, "--format", format, {"text", "json"}, "how it is printed");
}

}  // namespace weir

int main(int argc, char** argv) {
  try {
    return weir::run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, or a bug in a library
    std::fprintf(stderr, "weir: %s\n", error.what());
    return weir::kExitFailed;
  }
}
