// The nouns of weirctl. Each is one function in a file of its own: it gets argv from its verb on,
// parses with CLI11, and gives the exit status that CONTRACT names. To add one: its function here,
// its line in main.cpp.
#pragma once

#include <string>

#include "collector/ctl/output.h"

namespace weir {

enum Exit : int {
  kExitDone = 0,
  kExitFailed = 1,
  kExitUsage = 2,       // or unreadable input
  kExitViolations = 3,  // a policy that lint finds fault with
  kExitNotAllowed = 4,
  kExitUnreachable = 5,
  kExitDegraded = 6,
};

struct CtlOptions {    // of every command
  std::string config;  // admin.json
  Output output = Output::table;
};

int ctl_tokens(int argc, char** argv);
int ctl_hosts(int argc, char** argv);
int ctl_policy(int argc, char** argv);
int ctl_reports(int argc, char** argv);
int ctl_requests(int argc, char** argv);
int ctl_evidence(int argc, char** argv);

}  // namespace weir
