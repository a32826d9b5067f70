// `weir replay`: the line over captures and event logs. Needs no rights; enforces nothing.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "agent/cli/commands.h"
#include "agent/cli/policy_file.h"
#include "agent/cli/printer.h"
#include "core/line/line.h"
#include "platform/capture_file/capture_file.h"
#include "platform/event_log/event_log.h"
#include "platform/input/input.h"

namespace weir {
namespace {

struct Options {
  std::string policy;
  bool flows = false;
  std::string format = "text";
  std::vector<std::string> files;
};

void complain(const std::string& sentence) {
  fmt::print(stderr, "weir replay: {}\n", sentence);
}

// One file through a line of its own: what one host did says nothing about another's capture.
class Replay {
 public:
  Replay(Printer& printer, std::shared_ptr<const Policy> policy)
      : printer_(printer), policy_(std::move(policy)) {}

  bool file(const std::string& name);  // false: it could not be read
  const Counters& counters() const { return sum_; }

 private:
  bool capture(Line& line, const std::string& path, const std::string& name);
  bool log(Line& line, std::istream& input, const std::string& name);
  bool belongs(const Event& event) const;

  Printer& printer_;
  std::shared_ptr<const Policy> policy_;
  Counters sum_;
};

bool Replay::file(const std::string& name) {
  Result<InputFile> given = InputFile::open(name);
  if (!given) {
    complain(given.error().sentence);
    return false;
  }
  errno = 0;
  std::ifstream input(given->path(), std::ios::binary);
  std::array<char, 16> start{};
  if (!input.read(start.data(), start.size()) && input.gcount() == 0) {
    complain(input.is_open() && errno == 0
                 ? fmt::format("{}: is empty", name)
                 : fmt::format("{}: can't be read: {}", name, std::strerror(errno)));
    return false;
  }
  const std::string_view seen(start.data(), static_cast<std::size_t>(input.gcount()));
  const bool is_log = is_event_log(bytes_of(seen));
  input.clear();
  input.seekg(0);

  printer_.capture(name);
  Line line(printer_);
  if (policy_ != nullptr) line.on({{}, PolicyChanged{policy_}});
  const bool read = is_log ? log(line, input, name) : capture(line, given->path(), name);
  line.finish();
  printer_.flush();
  add(sum_, line.counters());
  return read;
}

bool Replay::capture(Line& line, const std::string& path, const std::string& name) {
  auto file = CaptureFile::open(path, name);
  if (!file) {
    complain(file.error().sentence);
    return false;
  }
  Event event;
  while (file->next(event)) line.on(event);
  if (!file->ending().empty()) complain(file->ending());
  return true;
}

// With a policy of the caller's, the recorded one says nothing, nor what its accounts refused: the
// given policy's accounts are simulated over what left then.
bool Replay::belongs(const Event& event) const {
  return policy_ == nullptr || !(std::holds_alternative<PolicyChanged>(event.body) ||
                                 std::holds_alternative<AccountSpent>(event.body) ||
                                 std::holds_alternative<HostStarted>(event.body));
}

bool Replay::log(Line& line, std::istream& input, const std::string& name) {
  auto reader = LogReader::open(input);
  if (!reader) {
    complain(fmt::format("{}: {}", name, reader.error().sentence));
    return false;
  }
  printer_.capture("");  // the same reports as live
  Event event;
  while (reader->next(event))
    if (belongs(event)) line.on(event);
  if (!reader->damage().sentence.empty())
    complain(fmt::format("{}: {}", name, reader->damage().sentence));
  return true;
}

}  // namespace

int cmd_replay(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Runs captures (pcap, pcapng; gzip, zstd) and event logs of `weir run --record` through "
      "the line and prints what left, and why it matters. Needs no rights, enforces nothing.",
      "weir replay"};
  app.add_option("--policy", options.policy,
                 "judge by this policy (YAML) instead of the recorded or built-in one")
      ->type_name("FILE");
  app.add_flag("--flows", options.flows, "print each flow too");
  add_choice(app, "--format", options.format, {"text", "json"},
             "for people, or one JSON message a line");
  app.add_option("FILE", options.files, "captures and event logs, told apart by content")
      ->required()
      ->type_name("");
  if (const int status = parse_arguments(app, argc, argv); status >= 0) return status;

  std::shared_ptr<const Policy> policy;
  if (!options.policy.empty()) {
    auto read = read_policy_file(options.policy);
    if (!read) {
      fmt::print(stderr, "{}\n", read.error().sentence);
      return kExitUsage;
    }
    policy = *read;
  }
  PrinterOptions output;
  output.format = options.format == "json" ? Format::json : Format::text;
  output.flows = options.flows;
  output.hold = true;
  output.colour = wants_colour(stdout);
  output.language = language_of_caller();
  Printer printer(stdout, output);
  Replay replay(printer, policy);
  bool all_read = true;
  for (const std::string& file : options.files) all_read = replay.file(file) && all_read;
  printer.summary(replay.counters());
  if (std::fflush(stdout) != 0 || printer.failed()) {
    complain("standard output took no more");
    return kExitFailed;
  }
  return all_read ? kExitDone : kExitUsage;
}

}  // namespace weir
