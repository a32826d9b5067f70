// Hooks and pins that somebody with root's rights takes away: what leaves meanwhile is counted by
// the receiver, and one look later the bound holds again.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "platform/files/fd.h"
#include "platform/linux/classic_filter.h"
#include "platform/linux/device_bytes.h"
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kLimit = 50'000;
// Those whose links a stranger can detach; the others are tracepoints.
constexpr const char* kOfTheCgroup[] = {"weir_sock_create", "weir_connect4",     "weir_connect6",
                                        "weir_sendmsg4",    "weir_sendmsg6",     "weir_egress",
                                        "weir_ingress",     "weir_sock_release", "weir_setsockopt"};

class Mend : public KernelTest {
 protected:
  void TearDown() override {
    if (!k) return;
    k->events.reset();
    k->part.reset();
    EXPECT_TRUE(KernelPart::release(k->desk.pin_dir()));
  }
  void load(std::uint64_t limit = kLimit) {
    KernelOptions options;
    options.pin_dir = k->desk.pin_dir();
    k->load({limit_row(limit, 0, WEIR_PER_PERSON)}, options);
    EXPECT_TRUE(k->part->mend().empty()) << "nothing is missing";
  }
  void load_again() {
    KernelOptions options;
    options.pin_dir = k->desk.pin_dir();
    options.cgroup = k->desk.cgroup();
    options.max_accounts = options.max_tasks = 4096;
    auto part = KernelPart::load(options);
    ASSERT_TRUE(part) << part.error().sentence;
    k->part = std::make_unique<KernelPart>(std::move(*part));
  }
  std::string pin(const std::string& name) const {
    return k->desk.pin_dir() + "/weir/" + std::to_string(WEIR_LAYOUT) + "/links/" + name;
  }
  Fd link(const std::string& name) const { return Fd(bpf_obj_get(pin(name).c_str())); }
  bool detach(const std::string& name) const { return bpf_link_detach(link(name).get()) == 0; }
  // Two processes that send datagrams for a while; returns once their account is spent.
  std::uint64_t flood() {
    k->desk.start(udp({"--shape", "forks", "--count", "2", "--ms", "60000"}));
    return k->desk.settled(milliseconds(300), milliseconds(2000));
  }
  // Nothing more arrives, although it is tried.
  void expect_held(const std::string& what) {
    // What was on its way; a receiver on a busy machine is behind.
    const std::uint64_t received = k->desk.settled(milliseconds(200), within(2000));
    const std::uint64_t refused = k->count(WEIR_COUNT_REFUSED_PACKETS);
    usleep(300'000);
    EXPECT_TRUE(await([&] { return k->count(WEIR_COUNT_REFUSED_PACKETS) > refused; }, within(2000)))
        << what << ": it was tried";
    EXPECT_EQ(k->desk.received(), received) << what;
  }
};

TEST_F(Mend, a_detached_charging_program_is_back_after_one_look) {
  load();
  EXPECT_LE(flood(), kLimit);
  expect_held("before");
  const std::uint64_t before = k->desk.received(), devices = bytes_sent_by_devices();
  const std::uint64_t since = boot_now();
  ASSERT_TRUE(detach("weir_egress"));
  EXPECT_TRUE(await([&] { return k->desk.received() > before + kLimit; }, within(5000)))
      << "it is really gone";
  const auto found = k->part->mend();
  const std::uint64_t open_ns = boot_now() - since;
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, "weir_egress");
  EXPECT_EQ(found[0].what, Removed::What::hook);
  EXPECT_EQ(found[0].problem, "");
  expect_held("after");
  const std::uint64_t passed = k->desk.received() - before;
  EXPECT_LE(passed, bytes_sent_by_devices() - devices) << "what is said to have left at most";
  fmt::print("weir_egress was away for {} ms: {} bytes arrived\n", open_ns / 1'000'000, passed);
  EXPECT_TRUE(k->part->mend().empty()) << "told once";
}

