// The guard's spawner: forked before all else, so that the guard itself never forks or opens a
// program while others wait for it. It starts the engine, tells its end, and ends it with the
// guard. Thread: one owner.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace weir {

class Spawner {
 public:
  // Forks. `command` is the engine's path and arguments.
  static Result<Spawner> start(const std::vector<std::string>& command);
  Spawner(Spawner&& other) noexcept;
  Spawner& operator=(Spawner&&) = delete;
  ~Spawner();  // the spawner sees the end of the pair: it ends the engine, then itself

  int fd() const { return fd_; }  // readable: an engine ended
  // Starts an engine with these descriptors as kGuard and kSource. Nothing here waits.
  bool spawn(int guard_end, int source);
  bool kill();                 // SIGKILL to the engine; its end is told as any other
  std::optional<int> ended();  // status of an engine that ended; -1: the spawner itself is gone

 private:
  explicit Spawner(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace weir
