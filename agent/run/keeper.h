// The keeper of `weir exec`: a second process that holds the kernel part, so that the death of the
// first ends the command instead of its bound. Fails closed.
#pragma once

#include <string>

#include "agent/run/process.h"
#include "core/base/result.h"
#include "platform/linux/kernel_part.h"

namespace weir {

class Keeper {
 public:
  // Forks. The child shares the descriptors of `kernel`, which holds the links while it lives.
  // Without a cgroup it ends nobody: it holds the bound until the last of the command has gone.
  static Result<Keeper> start(KernelPart& kernel, const std::string& cgroup);
  const Process& process() const { return process_; }
  void dismiss();  // all is done: the keeper goes without ending anything
  void stay();     // as if the first process had died: the bound holds for a while longer

 private:
  Keeper(Process process, Pipe pipe) : process_(std::move(process)), pipe_(std::move(pipe)) {}
  Process process_;
  Pipe pipe_;
};

}  // namespace weir
