// The guard's spawner: forked before all else, so that the guard itself never forks or opens a
// program while others wait for it. It starts what the guard needs, one child of each role at a
// time, tells their ends, and ends them with the guard. Thread: one owner.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"

namespace weir {

enum class Role : std::uint32_t {
  engine,        // descriptors: kGuard, kSource, kPolicy
  uplink,        // kUplinkGuard; the others are the spawner's kSpawn…
  compile,       // kCompileEnvelope, kRecord
  read_command,  // as compile
  read_trust,    // as compile
  canary,        // a pipe for its CanaryAnswer (control_watch.h)
};
inline constexpr std::size_t kRoles = 6;

struct SpawnCommands {
  std::vector<std::string> engine;  // path and arguments
  std::vector<std::string> uplink;  // empty: no collector
  uid_t uplink_user = 0;
  std::string canary_pins, canary_cgroup;  // empty: the controls are not tried
};

class Spawner {
 public:
  struct Ended {
    Role role = Role::engine;
    int status = 0;
  };

  static Result<Spawner> start(const SpawnCommands& commands);  // forks
  Spawner(Spawner&& other) noexcept;
  Spawner& operator=(Spawner&&) = delete;
  ~Spawner();  // the spawner sees the end of the pair: it ends its children, then itself

  int fd() const { return fd_; }  // readable: a child ended
  // Nothing here waits. `fds`: as its role says.
  bool spawn(Role role, std::span<const int> fds);
  bool kill(Role role);  // SIGKILL; its end is told as any other
  std::optional<Ended> ended();
  bool is_gone() const { return gone_; }  // the spawner itself: nothing can be started any more

 private:
  explicit Spawner(int fd) : fd_(fd) {}
  int fd_ = -1;
  bool gone_ = false;
};

}  // namespace weir
