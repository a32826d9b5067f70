// The process table.
#include "core/line/processes.h"

namespace weir {

void Processes::on(const ProcessStarted& started) {
  const auto known = processes_.find(started.pid);
  if (known != processes_.end()) forget(started.pid);
  while (processes_.size() >= kMaxProcesses && !exits_.empty()) forget_oldest_exit();
  if (processes_.size() >= kMaxProcesses) {
    ++dropped_;
    return;
  }
  Process& process = processes_[started.pid];
  process = {started.tree, started.person, std::string(started.program), started.start_ns, false};
  Tree& tree = trees_[started.tree];
  if (tree.program.empty()) tree.program = process.program;
  ++tree.running;
}

void Processes::on(const ProcessExited& exited) {
  const auto found = processes_.find(exited.pid);
  if (found == processes_.end() || found->second.gone) return;
  found->second.gone = true;
  exits_.push_back({exited.pid, found->second.start_ns});
  if (exits_.size() > kRememberedExits) forget_oldest_exit();
}

void Processes::forget_oldest_exit() {
  const Exit oldest = exits_.front();
  exits_.pop_front();
  const auto found = processes_.find(oldest.pid);  // the id may be another process's by now
  if (found != processes_.end() && found->second.gone && found->second.start_ns == oldest.start_ns)
    forget(oldest.pid);
}

void Processes::forget(std::uint32_t pid) {
  const auto found = processes_.find(pid);
  if (found == processes_.end()) return;
  const auto tree = trees_.find(found->second.tree);
  if (tree != trees_.end() && --tree->second.running == 0) trees_.erase(tree);
  processes_.erase(found);
}

Actor Processes::actor_of(const SocketRef& socket, const IpAddress& client) const {
  Actor actor;
  actor.tree = socket.tree;
  actor.person = socket.person;
  actor.pid = socket.pid;
  actor.address = client;
  const auto process = processes_.find(socket.pid);
  if (socket.pid != 0 && process != processes_.end() && process->second.tree == socket.tree) {
    actor.program = process->second.program;
  } else if (const auto tree = trees_.find(socket.tree); tree != trees_.end()) {
    actor.program = tree->second.program;
  }
  return actor;
}

}  // namespace weir