TEST_F(Mend, every_program_of_the_cgroup_that_is_detached_is_back_after_one_look) {
  load();
  EXPECT_LE(flood(), kLimit);
  for (const char* name : kOfTheCgroup) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(detach(name));
    const auto found = k->part->mend();
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found[0].name, name);
    EXPECT_EQ(found[0].problem, "");
    EXPECT_TRUE(k->part->mend().empty());
    EXPECT_TRUE(link(name)) << "pinned again";
    expect_held(name);
  }
}

TEST_F(Mend, the_kernel_lets_nobody_detach_what_a_link_holds_by_other_means) {
  load();
  EXPECT_LE(flood(), kLimit);
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  ASSERT_EQ(bpf_obj_get_info_by_fd(link("weir_egress").get(), &info, &size), 0);
  const Fd program(bpf_prog_get_fd_by_id(info.prog_id));
  const Fd cgroup(open(k->desk.cgroup().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // As `bpftool cgroup detach` does.
  EXPECT_NE(bpf_prog_detach2(program.get(), cgroup.get(), BPF_CGROUP_INET_EGRESS), 0);
  for (const char* name : {"weir_fork", "weir_exec", "weir_exit"}) EXPECT_FALSE(detach(name));
  EXPECT_TRUE(k->part->mend().empty());
  expect_held("still");
}

TEST_F(Mend, another_program_at_our_hook_is_replaced_by_ours) {
  load();
  EXPECT_LE(flood(), kLimit);
  const bpf_insn lets_all_pass[] = {
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_CGROUP_INET_EGRESS);
  const Fd other(
      bpf_prog_load(BPF_PROG_TYPE_CGROUP_SKB, "stranger", "GPL", lets_all_pass, 2, &options));
  ASSERT_TRUE(other);
  ASSERT_EQ(bpf_link_update(link("weir_egress").get(), other.get(), nullptr), 0);
  const std::uint64_t before = k->desk.received();
  EXPECT_TRUE(await([&] { return k->desk.received() > before + kLimit; }, within(5000)));
  const auto found = k->part->mend();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what, Removed::What::program);
  EXPECT_EQ(found[0].name, "weir_egress");
  expect_held("after");
}

TEST_F(Mend, a_stream_pays_for_what_it_sent_meanwhile_once_it_goes_on) {
  load(10'000'000);
  pid_t pid = k->desk.start({"--to", kPeer4, "--shape", "steps", "--bytes", "100000"});
  k->desk.await_line(pid, "sent");
  ASSERT_TRUE(await([&] { return k->desk.received() == 100'000; }, within(3000)));
  EXPECT_EQ(k->charged(0), 100'000u);
  ASSERT_TRUE(detach("weir_egress"));
  k->desk.write_line(pid);
  ASSERT_TRUE(await([&] { return k->desk.received() == 200'000; }, within(3000)));
  EXPECT_EQ(k->charged(0), 100'000u) << "nobody counts";
  EXPECT_FALSE(k->part->mend().empty());
  k->desk.write_line(pid);
  ASSERT_TRUE(await([&] { return k->desk.received() == 300'000; }, within(3000)));
  EXPECT_EQ(k->charged(0), 300'000u);
}

TEST_F(Mend, a_task_that_began_while_nobody_saw_it_has_an_owner_afterwards) {
  load();
  ASSERT_TRUE(detach("weir_sock_create"));
  ASSERT_TRUE(detach("weir_connect4"));
  ASSERT_TRUE(detach("weir_sendmsg4"));
  pid_t pid = k->desk.start(
      {"--shape", "socket_first", "--udp", "--to", kPeer4, "--size", "1000", "--ms", "500"});
  k->desk.await_line(pid, "ready");
  EXPECT_GE(k->part->mend().size(), 3u);
  k->desk.write_line(pid);
  k->desk.finish(pid);
  EXPECT_GT(k->charged(0), 0u);
  EXPECT_EQ(k->count(WEIR_COUNT_UNATTRIBUTED), 0u) << "its socket was found and bound";
}

TEST_F(Mend, removed_pins_are_back_and_a_successor_adopts_them) {
  load();
  std::uint64_t received = flood();
  EXPECT_LE(received, kLimit);
  ASSERT_EQ(unlink(pin("weir_egress").c_str()), 0);
  auto found = k->part->mend();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what, Removed::What::pins);
  EXPECT_EQ(found[0].count, 1u);
  EXPECT_EQ(found[0].name, "weir_egress");
  std::filesystem::remove_all(k->desk.pin_dir() + "/weir");
  expect_held("without a pin");
  found = k->part->mend();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_GT(found[0].count, 20u) << "programs and tables";
  EXPECT_EQ(found[0].problem, "");
  received = k->desk.received();
  k->events.reset();
  k->part.reset();
  usleep(300'000);
  EXPECT_EQ(k->desk.received(), received) << "the pins hold";
  load_again();
  EXPECT_TRUE(k->part->adopted());
  EXPECT_TRUE(k->part->mend().empty());
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_EQ(k->desk.received(), received);
}

TEST_F(Mend, what_was_detached_while_nobody_looked_is_attached_by_the_next_loader) {
  load();
  EXPECT_LE(flood(), kLimit);
  k->events.reset();
  k->part.reset();
  const std::uint64_t before = k->desk.received();
  ASSERT_TRUE(detach("weir_egress"));
  ASSERT_EQ(unlink(pin("weir_connect4").c_str()), 0);
  EXPECT_TRUE(await([&] { return k->desk.received() > before; }, within(5000)));
  load_again();
  EXPECT_TRUE(k->part->adopted()) << "the accounts are there";
  const auto found = k->part->mend();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, "weir_connect4");
  EXPECT_EQ(found[1].name, "weir_egress");
  EXPECT_LE(k->charged(0), kLimit);
  expect_held("after");
}

// Somebody holds the link, so that it stays when its pin and its guard are gone.
TEST_F(Mend, a_link_without_a_pin_is_taken_over_and_charges_once) {
  load(1'000'000);
  const Fd held = link("weir_egress");
  ASSERT_TRUE(held);
  k->events.reset();
  k->part.reset();
  ASSERT_EQ(unlink(pin("weir_egress").c_str()), 0);
  load_again();
  EXPECT_EQ(k->part->mend().size(), 1u) << "the pin was gone";
  bpf_link_info before{}, now{};
  std::uint32_t size = sizeof before;
  ASSERT_EQ(bpf_obj_get_info_by_fd(held.get(), &before, &size), 0);
  ASSERT_EQ(bpf_obj_get_info_by_fd(link("weir_egress").get(), &now, &size), 0);
  EXPECT_EQ(now.id, before.id) << "no second one beside it";
  k->desk.finish(k->desk.start(udp({"--bytes", "20000"})));
  EXPECT_EQ(k->desk.settled(milliseconds(200), milliseconds(2000)), 20'000u);
  EXPECT_EQ(k->charged(0), 20'000u / 1000 * 1028);
}

// Two loaders of the same pins, as an upgrade would have them, take turns: each puts its programs
// in the place of the other's, all of the cgroup's and the device's at every turn. What is sent
// without a socket passes the latter alone.
TEST_F(Mend, no_datagram_passes_while_programs_take_turns) {
  const char* asked = std::getenv("WEIR_REPLACEMENTS");  // `make soak` asks for more
  const int turns = asked != nullptr ? std::atoi(asked) : 50 / scale();
  load();
  EXPECT_LE(flood(), kLimit);
  k->events.reset();
  std::unique_ptr<KernelPart> others[] = {std::move(k->part), nullptr};
  load_again();
  others[1] = std::move(k->part);
  const std::vector<Device> devices{{if_nametoindex("desk0"), "desk0", true}};
  for (const auto& part : others)
    if (auto laid = part->set_floor(devices); !laid) GTEST_SKIP() << laid.error().sentence;
  for (int n = 0; n < 2; n++)
    k->desk.start({"--to", kPeer4, "--ms", "600000", "--shape", "way", "--", "frames"});
  const auto count = [&](weir_counter which) { return others[0]->counters()[which]; };
  ASSERT_TRUE(await([&] { return count(WEIR_COUNT_FLOOR_REFUSED) > 0; }, within(5000)));
  const std::uint64_t received = k->desk.settled(milliseconds(200), milliseconds(2000));
  const std::uint64_t refused = count(WEIR_COUNT_REFUSED_PACKETS);
  const std::uint64_t frames = count(WEIR_COUNT_FLOOR_REFUSED);
  std::size_t replaced = 0, at_device = 0;
  for (int turn = 0; turn < turns; turn++) {
    ASSERT_TRUE(others[turn % 2]->set_floor(devices));
    for (const Removed& one : others[turn % 2]->mend()) {
      if (one.what == Removed::What::program) ++replaced;
      if (one.name == "weir_floor at desk0") ++at_device;
      EXPECT_EQ(one.problem, "");
    }
  }
  EXPECT_GE(replaced, static_cast<std::size_t>(turns) * std::size(kOfTheCgroup));
  EXPECT_GE(at_device + 1, static_cast<std::size_t>(turns)) << "but for the first turn's";
  EXPECT_EQ(k->desk.received(), received);
  const std::uint64_t tried = count(WEIR_COUNT_REFUSED_PACKETS) - refused;
  EXPECT_GT(tried, 0u) << "it was tried all the time";
  EXPECT_GT(count(WEIR_COUNT_FLOOR_REFUSED), frames) << "also by frames";
  fmt::print(
      "{} turns, {} programs replaced, {} datagrams and {} frames refused meanwhile, {} "
      "passed\n",
      turns, replaced, tried, count(WEIR_COUNT_FLOOR_REFUSED) - frames,
      k->desk.received() - received);
}

TEST_F(Mend, the_program_at_a_device_is_back_after_one_look) {
  load(200'000);
  const std::vector<Device> devices{{if_nametoindex("desk0"), "desk0", true}};
  if (auto laid = k->part->set_floor(devices); !laid) GTEST_SKIP() << laid.error().sentence;
  const std::string name = "floor_" + std::to_string(devices[0].index);
  if (link(name))
    ASSERT_TRUE(detach(name));
  else  // before 6.6 it is a filter
    remove_classic_filter(devices[0].index);
  ASSERT_TRUE(k->part->set_floor(devices));
  const auto found = k->part->mend();
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].name, "weir_floor at desk0");
  EXPECT_EQ(found[0].problem, "");
  EXPECT_TRUE(k->part->mend().empty());
  k->desk.finish(k->desk.start(
      {"--to", kPeer4, "--ms", std::to_string(1500 * scale()), "--shape", "way", "--", "frames"}));
  const std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  EXPECT_GT(received, 0u);
  EXPECT_LE(received, 200'000u);
  EXPECT_GT(k->count(WEIR_COUNT_FLOOR_REFUSED), 0u);
}

TEST(DeviceBytes, are_the_sum_of_what_all_but_the_loopback_sent) {
  const char* text =
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n"
      "    lo: 1000 1 0 0 0 0 0 0 1000 1 0 0 0 0 0 0\n"
      "  eth0: 5 1 0 0 0 0 0 0 18446744073709551 9 0 0 0 0 0 0\n"
      "wlan0:7 1 0 0 0 0 0 0 30 9 0 0 0 0 0 0\n"
      "  odd: 7 1 0\n";
  EXPECT_EQ(bytes_sent_in(text), 18446744073709551u + 30);
  EXPECT_EQ(bytes_sent_in(""), 0u);
  EXPECT_EQ(bytes_sent_in("x:"), 0u);
}

}  // namespace
}  // namespace weir::test
