// The folder that the agent keeps on a desk: reports for `weir why`, usage rows, sessions, and what
// is running for `weir status`. Written as root, read by root. Files that are full are put aside at
// the next start; one older generation is kept.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "agent/run/process.h"
#include "core/base/result.h"

namespace weir {

inline constexpr const char* kStateDir = "/var/lib/weir";

struct StateFiles {
  Fd reports, usage, sessions;
  Fd lock;  // of the folder
};

// One agent to a folder (of state, of pins): two would take each other's pins and mix their
// reports. Held while the result is open, hence until this process ends, however it ends.
Result<Fd> lock_folder(const std::string& dir);

Result<StateFiles> open_state(const std::string& dir);

// What `weir status` and `weir why` need to find a running agent: one line of words in DIR/running.
struct RunningAgent {
  std::uint32_t pid = 0;
  std::uint64_t since_wall_ns = 0;
  std::string pin_dir;  // "" where nothing could be pinned
  std::string cgroup;
  std::string policy_file;  // "" for the built-in default
};
Result<void> write_running(const std::string& dir, const RunningAgent& agent);
Result<RunningAgent> read_running(const std::string& dir);

}  // namespace weir
