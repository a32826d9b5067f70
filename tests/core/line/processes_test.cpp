// Which program a socket belongs to, also after it forked, exited, or its id went to another.
#include "core/line/processes.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

ProcessStarted started(std::uint32_t pid, TreeId tree, std::string_view program,
                       std::uint64_t start_ns = 1) {
  ProcessStarted out;
  out.pid = pid;
  out.tree = tree;
  out.person = 1000;
  out.start_ns = start_ns;
  out.program = program;
  return out;
}

SocketRef socket_of(std::uint32_t pid, TreeId tree) {
  return {1, tree, 1000, pid};
}

TEST(processes, socket_belongs_to_the_program_that_its_process_executed) {
  Processes table;
  table.on(started(10, 7, "/bin/bash"));
  table.on(started(11, 7, "/usr/bin/curl"));
  EXPECT_EQ(table.actor_of(socket_of(11, 7), {}).program, "/usr/bin/curl");
  EXPECT_EQ(table.actor_of(socket_of(11, 7), {}).person, 1000u);
}

TEST(processes, process_that_only_forked_has_the_program_of_its_tree) {
  Processes table;
  table.on(started(10, 7, "/usr/bin/worker"));
  EXPECT_EQ(table.actor_of(socket_of(99, 7), {}).program, "/usr/bin/worker");
}

TEST(processes, exited_process_is_remembered_for_its_last_flows) {
  Processes table;
  table.on(started(10, 7, "/usr/bin/curl"));
  table.on(ProcessExited{10, 7});
  EXPECT_EQ(table.actor_of(socket_of(10, 7), {}).program, "/usr/bin/curl");
}

TEST(processes, id_that_went_to_another_tree_names_nobody_else) {
  Processes table;
  table.on(started(10, 7, "/usr/bin/curl", 1));
  table.on(ProcessExited{10, 7});
  table.on(started(10, 8, "/usr/bin/ssh", 2));
  EXPECT_EQ(table.actor_of(socket_of(10, 7), {}).program, "");
  EXPECT_EQ(table.actor_of(socket_of(10, 8), {}).program, "/usr/bin/ssh");
}

TEST(processes, fork_storm_is_bounded_and_forgets_those_that_went_first) {
  Processes table;
  for (std::uint32_t pid = 1; pid <= 3 * kMaxProcesses; ++pid) {
    table.on(started(pid, pid, "/bin/true", pid));
    table.on(ProcessExited{pid, pid});
  }
  EXPECT_EQ(table.dropped(), 0u);
  for (std::uint32_t pid = 1; pid <= kMaxProcesses + kRememberedExits + 10; ++pid)
    table.on(started(10'000'000 + pid, pid, "/bin/sleep", pid));
  EXPECT_GT(table.dropped(), 0u);  // all of them live: no room
}

}  // namespace
}  // namespace weir
