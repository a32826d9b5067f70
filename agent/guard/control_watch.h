// The guard's watch over its own controls: a canary tries them now and then, as a child of the
// spawner. Thread: the guard's.
#pragma once

#include <cstdint>
#include <vector>

#include "agent/guard/control_judge.h"
#include "agent/guard/spawner.h"
#include "platform/files/fd.h"

namespace weir {

class ControlWatch {
 public:
  ControlWatch(std::uint64_t every_ns, std::uint64_t now_ns);  // `every_ns` 0: never

  void tend(Spawner& spawner, std::uint64_t now_ns);  // starts one that is due, ends one that hangs
  int fd() const { return answer_.get(); }            // readable: hear() has something
  std::vector<ControlChanged> hear(std::uint64_t now_ns);
  void ended() { running_ = false; }  // the canary's process

 private:
  std::uint64_t every_ns_, due_ns_, began_ns_ = 0;
  bool running_ = false;
  Fd answer_;
  ControlJudge judge_;
};

}  // namespace weir
