// Which program a socket belongs to: processes by id and trees by their first program, bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

#include "core/event/event.h"
#include "core/event/report.h"

namespace weir {

// As many as the kernel part holds (WEIR_TASKS): a desk runs a few hundred.
inline constexpr std::size_t kMaxProcesses = 65536;
// A process that is gone is remembered while this many others went after it: its flows end later.
inline constexpr std::size_t kRememberedExits = 4096;

class Processes {
 public:
  void on(const ProcessStarted& started);
  void on(const ProcessExited& exited);
  // A process that only forked has its tree's program; without a socket the actor is the client.
  Actor actor_of(const SocketRef& socket, const IpAddress& client) const;
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Process {
    TreeId tree = 0;
    PersonId person = kNoPerson;
    std::string program;
    std::uint64_t start_ns = 0;
    bool gone = false;
  };
  struct Tree {
    std::string program;        // of its first process
    std::uint32_t running = 0;  // processes in the table
  };
  struct Exit {
    std::uint32_t pid;
    std::uint64_t start_ns;
  };
  void forget(std::uint32_t pid);
  void forget_oldest_exit();

  std::unordered_map<std::uint32_t, Process> processes_;
  std::unordered_map<TreeId, Tree> trees_;
  std::deque<Exit> exits_;
  std::uint64_t dropped_ = 0;
};

}  // namespace weir
