// The guard as a child of ours: what it inherits, and its start. Used by `weir run` for a desk and
// by `weir exec --policy` for one command. Thread: the caller's; forks.
#pragma once

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "agent/guard/compiled.h"
#include "agent/guard/crashes.h"
#include "agent/run/accounts_file.h"
#include "agent/run/collector.h"
#include "agent/run/policy_child.h"
#include "agent/run/process.h"
#include "agent/run/state_dir.h"
#include "core/base/result.h"

namespace weir {

inline constexpr const char* kHostBpffs = "/sys/fs/bpf";
bool is_bpffs(const std::string& path);

struct GuardStart {
  std::string cgroup;     // "": the root of cgroup2
  std::string pin_dir;    // "": nothing is pinned
  std::string state_dir;  // made if it is not there
  std::string record;     // event log, "": none
  std::vector<std::string> launchers, interfaces;
  std::uint32_t user = 0;  // of the engine; 0: the fixed one
  bool json = false;
  bool chinese = false;
  const CollectorSide* collector = nullptr;  // outlives the guard; none: standalone
  AccountsFile* accounts = nullptr;          // likewise; none: what is spent is forgotten with it
  int answers = -1;  // the guard's end of the line for persons' answers; -1: nobody serves them
  std::string canary_cgroup = {};  // where the controls are tried; "": they are not
  std::uint32_t try_every_s = 0;
};

// Everything that a guard is started with. Kept for the next one.
struct GuardInputs {
  Fd flat, policy, record, utmp, null;
  StateFiles state;
  std::vector<std::string> command;
  bool keep = false;
  const CollectorSide* collector = nullptr;
  AccountsFile* accounts = nullptr;
  int answers = -1;
  std::optional<AfterCrashes> after_crashes{};  // none: it goes on as ever (`weir exec`)
  bool by_before = false;                       // under STATE/policy.before
  bool again = false;                           // one before it was ready: its policy is in force
  std::optional<KeptPolicy> crashed{};          // the policy that is not to be taken again
};

Result<GuardInputs> prepare_guard(const GuardStart& options, const CompiledPolicy& policy);

// `ready` gets a byte once the policy is in force; `mask` is the child's signal mask; `output`, if
// there is one, becomes its standard output and error.
Result<Process> start_guard(const GuardInputs& all, int ready, const sigset_t& mask,
                            int output = -1);

}  // namespace weir
