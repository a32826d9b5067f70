// `weir release`: with a collector, and an agent that runs, break-glass: shows a challenge, takes
// the answer (docs/decisions/0032). Else root takes back everything that holds without a program:
// pins, and with them the links.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "agent/cli/commands.h"
#include "agent/cli/printer.h"
#include "agent/run/asked.h"
#include "agent/run/collector.h"
#include "agent/run/exec_served.h"
#include "agent/run/state_dir.h"
#include "core/base/spoken.h"
#include "core/policy/release.h"
#include "core/policy/signature.h"
#include "platform/files/terminal.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

constexpr std::size_t kGroup = 5;

int remove_pins(const std::string& pin_dir) {
  if (::geteuid() != 0) {
    fmt::print(stderr, "weir release: only root can remove pins\n");
    return kExitNotAllowed;
  }
  if (Result<void> released = KernelPart::release(pin_dir); !released) {
    fmt::print(stderr, "weir release: {}\n", released.error().sentence);
    return kExitFailed;
  }
  fmt::print("nothing of Weir is pinned in {}\n", pin_dir);
  return kExitDone;
}

int wrong(const std::string& sentence) {
  fmt::print(stderr, "weir release: {}\n", sentence);
  return kExitUsage;
}

Result<std::string> text_in(std::FILE* file) {
  std::string text;
  char piece[512];
  for (std::size_t got = 0; (got = std::fread(piece, 1, sizeof piece, file)) > 0;) {
    text.append(piece, got);
    if (text.size() > kMaxSpokenText) return fail("it is too long");
  }
  return text;
}

// "-": standard input; "@FILE": a file's content; else as it stands.
Result<std::string> text_of(const std::string& given) {
  if (given == "-") return text_in(stdin);
  if (!given.starts_with('@')) return given;
  std::FILE* file = std::fopen(given.c_str() + 1, "rb");
  if (file == nullptr) return fail(given.substr(1) + ": can't be read");
  Result<std::string> text = text_in(file);
  std::fclose(file);
  return text;
}

std::string line_typed() {
  std::string line;
  for (int c = 0; (c = std::getchar()) != EOF && c != '\n' && line.size() <= kMaxSpokenText;)
    line += static_cast<char>(c);
  return line;
}

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](unsigned char c) { return std::isalnum(c) != 0; }));
}

// Line by line at a terminal: a line with a mistyped group is asked for again.
Result<std::string> ask_for_answer() {
  std::string text;
  while (characters(text) < spoken_groups(kAnswerBytes) * kGroup) {
    fmt::print(stderr, "answer, from group {} on: ", characters(text) / kGroup + 1);
    const std::string line = line_typed();
    if (line.empty()) return fail("no answer was typed");
    const std::string problem = problem_so_far(text + " " + line, kAnswerBytes);
    if (problem.empty() && characters(line) % kGroup == 0)
      text += " " + line;
    else
      fmt::print(stderr, "{}: this line once more\n",
                 problem.empty() ? "a group has five characters" : problem);
  }
  return text;
}

std::optional<int> put_answers(const std::vector<std::string>& answers, AskMessage& message) {
  if (answers.size() > kMaxPolicySignatures) return wrong("--answer: at most eight");
  for (const std::string& given : answers) {
    const bool asks = given == "-" && at_terminal();
    const Result<std::string> text = asks ? ask_for_answer() : text_of(given);
    if (!text) return wrong("--answer: " + text.error().sentence);
    const Result<std::vector<std::uint8_t>> bytes = read_spoken(*text, kAnswerBytes);
    if (!bytes) return wrong("--answer: " + bytes.error().sentence);
    std::copy(bytes->begin(), bytes->end(), message.reason.begin() + message.reason_size);
    message.reason_size += static_cast<std::uint32_t>(bytes->size());
  }
  return std::nullopt;
}

// An agent runs here and has a collector. Where it has none, root's word is enough.
bool is_for_help_desk(const std::string& socket) {
  return agent_answers(socket) && (::geteuid() != 0 || is_enrolled(kStateDir));
}

}  // namespace

int cmd_release(int argc, char** argv) {
  CLI::App app(
      "Have this host only observe for 4 hours, with an answer of the help desk. Where no agent "
      "runs, or with --pin: remove every pin of Weir (root); what `on_exit: keep` holds ends "
      "there.",
      "weir release");
  std::string pin_dir = "/sys/fs/bpf", socket = kExecSocket;
  std::vector<std::string> answers;
  CLI::Option* pins =
      app.add_option("--pin", pin_dir, "remove the pins in the folder that --pin named")
          ->type_name("DIR")
          ->capture_default_str();
  app.add_option("--answer", answers,
                 "what the help desk says to the challenge; -: from standard input; @FILE: from a "
                 "file; may be repeated")
      ->type_name("TEXT");
  CLI::Option* at = app.add_option("--socket", socket, "of the agent")->type_name("PATH");
  if (int status = parse_arguments(app, argc, argv); status >= 0) return status;
  if (!pins->empty()) return remove_pins(pin_dir);
  if (answers.empty() && at->empty() && !is_for_help_desk(socket)) return remove_pins(pin_dir);
  AskMessage message;
  message.kind = answers.empty() ? AskKind::challenge : AskKind::release;
  message.flags = language_of_caller() == Language::chinese ? kAskChinese : 0;
  if (std::optional<int> status = put_answers(answers, message)) return *status;
  return ask_agent(message, socket);
}

}  // namespace weir
