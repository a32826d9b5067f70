// `weirctl`: everything that an administrator can do with a collector, for scripts. Finds the noun
// and runs it. To add one: its function in commands.h, its line in kNouns.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <string_view>

#include "collector/ctl/commands.h"

namespace weir {
namespace {

struct Noun {
  std::string_view name;
  int (*run)(int argc, char** argv);
  std::string_view summary;
};

constexpr Noun kNouns[] = {
    {"tokens", ctl_tokens, "create, list, revoke: what lets a host enrol"},
    {"hosts", ctl_hosts, "list, show, health, renew, undo, revoke: the fleet"},
    {"policy", ctl_policy, "lint, replay, publish, status, rollback, rotate-key, assign"},
    {"reports", ctl_reports, "list, watch, show: what left, and what was stopped"},
    {"requests", ctl_requests, "list, approve, deny: what persons ask for, beyond a rule"},
    {"evidence", ctl_evidence, "verify: whether a host's records are whole"},
};

// Nouns that scripts may expect one day: said plainly rather than taken for a mistake.
struct Later {
  std::string_view name, sentence;
};
constexpr Later kLater[] = {
    {"edm", "exact matches need content inspection, which this version does not have"}};

void print_help(std::FILE* to) {
  fmt::print(to,
             "weirctl steers a fleet through its collector.\n\n"
             "Usage: weirctl NOUN VERB [OPTION]…\n       weirctl NOUN --help\n\nNouns:\n");
  for (const Noun& noun : kNouns) fmt::print(to, "  {:<10} {}\n", noun.name, noun.summary);
  fmt::print(to,
             "\nEvery verb takes --config FILE (the collector's admin.json; default: "
             "$WEIRCTL_CONFIG,\nelse ~/.config/weir/admin.json) and -o table|json|yaml.\n");
}

int run(int argc, char** argv) {
  if (argc < 2) {
    print_help(stderr);
    return kExitUsage;
  }
  const std::string_view name = argv[1];
  if (name == "--version" || name == "version") {
    fmt::print("weirctl {}\n", WEIR_VERSION);
    return kExitDone;
  }
  if (name == "--help" || name == "-h" || name == "help") {
    print_help(stdout);
    return kExitDone;
  }
  for (const Noun& noun : kNouns)
    if (noun.name == name) return noun.run(argc - 1, argv + 1);
  for (const Later& later : kLater)
    if (later.name == name) {
      fmt::print(stderr, "weirctl: '{}' is not built: {}\n", name, later.sentence);
      return kExitUsage;
    }
  fmt::print(stderr, "weirctl: '{}' is no noun; `weirctl --help` lists them\n", name);
  return kExitUsage;
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  try {
    return weir::run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, or a bug in a library
    std::fprintf(stderr, "weirctl: %s\n", error.what());
    return weir::kExitFailed;
  }
}
