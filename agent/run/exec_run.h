// What every run of `weir exec` has, whoever asked for it: a kernel part with one account for one
// process tree, the tree's events, and the summary at its end. Thread: one owner.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/guard/due_sockets.h"
#include "agent/run/cgroup.h"
#include "agent/run/exec_policy.h"
#include "agent/run/exec_summary.h"
#include "agent/run/names.h"
#include "agent/run/places.h"
#include "agent/run/process.h"
#include "platform/linux/event_ring.h"
#include "platform/linux/kernel_part.h"

namespace weir {

// One run. The kernel part is declared first: it goes last, after every process and socket.
struct Run {
  static Result<Run> make(KernelPart kernel);

  KernelPart kernel;
  std::optional<ChildCgroup> cgroup{};  // none: served by the agent
  Fd ring_fd;
  EventRing ring;
  std::uint64_t tree = 0;
  Places places{};
  std::optional<Names> names{};  // none: addresses stay without a name
  std::unique_ptr<DueSockets> due = std::make_unique<DueSockets>();
  std::optional<ExecPolicy> policy{};
  std::vector<Reason> notes{};
};

Result<KernelPart> load_bound(const std::string& cgroup);  // refuses nothing yet
Result<void> set_bound(KernelPart& kernel, std::uint64_t limit, std::int64_t window_ns);
void take_told(Run& run);                            // refusals: sockets that are due are destroyed
void take_events(Run& run);                          // the tree's records of the ring
int wait_ms(const Run& run);                         // until a socket is due
std::vector<std::uint32_t> members(const Run& run);  // process ids of the tree
void drain(Run& run);  // after the command: what the kernel still holds goes, or is thrown away
std::uint64_t records_lost(const Run& run);
ExecSummary summarize(Run& run, std::uint64_t limit, std::int64_t window_ns, int status);

}  // namespace weir
