// `weir exec` for other users than root, served by the running agent. The caller passes itself and
// four numbers; nothing that it sends is parsed. The command's process connects by itself, so that
// the kernel says who it is; it is put into a tree of its own in a kernel part of its own, which
// knows no other tree: such a limit only ever makes things stricter, for that tree alone. The
// process is not moved to another cgroup (what bounds its memory and processes stays as it is).
//
//   caller → agent   ExecRequest                 agent → caller   ExecAnswer (then the exec)
//   caller → agent   ExecDone                    agent → caller   text in pieces, then ExecEnd
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "agent/run/exec.h"
#include "core/base/result.h"

namespace weir {

inline constexpr const char* kExecSocket = "/run/weir/exec";

inline constexpr std::uint32_t kExecMagic = 0x31584557;  // "WEX1": changes with the layout
inline constexpr std::uint32_t kExecJson = 1, kExecChinese = 2;

struct ExecRequest {
  std::uint32_t magic = kExecMagic;
  std::uint32_t flags = 0;
  std::uint64_t limit = 0;
  std::uint64_t window_ns = 0;  // 0, or 1, 24 or 168 hours
};
static_assert(sizeof(ExecRequest) == 24);

struct ExecAnswer {
  std::uint32_t magic = kExecMagic;
  std::uint32_t refused = 0;  // 0: the limit is in force
  char sentence[248] = {};
};

struct ExecDone {
  std::uint32_t magic = kExecMagic;
  std::uint32_t status = 0;  // of the command, for the summary
};

struct ExecEnd {
  std::uint32_t magic = kExecMagic;
  std::uint32_t stopped = 0;
};
inline constexpr std::size_t kMostPiece = 16384;  // of the summary: one datagram

// What is wrong with a request, "" for nothing. Pure.
const char* damage_of(const ExecRequest& request, std::size_t size);

// Whether a process of that line of /proc/PID/cgroup ("0::/…") is in `inside` (a path below the
// cgroup2 mount, "/" for its root) or below. Pure.
bool is_inside(const std::string& proc_cgroup, const std::string& inside);

// Whether /proc/PID/status says that real, effective, saved and file system uid are all `uid`.
// Pure.
bool runs_only_as(const std::string& proc_status, std::uint32_t uid);

// The agent's side: listens until `weir run` ends. Forks; returns in the caller.
class Process;
struct AskServer;  // asked.h
Result<Process> serve_exec(const std::string& socket, const std::string& cgroup,
                           const AskServer& asked);

// The caller's side: the command's and the summary's exit status.
struct AskOptions {
  ExecRequest request;
  std::vector<std::string> command;
  std::string socket;
};
// An Error: the agent does not run or refuses; nothing was run.
Result<int> ask_limited(const AskOptions& options);

}  // namespace weir
