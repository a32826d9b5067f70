// The guard: every process of a tree is ended, by a signed command. See guard.h.
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "agent/guard/guard.h"
#include "platform/files/fd.h"
#include "platform/linux/boot_clock.h"

namespace weir {
namespace {

// For what starts others as fast as it can; the engine is given 5 s before it counts as hanging.
constexpr std::uint64_t kPatienceNs = 2'000'000'000;
constexpr useconds_t kPauseUs = 5'000;
// What is queued already, and what is left in spite of all, does not leave meanwhile.
constexpr std::uint64_t kSilencedNs = wire::kMaxLeaseNs;

}  // namespace

// Whoever may not be killed is asked before anything is remembered: a tree is all of its processes
// or none.
CommandNext Guard::next_kill(std::uint64_t tree) const {
  Result<std::vector<KernelTask>> tasks = kernel_.tasks();
  if (!tasks) return {.why = wire::CommandRefusal::failed, .words = tasks.error().sentence};
  const auto protects = [](const char* why) {
    return CommandNext{.why = wire::CommandRefusal::protected_tree, .words = why};
  };
  bool any = false;
  for (const KernelTask& task : *tasks) {
    if (task.value.tree != tree) continue;
    any = true;
    if (task.pid == 1) return protects("PID 1 is one of it");
    if (task.pid == static_cast<std::uint32_t>(::getpid()) ||
        task.pid == static_cast<std::uint32_t>(::getppid()))
      return protects("the agent is one of it");
    if ((task.value.flags & WEIR_TASK_LAUNCHER) != 0)
      return protects("a program is one of it that starts others for everybody");
  }
  if (!any) return {.why = wire::CommandRefusal::no_tree};
  return {.tree = tree};
}

// How many were there, or that nobody can say. A number that became another's since is told by its
// start: the table has who holds it now, and the descriptor is of who held it before we looked.
Result<std::size_t> Guard::kill_once(std::uint64_t tree) {
  Result<std::vector<KernelTask>> tasks = kernel_.tasks();
  std::size_t found = 0;
  if (!tasks) return tl::unexpected(tasks.error());
  for (const KernelTask& task : *tasks) {
    if (task.value.tree != tree) continue;
    const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, task.pid, 0)));
    const std::optional<weir_task> now = kernel_.task(task.pid);
    if (!process || !now || now->tree != tree || now->start_ns != task.value.start_ns) continue;
    ++found;
    if (::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0)
      ++counters_.killed;
  }
  return found;
}

CommandEnded Guard::kill_tree(CommandEnded ended) {
  const std::uint64_t began = boot_now_ns();
  const Result<void> silenced =
      kernel_.put_block(ended.tree, WEIR_TARGET_EVERYTHING, began + kSilencedNs);
  Result<std::size_t> left = kill_once(ended.tree);
  while (left && *left != 0 && boot_now_ns() - began < kPatienceNs) {
    ::usleep(kPauseUs);
    left = kill_once(ended.tree);
  }
  if (!left) return commands_->take_back(std::move(ended), left.error().sentence);
  if (!silenced) {
    ended.why = wire::CommandRefusal::tree_not_silenced;
    ended.words = silenced.error().sentence;
    if (*left != 0) ended.words = fmt::format("{}; {} are left", ended.words, *left);
  } else if (*left != 0) {
    ended.why = wire::CommandRefusal::tree_left;
    ended.words = std::to_string(*left);
  }
  return ended;
}

}  // namespace weir
