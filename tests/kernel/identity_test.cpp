// Who pays: the tree and the person, whatever a process does to leave them.
#include <fcntl.h>

#include <fstream>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;

class Identity : public KernelTest {};

TEST_F(Identity, a_process_that_leaves_its_cgroup_is_still_charged) {
  k->load({limit_row(200'000, 0, WEIR_PER_TREE)});
  k->desk.start(udp({"--then-cgroup", k->desk.place("b"), "--ms", "2000"}), "a");
  k->desk.settled(milliseconds(1500), milliseconds(4000));
  EXPECT_EQ(k->accounts_of(0).size(), 1u);
  EXPECT_LE(k->desk.received(), k->charged(0));
  EXPECT_LE(k->charged(0), 200'000u);
  EXPECT_GT(k->charged(0), 200'000u - 1028);
}

TEST_F(Identity, with_known_trees_only_the_named_tree_pays_wherever_it_goes) {
  KernelOptions options;
  options.scope = KernelScope::known_trees;
  k->load({limit_row(200'000, 0, WEIR_PER_TREE)}, options);
  pid_t named = k->desk.start(udp({"--wait", "500", "--then-cgroup", k->desk.place("b"), "--ms",
                                   "2500", "--shape", "forks", "--count", "4"}),
                              "a");
  auto tree = k->part->put_task(static_cast<std::uint32_t>(named));
  ASSERT_TRUE(tree);
  k->desk.finish(named);
  EXPECT_LE(k->desk.received(), k->charged(0));
  EXPECT_LE(k->charged(0), 200'000u);
  EXPECT_GT(k->charged(0), 200'000u - 1028);
  ASSERT_EQ(k->accounts_of(0).size(), 1u);
  EXPECT_EQ(k->accounts_of(0)[0].key.who, *tree);
  std::uint64_t before = k->desk.received();
  k->desk.finish(k->desk.start(tcp({"--bytes", "300000"})));  // nobody's: free
  EXPECT_TRUE(await([&] { return k->desk.received() == before + 300'000; }, within(2000)));
  EXPECT_LE(k->charged(0), 200'000u);
}

TEST_F(Identity, multipath_tcp_whose_socket_the_kernel_makes_is_charged) {
  k->load({limit_row(100'000, 0, WEIR_PER_PERSON)});
  k->desk.start(tcp({"--multipath"}));
  k->desk.settled(milliseconds(600), milliseconds(3000));
  EXPECT_LE(k->desk.received(), k->charged(0));
  EXPECT_LE(k->charged(0), 100'000u);
  EXPECT_GT(k->desk.received(), 100'000u - (64 << 10));
}

TEST_F(Identity, with_known_trees_and_no_home_multipath_tcp_is_not_to_be_had) {
  KernelOptions options;
  options.scope = KernelScope::known_trees;
  k->load({limit_row(100'000, 0, WEIR_PER_TREE)}, options);
  pid_t pid = k->desk.start(tcp({"--multipath", "--wait", "500"}), "a");
  ASSERT_TRUE(k->part->put_task(static_cast<std::uint32_t>(pid)));
  k->desk.settled(milliseconds(600), milliseconds(3000));
  EXPECT_EQ(k->desk.received(), 0u);
}

TEST_F(Identity, with_known_trees_multipath_tcp_belongs_to_the_home_cgroup) {
  KernelOptions options;
  options.scope = KernelScope::known_trees;
  k->load({limit_row(100'000, 0, WEIR_PER_TREE)}, options);
  pid_t pid = k->desk.start(tcp({"--multipath", "--wait", "500"}), "a");
  auto tree = k->part->put_task(static_cast<std::uint32_t>(pid));
  ASSERT_TRUE(tree);
  ASSERT_TRUE(k->part->set_home(k->desk.place("a"), *tree));
  k->desk.settled(milliseconds(600), milliseconds(3000));
  EXPECT_LE(k->desk.received(), 100'000u);
  EXPECT_GT(k->desk.received(), 100'000u - (64 << 10));
  ASSERT_EQ(k->accounts_of(0).size(), 1u);
  EXPECT_EQ(k->accounts_of(0)[0].key.who, *tree);
}

TEST_F(Identity,
       with_known_trees_a_socket_that_nothing_can_be_stored_with_is_refused_at_home_only) {
  KernelOptions options;
  options.scope = KernelScope::known_trees;
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE)}, options);
  std::vector<std::string> a = {"--to", kPeer6, "--udp", "--shape", "way", "--", "without_memory"};
  pid_t home = k->desk.start(a, "a"), away = k->desk.start(a, "b");
  k->desk.await_line(home, "ready");
  k->desk.await_line(away, "ready");
  auto tree = k->part->put_task(static_cast<std::uint32_t>(home));  // after it made its socket
  ASSERT_TRUE(tree);
  ASSERT_TRUE(k->part->set_home(k->desk.place("a"), *tree));
  k->desk.write_line(home);
  Outcome refused = k->desk.finish(home);
  EXPECT_NE(refused.output.find("refused 100 of 100"), std::string::npos) << refused.output;
  EXPECT_EQ(k->desk.received(), 0u);
  EXPECT_GE(k->count(WEIR_COUNT_STORAGE_FULL), 100u);
  k->desk.write_line(away);
  Outcome free = k->desk.finish(away);
  EXPECT_NE(free.output.find("refused 0 of 100"), std::string::npos) << free.output;
  EXPECT_TRUE(await([&] { return k->desk.received() == 100'000; }, within(2000)));
}

TEST_F(Identity, a_socket_older_than_the_programs_is_unattributed_but_charged) {
  pid_t pid = k->desk.start(
      {"--shape", "socket_first", "--udp", "--to", kPeer4, "--size", "1000", "--ms", "1000"});
  k->desk.await_line(pid, "ready");
  KernelOptions options;
  options.bind_sockets = false;
  k->load({limit_row(100'000, 0, WEIR_PER_TREE), limit_row(kRoomy, 0, WEIR_PER_PERSON)}, options);
  k->desk.write_line(pid);
  k->desk.finish(pid);
  ASSERT_EQ(k->accounts_of(0).size(), 1u);
  EXPECT_EQ(k->accounts_of(0)[0].key.who, 0u) << "no tree";
  EXPECT_EQ(k->accounts_of(1)[0].key.who, 0u) << "the uid of the socket";
  EXPECT_GT(k->count(WEIR_COUNT_UNATTRIBUTED), 0u);
  EXPECT_LE(k->charged(0), 100'000u);
  EXPECT_GT(k->charged(0), 100'000u - 1028);
  EXPECT_LE(k->desk.received(), k->charged(0));
}

TEST_F(Identity, sockets_that_are_open_at_the_start_are_bound_to_their_trees) {
  pid_t pid = k->desk.start(
      {"--shape", "socket_first", "--udp", "--to", kPeer4, "--size", "1000", "--ms", "1000"});
  k->desk.await_line(pid, "ready");
  k->load({limit_row(100'000, 0, WEIR_PER_TREE)});
  auto task = k->part->task(static_cast<std::uint32_t>(pid));
  ASSERT_TRUE(task) << "found in /proc";
  k->desk.write_line(pid);
  k->desk.finish(pid);
  ASSERT_EQ(k->accounts_of(0).size(), 1u);
  EXPECT_EQ(k->accounts_of(0)[0].key.who, task->tree);
  EXPECT_EQ(k->count(WEIR_COUNT_UNATTRIBUTED), 0u);
}

TEST_F(Identity, an_accepted_socket_is_its_listeners) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE)});
  pid_t pid =
      k->desk.start({"--shape", "serve", "--to", kPeer4, "--bytes", "50000", "--ms", "3000"});
  k->desk.await_line(pid, "ready");
  auto task = k->part->task(static_cast<std::uint32_t>(pid));
  ASSERT_TRUE(task);
  EXPECT_EQ(k->desk.peer_fetches(k->desk.port()), 50'000u);
  k->desk.finish(pid);
  ASSERT_EQ(k->accounts_of(0).size(), 1u);
  EXPECT_EQ(k->accounts_of(0)[0].key.who, task->tree);
  EXPECT_EQ(k->charged(0), 50'000u);
  EXPECT_EQ(k->count(WEIR_COUNT_UNATTRIBUTED), 0u);
}

TEST_F(Identity, exec_and_exit_are_told_with_program_tree_and_person) {
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE)});
  pid_t pid = k->desk.start(tcp({"--bytes", "10"}));
  k->desk.finish(pid);
  usleep(50'000);
  auto execs = k->records<weir_exec>(WEIR_REC_EXEC);
  ASSERT_EQ(execs.size(), 1u);
  EXPECT_EQ(execs[0].record.pid, static_cast<std::uint32_t>(pid));
  EXPECT_STREQ(execs[0].program, traffic_program().c_str());
  EXPECT_EQ(execs[0].parent, static_cast<std::uint32_t>(getpid()));
  EXPECT_NE(execs[0].start_ns, 0u);
  auto exits = k->records<weir_record>(WEIR_REC_EXIT);
  ASSERT_EQ(exits.size(), 1u);
  EXPECT_EQ(exits[0].tree, execs[0].record.tree);
  EXPECT_FALSE(k->part->task(static_cast<std::uint32_t>(pid)));
}

TEST_F(Identity, two_trees_do_not_share_an_account) {
  k->load({limit_row(100'000, 0, WEIR_PER_TREE)});
  k->desk.start(udp({"--ms", "800"}), "a");
  k->desk.start(udp({"--ms", "800"}), "b");
  k->desk.settled(milliseconds(400), milliseconds(3000));
  auto accounts = k->accounts_of(0);
  ASSERT_EQ(accounts.size(), 2u);
  for (const auto& a : accounts) {
    EXPECT_LE(a.value.charged, 100'000u);
    EXPECT_GT(a.value.charged, 100'000u - 1028);
  }
}

// Whose fork found no room in the table is nobody's: all of them share the account of no tree, and
// that of the host.
TEST_F(Identity, tasks_that_find_no_room_in_the_table_are_bounded_and_the_approved_go_on) {
  constexpr std::uint64_t kHost = 150'000, kTree = 90'000;
  KernelOptions options;
  options.max_tasks = 6;
  k->load({limit_row(kHost, 0, WEIR_PER_HOST), limit_row(kTree, 0, WEIR_PER_TREE)}, options);
  weir_prefix approved{};
  approved.final = 1;
  ASSERT_TRUE(k->part->put_prefix(*Prefix::parse("10.78.0.0/24"), approved));
  for (const char* to : {kPeer4, kPeer6}) {
    k->desk.start({"--shape", "forks", "--count", "20", "--to", to, "--ms", "600000"});
    k->desk.start({"--shape", "forks", "--count", "10", "--udp", "--size", "1000", "--to", to,
                   "--ms", "600000"});
  }
  EXPECT_TRUE(await([&] { return k->count(WEIR_COUNT_UNATTRIBUTED) > 20; }, within(10'000)));
  k->desk.settled(milliseconds(800), milliseconds(6000));
  const std::uint64_t most = scale() > 1 ? 20 : 50;  // an emulator's floods starve those that fork
  EXPECT_TRUE(await([&] { return k->count(WEIR_COUNT_TASKS_FULL) >= most; }, within(10'000)));
  EXPECT_LE(k->part->tasks()->size(), 6u);
  EXPECT_LE(k->desk.received(), k->charged(0));
  EXPECT_LE(k->charged(0), kHost);
  EXPECT_EQ(k->charged(1), k->charged(0));
  for (const KernelAccount& tree : k->accounts_of(1)) EXPECT_LE(tree.value.charged, kTree);
  fmt::print("60 processes, room for 6: charged {} of {} in {} accounts of trees, received {}\n",
             k->charged(0), kHost, k->accounts_of(1).size(), k->desk.received());
  const std::uint64_t before = k->desk.received();
  const pid_t free = k->desk.start(
      {"--shape", "forks", "--count", "5", "--to", kOther4, "--bytes", "70000", "--ms", "60000"});
  EXPECT_TRUE(await([&] { return k->desk.received() >= before + 5 * 70'000; }, within(8000)))
      << k->desk.received() - before;
  EXPECT_EQ(k->desk.finish(free).status, 0);
  EXPECT_EQ(k->desk.received(), before + 5 * 70'000) << "and nothing else";
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
// The pin folder is none: were the root not refused, loading would fail before it attaches.
TEST(build_for_tests, never_attaches_to_the_root_of_cgroup2) {
  KernelOptions options;
  options.pin_dir = "/proc";
  auto part = KernelPart::load(options);
  ASSERT_FALSE(part);
  EXPECT_NE(part.error().sentence.find("root of cgroup2"), std::string::npos)
      << part.error().sentence;
}
#endif
#endif

}  // namespace
}  // namespace weir::test
