// What `weir run` does for a host that reports to a collector: the folders that spool and identity
// live in, the uplink's cgroup with its cage, the addresses that the cage lets through (found by a
// child without rights), and the last good signed policy on the disk. Parses nothing itself.
// Thread: the caller's; forks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "agent/guard/compiled.h"
#include "agent/guard/keeping.h"
#include "agent/run/cgroup.h"
#include "agent/run/process.h"
#include "core/base/result.h"
#include "platform/linux/uplink_cage.h"

namespace weir {

bool is_enrolled(const std::string& state_dir);  // STATE/trust and STATE/identity are there

struct CollectorStart {
  std::string state_dir;
  std::string cgroup;     // the agent's; "": the root of cgroup2
  std::string collector;  // HOST:PORT; "": the address in STATE/identity
  uid_t engine_user = 0;
};

class CollectorSide {
 public:
  // The folders, cgroup, cage and resolving child. An Error: no uplink may be started.
  static Result<CollectorSide> start(const CollectorStart& start);

  // For the guard (descriptors.h).
  Fd requests;                // what persons ask for: from requests_out
  Fd requests_out;            // a size of 32 bits, with sealed memory: weir.v1.ExceptionRequest
  Fd releases, releases_out;  // spoken answers (agent/guard/release.h), and what came of them
  Fd keep, news, spool, spool_read, acknowledged, acknowledged_read, identity;
  Fd open_kept() const;        // STATE/policy; none if there was no policy yet
  Fd open_before() const;      // STATE/policy.before: the one that it took the place of
  Fd open_trust() const;       // STATE/trust as it is now
  Fd open_done() const;        // STATE/commands; none if there was no command yet
  Fd open_exceptions() const;  // STATE/exceptions; none if there was none yet
  int cgroup_procs() const { return cgroup_.fd(); }
  const std::string& cgroup() const { return cgroup_.path(); }
  const std::string& collector() const { return start_.collector; }

  // To be polled, then handled.
  int kept_fd() const { return kept_.get(); }
  int addresses_fd() const { return addresses_.get(); }
  // Writes what the guard wants kept: a policy that it took, or a small file
  // (agent/guard/keeping.h), which is answered. Nothing: no policy came, or it could not be written
  // (told on standard error). Else whether its on_exit keeps.
  std::optional<bool> take_kept();
  void take_addresses();
  std::optional<bool> keeps_on_exit() const;  // of STATE/policy
  // STATE/policy is one under which the agent crashed: it is never the one of before.
  void note_crashed(bool crashed) { crashed_ = crashed; }
  std::optional<KeptPolicy> kept_head() const;  // of STATE/policy

  bool is_isolated() const;  // or a place is blocked, by STATE/exceptions

  void end();

 private:
  CollectorSide(CollectorStart start, ChildCgroup cgroup, UplinkCage cage)
      : start_(std::move(start)), cgroup_(std::move(cgroup)), cage_(std::move(cage)) {}
  Result<void> open_folders();
  Result<void> start_resolving();
  void keep_before() const;
  std::optional<bool> take_policy(const KeptPolicy& kept, const Fd& memory);
  void take_file(const KeepRequest& request, const Fd& memory);

  CollectorStart start_;
  ChildCgroup cgroup_;
  UplinkCage cage_;
  Fd kept_, addresses_, folder_;
  bool crashed_ = false;
  std::optional<Process> resolving_;
};

}  // namespace weir
