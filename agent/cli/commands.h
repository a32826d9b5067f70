// The commands of `weir`. A command is one function in a file of its own: it gets its own arguments
// (argv[0] is its name), parses them with CLI11 and gives the exit status that CONTRACT names.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace weir {

enum Exit : int {
  kExitDone = 0,
  kExitFailed = 1,
  kExitUsage = 2,       // or unreadable input
  kExitViolations = 3,  // where asked for, or a command stopped by its limit
  kExitNotAllowed = 4,
  kExitUnreachable = 5,
  kExitDegraded = 6,
};

// Parses; -1: go on. Else the exit status: 0 after --help, 2 after a wrong option (sentence on
// stderr).
int parse_arguments(CLI::App& app, int argc, char** argv);

// An option whose value is one of a few words.
void add_choice(CLI::App& app, const std::string& name, std::string& value,
                const std::vector<std::string>& words, const std::string& text);

// --state and --format, as the commands that read what an agent left have them.
void add_state_and_format(CLI::App& app, std::string& state_dir, std::string& format);

int cmd_exec(int argc, char** argv);
int cmd_run(int argc, char** argv);
int cmd_enroll(int argc, char** argv);
int cmd_doctor(int argc, char** argv);
int cmd_release(int argc, char** argv);
int cmd_status(int argc, char** argv);
int cmd_why(int argc, char** argv);
int cmd_my_events(int argc, char** argv);
int cmd_request(int argc, char** argv);
int cmd_answer(int argc, char** argv);
int cmd_replay(int argc, char** argv);

}  // namespace weir
