// Sockets that were there before the programs: connected and full, left over by a program that has
// ended, and sending while the programs come.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "platform/files/fd.h"
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kLimit = 300'007;
constexpr std::uint64_t kSlack = 64 << 10;  // one super-packet that no longer fits
constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;
constexpr std::uint32_t kUser = 20077;  // whose sockets they are: before.cpp

// Listens where the peer is, takes one connection and reads nothing of it until it is told to.
class LatePeer {
 public:
  explicit LatePeer(const Desk& desk) {
    void* room =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared_ = new (room) Shared;
    const std::string enter = desk.at_peer();  // nsenter --net=PATH
    const std::size_t path = enter.find('=') + 1;
    const std::string space = enter.substr(path, enter.find(' ', path) - path);
    pid_ = fork();
    if (pid_ == 0) serve(space);
    await([&] { return shared_->port != 0; }, milliseconds(20'000));
  }
  LatePeer(const LatePeer&) = delete;
  LatePeer& operator=(const LatePeer&) = delete;
  // With bytes unread: what still sends to it is told so, and ends.
  ~LatePeer() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    munmap(shared_, sizeof(Shared));
  }
  int port() const { return shared_->port; }
  std::uint64_t received() const { return shared_->received; }
  void read_on() { shared_->reads = true; }
  // Once nothing more comes for a while; TCP tries again after 0.2 s, 0.6 s and 1.4 s.
  std::uint64_t settled() const {
    std::uint64_t last = received();
    for (int same = 0, looks = 0; same < 80 && looks < 500; ++same, ++looks) {
      usleep(static_cast<useconds_t>(20'000 * scale()));
      if (received() != last) same = 0;
      last = received();
    }
    return last;
  }

 private:
  struct Shared {
    std::atomic<int> port = 0;
    std::atomic<bool> reads = false;
    std::atomic<std::uint64_t> received = 0;
  };
  [[noreturn]] void serve(const std::string& space) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const Fd net(open(space.c_str(), O_RDONLY | O_CLOEXEC));
    if (!net || setns(net.get(), CLONE_NEWNET) != 0) _exit(1);
    const int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int off = 0, room = 64 << 10;
    setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    socklen_t size = sizeof any;
    if (bind(listener, reinterpret_cast<sockaddr*>(&any), size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&any), &size) != 0)
      _exit(2);
    shared_->port = ntohs(any.sin6_port);
    const int flow = accept(listener, nullptr, nullptr);
    while (!shared_->reads) usleep(1'000);
    static char buffer[65536];
    for (ssize_t n; (n = recv(flow, buffer, sizeof buffer, 0)) > 0;)
      shared_->received += static_cast<std::uint64_t>(n);
    for (;;) pause();
  }
  Shared* shared_ = nullptr;
  pid_t pid_ = -1;
};

class Before : public KernelTest, public testing::WithParamInterface<const char*> {
 protected:
  std::vector<std::string> way(const std::string& name, const LatePeer& peer) const {
    return {"--to",    GetParam(),
            "--port",  std::to_string(peer.port()),
            "--ms",    std::to_string(120'000 * scale()),
            "--shape", "way",
            "--",      name};
  }
  void load() {
    k->load({limit_row(kLimit, 0, WEIR_PER_PERSON), limit_row(kRoomy, 0, WEIR_PER_TREE)});
  }
  // What had arrived before the programs came, and that enough waits behind it.
  std::uint64_t arrived(const std::string& output) {
    long before = 0;
    int queued = 0;
    EXPECT_EQ(std::sscanf(output.c_str(), "arrived %ld queued %d", &before, &queued), 2) << output;
    EXPECT_GT(queued, static_cast<int>(2 * kLimit)) << output;
    return static_cast<std::uint64_t>(before);
  }
  std::uint64_t charged(std::uint32_t row, std::uint64_t tree) {
    for (const KernelAccount& a : k->accounts_of(row))
      if (a.key.who == tree) return a.value.charged;
    return 0;
  }
  bool is_attached(const char* name) const {
    for (const KernelProgram& program : k->part->programs())
      if (program.name == name) return program.attached;
    return false;
  }
  // The peer reads on, and gets what the account of `person` holds and no more.
  std::uint64_t take_on(LatePeer& peer) {
    peer.read_on();
    EXPECT_TRUE(await([&] { return k->charged(0) >= kLimit - kSlack; }, within(20'000)));
    return peer.settled();
  }
  void expect_bound(std::uint64_t received, std::uint64_t before, std::uint32_t person) {
    fmt::print("limit {} charged {} received {} and {} before\n", kLimit, k->charged(0),
               received - before, before);
    EXPECT_LE(received - before, k->charged(0));
    EXPECT_LE(k->charged(0), kLimit);
    EXPECT_GE(k->charged(0), kLimit - kSlack) << "it did send";
    ASSERT_EQ(k->accounts_of(0).size(), 1U);
    EXPECT_EQ(k->accounts_of(0)[0].key.who, person);
  }
};
INSTANTIATE_TEST_SUITE_P(kernel, Before, testing::Values(kPeer4, kPeer6), [](const auto& info) {
  return std::string(info.param == kPeer4 ? "ipv4" : "ipv6");
});

TEST_P(Before, a_full_stream_is_charged_to_its_person_and_tree) {
  LatePeer peer(k->desk);
  const pid_t pid = k->desk.start(way("stream_of_before", peer));
  k->desk.await_line(pid, "ready");
  load();
  const auto task = k->part->task(static_cast<std::uint32_t>(pid));
  ASSERT_TRUE(task) << "found in /proc";
  k->desk.write_line(pid);
  const std::uint64_t received = take_on(peer);
  kill(pid, SIGTERM);
  const Outcome o = k->desk.finish(pid);
  EXPECT_EQ(o.status, 0) << o.output;
  expect_bound(received, arrived(o.output), task->person);
  ASSERT_EQ(k->accounts_of(1).size(), 1U);
  EXPECT_EQ(k->accounts_of(1)[0].key.who, task->tree);
}

// No process has it open, so no scan finds it, and its cgroup may be gone as well. It is not
// destroyed: what a program has handed over before its end is to arrive, within the account of the
// user whose socket it was.
TEST_P(Before, what_an_ended_program_has_left_queued_is_charged_to_its_user) {
  LatePeer peer(k->desk);
  const Outcome o = k->desk.finish(k->desk.start(way("orphan_of_before", peer), "b"));
  EXPECT_EQ(o.status, 0) << o.output;
  ASSERT_TRUE(await([&] { return rmdir(k->desk.place("b").c_str()) == 0; }, within(5'000)));
  load();
  const std::uint64_t received = take_on(peer);
  expect_bound(received, arrived(o.output), kUser);
  ASSERT_EQ(k->accounts_of(1).size(), 1U);
  EXPECT_EQ(k->accounts_of(1)[0].key.who, 0U) << "no tree";
  EXPECT_GT(k->count(WEIR_COUNT_UNATTRIBUTED), 0U);
}

// Packets of theirs are seen before the scan has found them: as nobody's, until it does. To be sure
// of that, the first agent does not look, and the next one has a reason to.
TEST_P(Before, flows_that_send_while_the_programs_come_belong_to_their_tree) {
  constexpr int kFlows = 50;
  const pid_t pid = k->desk.start({"--udp", "--to", GetParam(), "--count", std::to_string(kFlows),
                                   "--size", "100", "--ms", std::to_string(120'000 * scale())});
  KernelOptions options;
  options.pin_dir = k->desk.pin_dir();
  ASSERT_TRUE(await([&] { return k->desk.received() > 0; }, within(20'000)));
  options.bind_sockets = false;
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE)}, options);
  ASSERT_TRUE(await([&] { return k->count(WEIR_COUNT_UNATTRIBUTED) >= kFlows; }, within(20'000)));
  k->part.reset();
  ASSERT_EQ(
      unlink(
          fmt::format("{}/weir/{}/links/weir_sock_create", options.pin_dir, WEIR_LAYOUT).c_str()),
      0);
  options.bind_sockets = true;
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE)}, options);
  ASSERT_TRUE(k->part->adopted());
  const auto task = k->part->task(static_cast<std::uint32_t>(pid));
  ASSERT_TRUE(task) << "found in /proc";
  const std::uint64_t of_nobody = charged(0, 0), of_tree = charged(0, task->tree);
  EXPECT_TRUE(await([&] { return charged(0, task->tree) > of_tree + 500'000; }, within(20'000)));
  fmt::print("of nobody {}, then {}; of the tree {}, then {}\n", of_nobody, charged(0, 0), of_tree,
             charged(0, task->tree));
  EXPECT_GT(of_nobody, 0U);
  EXPECT_EQ(charged(0, 0), of_nobody);
  k->desk.end(pid);
  k->part.reset();
  EXPECT_TRUE(KernelPart::release(options.pin_dir));
}

// The verdict moves its first flight to other rows: what nobody's account was charged for stays
// there, else it would be room on an account of the tree.
TEST_P(Before, what_was_sent_as_nobodys_is_not_taken_off_its_trees_account) {
  LatePeer peer(k->desk);
  const pid_t pid = k->desk.start(way("stream_of_before", peer));
  k->desk.await_line(pid, "ready");
  KernelOptions options;
  options.bind_sockets = false;
  weir_state state{};
  state.unclassified = 1;
  k->load({limit_row(kRoomy, 0, WEIR_PER_TREE), limit_row(kRoomy, 0, WEIR_PER_TREE)}, options,
          state);
  if (!is_attached("weir_tcp_sendmsg"))
    GTEST_SKIP() << "this kernel does not tell who sends on a stream (before 6.16)";
  const auto task = k->part->task(static_cast<std::uint32_t>(pid));
  ASSERT_TRUE(task) << "found in /proc";
  peer.read_on();
  ASSERT_TRUE(await([&] { return charged(0, 0) > 100'000; }, within(20'000)));
  peer.settled();
  const std::uint64_t of_nobody = charged(0, 0);
  k->desk.write_line(pid);
  ASSERT_TRUE(await([&] { return charged(0, task->tree) > 0; }, within(20'000)));
  const auto heads = k->records<weir_head>(WEIR_REC_HEAD);
  ASSERT_FALSE(heads.empty());
  ASSERT_TRUE(k->part->put_verdict(heads[0].record.cookie, 2, 0));
  EXPECT_TRUE(await([&] { return charged(1, task->tree) > 0; }, within(20'000)));
  kill(pid, SIGTERM);
  EXPECT_EQ(k->desk.finish(pid).status, 0);
  fmt::print("of nobody {}, then {}; of the tree {} and {}\n", of_nobody, charged(0, 0),
             charged(0, task->tree), charged(1, task->tree));
  EXPECT_EQ(charged(0, 0), of_nobody);
  EXPECT_LE(charged(0, task->tree), kRoomy) << "below nothing";
}

}  // namespace
}  // namespace weir::test
