// Pins: the bound outlives its loader, and a second loader takes over what is pinned.
#include <filesystem>
#include <map>
#include <string_view>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

class Pins : public KernelTest {
 protected:
  void TearDown() override {
    if (!k) return;
    k->part.reset();
    EXPECT_TRUE(KernelPart::release(k->desk.pin_dir()));
  }
  KernelOptions pinned() {
    KernelOptions options;
    options.pin_dir = k->desk.pin_dir();
    return options;
  }
  std::unique_ptr<KernelPart> again() { return again(pinned()); }
  std::unique_ptr<KernelPart> again(KernelOptions options) {
    options.cgroup = k->desk.cgroup();
    options.max_accounts = options.max_tasks = 4096;
    auto part = KernelPart::load(options);
    EXPECT_TRUE(part) << part.error().sentence;
    return part ? std::make_unique<KernelPart>(std::move(*part)) : nullptr;
  }
};

TEST_F(Pins, hold_the_bound_when_the_loader_is_gone) {
  k->load({limit_row(100'000, 0, WEIR_PER_TREE)}, pinned());
  EXPECT_FALSE(k->part->adopted());
  k->desk.start(udp({"--ms", "6000"}));
  k->desk.settled(milliseconds(300), milliseconds(2000));
  std::uint64_t received = k->desk.received();
  EXPECT_LE(received, 100'000u);
  k->events.reset();
  k->part.reset();
  usleep(500'000);
  EXPECT_EQ(k->desk.received(), received) << "nobody is there, and nothing leaves";
  auto part = again();
  ASSERT_TRUE(part);
  EXPECT_TRUE(part->adopted());
  EXPECT_EQ(part->state().unclassified, 1u);
  k->part = std::move(part);
  EXPECT_LE(k->charged(0), 100'000u);
  EXPECT_GT(k->charged(0), 100'000u - 1028);
}

TEST_F(Pins, no_datagram_passes_while_loaders_change) {
  k->load({limit_row(50'000, 0, WEIR_PER_PERSON)}, pinned());
  k->desk.start(udp({"--shape", "forks", "--count", "2", "--ms", std::to_string(20'000)}));
  k->desk.settled(milliseconds(300), milliseconds(2000));
  std::uint64_t received = k->desk.received();
  std::uint64_t refused = k->count(WEIR_COUNT_REFUSED_PACKETS);
  const int changes = 10 / scale() + 2;
  for (int i = 0; i < changes; i++) {
    auto next = again();
    ASSERT_TRUE(next);
    EXPECT_TRUE(next->adopted());
    k->events.reset();
    k->part = std::move(next);  // the old one is still there while the new one attaches
  }
  EXPECT_EQ(k->desk.received(), received);
  EXPECT_GT(k->count(WEIR_COUNT_REFUSED_PACKETS), refused) << "it was tried all the time";
  fmt::print("{} loaders, {} datagrams refused meanwhile, 0 passed\n", changes,
             k->count(WEIR_COUNT_REFUSED_PACKETS) - refused);
}

// Each process of two storms lives for one packet. One of them whose fork no program saw would have
// a tree of its own, or none.
TEST_F(Pins, no_fork_is_missed_while_loaders_change) {
  if (scale() > 1) GTEST_SKIP() << "beside two storms an emulator loads programs for minutes";
  constexpr std::uint64_t kLimit = 60'000;
  k->load({limit_row(kLimit, 0, WEIR_PER_TREE)}, pinned());
  const std::string ms = std::to_string(600'000);
  k->desk.start({"--shape", "storm", "--to", kPeer4, "--size", "1000", "--ms", ms});
  k->desk.start({"--shape", "storm", "--to", kPeer6, "--size", "1000", "--ms", ms, "--udp"});
  EXPECT_TRUE(await([&] { return k->desk.received() > 5'000; }, within(30'000)));
  const auto tried = [&] {
    return k->count(WEIR_COUNT_CHARGED_PACKETS) + k->count(WEIR_COUNT_REFUSED_PACKETS);
  };
  const std::uint64_t before = tried();
  constexpr int kChanges = 12;
  for (int i = 0; i < kChanges; i++) {
    k->events.reset();
    k->part.reset();  // what is pinned alone holds until the next one's is there
    k->part = again();
    ASSERT_TRUE(k->part);
    EXPECT_TRUE(k->part->adopted());
  }
  EXPECT_GT(tried(), before) << "the storms went on";
  EXPECT_EQ(k->accounts_of(0).size(), 2u) << "one for each storm";
  EXPECT_EQ(k->count(WEIR_COUNT_UNATTRIBUTED), 0u);
  EXPECT_LE(k->desk.received(), k->charged(0));
  EXPECT_LE(k->charged(0), 2 * kLimit);
  fmt::print("{} loaders under two storms: {} of {} received\n", kChanges, k->desk.received(),
             2 * kLimit);
}

// Whoever is dead when much happens: the ring keeps what came first, and all the rest is a number.
TEST_F(Pins, keep_the_oldest_events_of_a_gap_and_count_the_rest_exactly) {
  constexpr std::uint32_t kRing = 64 << 10;
  constexpr std::size_t kProcesses = 4;
  const std::size_t each = scale() > 1 ? 70 : 250;  // an emulator is slow, and the ring as small
  KernelOptions options = pinned();
  options.events_bytes = kRing;
  k->load({limit_row(50'000, 0, WEIR_PER_PERSON)}, options);
  k->events.reset();
  close(k->events_fd);
  k->part.reset();
  std::vector<pid_t> pids;
  for (std::size_t n = 0; n < kProcesses; n++)
    pids.push_back(k->desk.start({"--shape", "execs", "--count", std::to_string(each - 1)}));
  for (pid_t pid : pids) k->desk.await_line(pid, "done");
  k->part = again(options);
  ASSERT_TRUE(k->part);
  EXPECT_TRUE(k->part->adopted());
  k->events_fd = k->part->events_fd().value_or(-1);
  auto ring = EventRing::open(k->events_fd);
  ASSERT_TRUE(ring);
  k->events = std::make_unique<EventRing>(std::move(*ring));
  const auto execs = k->records<weir_exec>(WEIR_REC_EXEC);
  EXPECT_EQ(execs.size(), k->kept.size()) << "nothing else happened";
  EXPECT_GE(execs.size() * sizeof(weir_exec), kRing * 9 / 10) << "as many as there is room for";
  std::map<std::uint32_t, std::pair<std::size_t, std::uint64_t>>
      of;  // how many, the last one's time
  for (const weir_exec& exec : execs) {
    auto& [count, time] = of[exec.record.pid];
    const std::size_t slashes = std::string_view(exec.program).find_first_not_of('/');
    ASSERT_EQ(slashes, count % 64 + 1) << "the oldest, none left out";
    EXPECT_GT(exec.record.boot_ns, time);
    ++count;
    time = exec.record.boot_ns;
  }
  const std::uint64_t lost = k->count(WEIR_COUNT_RING_LOST);
  fmt::print("{} execs, nobody there: {} kept, {} counted\n", kProcesses * each, execs.size(),
             lost);
  EXPECT_EQ(execs.size() + lost, kProcesses * each);
  // There is room again.
  k->kept.clear();
  const pid_t next = k->desk.start({"--shape", "execs", "--count", "0"});
  k->desk.await_line(next, "done");
  EXPECT_TRUE(
      await([&] { return k->records<weir_exec>(WEIR_REC_EXEC).size() == 1; }, within(3000)));
  EXPECT_EQ(k->count(WEIR_COUNT_RING_LOST), lost);
}

TEST_F(Pins, tasks_and_blocks_are_adopted) {
  k->load({limit_row(50'000, 0, WEIR_PER_PERSON)}, pinned());
  pid_t pid = k->desk.start(
      {"--shape", "socket_first", "--udp", "--to", kPeer4, "--size", "100", "--ms", "300"});
  k->desk.await_line(pid, "ready");
  auto task = k->part->task(static_cast<std::uint32_t>(pid));
  ASSERT_TRUE(task);
  ASSERT_TRUE(k->part->put_block(task->tree, WEIR_TARGET_EVERYTHING, boot_now() + 60 * kSecond));
  k->events.reset();
  k->part.reset();
  k->part = again();
  ASSERT_TRUE(k->part);
  EXPECT_EQ(k->part->task(static_cast<std::uint32_t>(pid))->tree, task->tree);
  k->desk.write_line(pid);
  k->desk.finish(pid);
  EXPECT_EQ(k->desk.received(), 0u);
  ASSERT_TRUE(k->part->remove_block(task->tree, WEIR_TARGET_EVERYTHING));
  EXPECT_EQ(k->part->state().blocks, 0u);
}

TEST_F(Pins, release_removes_all_of_them_and_ends_the_bound) {
  k->load({limit_row(50'000, 0, WEIR_PER_PERSON)}, pinned());
  k->events.reset();
  k->part.reset();
  ASSERT_TRUE(KernelPart::release(k->desk.pin_dir()));
  EXPECT_FALSE(std::filesystem::exists(k->desk.pin_dir() + "/weir"));
  usleep(100'000);  // links end after a grace period
  k->desk.finish(k->desk.start(tcp({"--bytes", "200000"})));
  EXPECT_TRUE(await([&] { return k->desk.received() == 200'000; }, within(2000)));
}

TEST_F(Pins, without_a_pin_directory_the_bound_ends_with_the_loader) {
  k->load({limit_row(50'000, 0, WEIR_PER_PERSON)});
  k->desk.start(udp({"--ms", std::to_string(8000 * scale())}));  // beyond the end of this test
  k->desk.settled(milliseconds(300), milliseconds(2000));
  EXPECT_LE(k->desk.received(), 50'000u);
  k->events.reset();
  k->part.reset();
  EXPECT_TRUE(await([&] { return k->desk.received() > 100'000; }, within(3000)));
}

TEST_F(Pins, a_directory_that_is_no_bpffs_is_refused_with_a_sentence) {
  KernelOptions options;
  options.cgroup = k->desk.cgroup();
  options.pin_dir = "/tmp";
  auto part = KernelPart::load(options);
  ASSERT_FALSE(part);
  EXPECT_NE(part.error().sentence.find("BPF file system"), std::string::npos);
}

}  // namespace
}  // namespace weir::test
