// `weir my-events`, `weir request` and `weir answer`: what a person of the desk hears and asks. No
// rights needed.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "agent/cli/commands.h"
#include "agent/cli/printer.h"
#include "agent/run/asked.h"
#include "agent/run/exec_served.h"
#include "core/policy/units.h"

namespace weir {
namespace {

std::uint32_t flags_of(const std::string& format) {
  return (format == "json" ? kAskJson : 0) |
         (language_of_caller() == Language::chinese ? kAskChinese : 0);
}

}  // namespace

int cmd_my_events(int argc, char** argv) {
  CLI::App app("List your own reports of the last days, and what became of your requests.",
               "weir my-events");
  std::string socket = kExecSocket, format = "text";
  AskMessage message;
  message.days = 7;
  app.add_option("--days", message.days, "how many, at most 90")
      ->check(CLI::Range(1u, kMaxEventDays).description(""))
      ->type_name("N=7");
  app.add_option("--socket", socket, "of the agent")->type_name("PATH");
  add_choice(app, "--format", format, {"text", "json"}, "how it is printed");
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  message.flags = flags_of(format);
  return ask_agent(message, socket);
}

int cmd_answer(int argc, char** argv) {
  CLI::App app("Say why what waits may go on: to that place, from that program, for a day.",
               "weir answer");
  std::string socket = kExecSocket, id, because;
  app.add_option("ID", id, "of what waits: `weir status` lists it")->required();
  app.add_option("--because", because, "why; it stands in the report")
      ->required()
      ->type_name("TEXT");
  app.add_option("--socket", socket, "of the agent")->type_name("PATH");
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  AskMessage message;
  message.kind = AskKind::answer;
  message.flags = flags_of("text");
  if (id.empty() || id.size() >= message.report.size() || because.empty() ||
      because.size() > message.reason.size()) {
    fmt::print(stderr,
               "weir answer: an ID that `weir status` lists, and --because TEXT of at most "
               "1000 characters\n");
    return kExitUsage;
  }
  std::copy(id.begin(), id.end(), message.report.begin());
  std::copy(because.begin(), because.end(), message.reason.begin());
  message.reason_size = static_cast<std::uint32_t>(because.size());
  return ask_agent(message, socket);
}

int cmd_request(int argc, char** argv) {
  CLI::App app("Ask for an exception: to send more where a report says that you were stopped.",
               "weir request");
  std::string socket = kExecSocket, id, because, bytes, lasts;
  app.add_option("ID", id, "of a report: `weir my-events` lists them")->required();
  app.add_option("--because", because, "what for; people read this")->required()->type_name("TEXT");
  app.add_option("--bytes", bytes, "how much (default: as much as the limit again)")
      ->type_name("N");
  app.add_option("--for", lasts, "how long (default: 1h)")->type_name("TIME");
  app.add_option("--socket", socket, "of the agent")->type_name("PATH");
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  AskMessage message;
  message.kind = AskKind::request;
  message.flags = flags_of("text");
  const auto wrong = [](const char* what) {
    fmt::print(stderr, "weir request: {}\n", what);
    return kExitUsage;
  };
  if (!bytes.empty()) {
    const auto count = parse_size(bytes);
    if (!count) return wrong("--bytes: a number such as 20MiB");
    if (*count == 0)
      return wrong(
          "--bytes: at least 1 byte; without --bytes you ask for as much as the limit again");
    message.bytes = *count;
  }
  if (!lasts.empty()) {
    const auto time = parse_duration_ns(lasts);
    if (!time || *time < 1'000'000'000 || *time > kLongestException_s * 1'000'000'000)
      return wrong("--for: a time such as 90m, at most 24h");
    message.duration_s = static_cast<std::uint32_t>(*time / 1'000'000'000);
  }
  if (id.size() >= message.report.size()) return wrong("that is no report's id");
  if (because.empty()) return wrong("--because: say what for; people read it before they decide");
  if (because.size() > message.reason.size()) return wrong("--because: at most 1000 characters");
  std::copy(id.begin(), id.end(), message.report.begin());
  std::copy(because.begin(), because.end(), message.reason.begin());
  message.reason_size = static_cast<std::uint32_t>(because.size());
  return ask_agent(message, socket);
}

}  // namespace weir
