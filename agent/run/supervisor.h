// `weir run`: compiles the policy in a child without rights, starts the guard and starts it again.
// Parses nothing itself. Thread: the caller's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir {

struct RunOptions {
  std::string policy;     // file; "": the built-in default, which observes
  std::string collector;  // HOST:PORT; "": the address that enrolment gave, if the host is enrolled
  std::string cgroup;     // "": the root of cgroup2
  std::string state_dir;
  std::string pin_dir;  // "": the host's bpffs, where there is one
  std::string record;   // event log, "": none
  std::vector<std::string> launchers;
  std::vector<std::string> interfaces;  // of the floor; none: see Guard
  std::string exec_socket;              // where other users' `weir exec` asks; "": nobody is served
  std::uint32_t user = 0;               // 0: the fixed one
  std::uint32_t try_every_s = 120;      // how often the controls are tried; 0: never
  bool restart = true;
  bool json = false;
  bool chinese = false;
};

int run_agent(const RunOptions& options);  // the exit status; sentences go to standard error

}  // namespace weir
