// A policy's rules over one command of `weir exec`: guard, spawner and engine as `weir run` has
// them, attached to the command's own cgroup, with state and pins of their own that end with the
// run. Thread: one owner; forks.
#pragma once

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "agent/run/exec_summary.h"
#include "agent/run/guard_process.h"

namespace weir {

class ExecPolicy {
 public:
  // Returns when the policy is in force in that cgroup. `interrupt`: a descriptor that becomes
  // readable when the wait is to end early; `mask`: the children's signal mask.
  static Result<ExecPolicy> start(CompiledPolicy policy, const std::string& cgroup, int interrupt,
                                  const sigset_t& mask);
  ExecPolicy(ExecPolicy&& other) noexcept;
  ExecPolicy& operator=(ExecPolicy&&) = delete;
  ~ExecPolicy();  // ends what still runs; removes state and pins

  int pidfd() const { return guard_->pidfd(); }  // readable: the guard is gone
  // Ends guard and engine; the last revision of each of their reports, in the order of their ids.
  std::vector<ExecReport> finish();

 private:
  ExecPolicy(std::string folder, std::string pins)
      : folder_(std::move(folder)), pins_(std::move(pins)) {}
  Result<void> wait_ready(Pipe& ready, int interrupt);
  void end_guard();

  std::string folder_, pins_;  // "": none
  std::optional<GuardInputs> inputs_{};
  std::optional<Process> guard_{};
};

}  // namespace weir
