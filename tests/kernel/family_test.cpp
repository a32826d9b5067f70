// Sockets of families that no limit counts: refused in the cgroup where the kernel calls BPF LSM
// (tier 2) and the policy says so, told wherever one sends; and on tier 1 it is said that nothing
// refuses them.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <set>

#include "platform/files/fd.h"
#include "platform/linux/lsm.h"
#include "platform/linux/pinned_tables.h"
#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kRoomy = std::uint64_t{1} << 40;
constexpr int kOther = 45;         // AF_MCTP: for what an answer is, no module is needed
constexpr int kIsRefused = EPERM;  // a family without a module: EAFNOSUPPORT
constexpr int kIpSmc = 256;        // IPPROTO_SMC
constexpr std::size_t kSent = 1000;

int errno_of(int family, int type = SOCK_DGRAM, int protocol = 0) {
  const Fd made(::socket(family, type | SOCK_CLOEXEC, protocol));
  return made ? 0 : errno;
}

class Families : public KernelTest {
 protected:
  void TearDown() override {
    if (!k) return;
    k->events.reset();
    k->part.reset();
    EXPECT_TRUE(KernelPart::release(k->desk.pin_dir()));
  }
  void load(bool prevents, KernelOptions options = {}) {
    weir_state state{};
    state.charged_only = prevents ? 1 : 0;
    k->load({limit_row(kRoomy, 0, WEIR_PER_PERSON)}, options, state);
  }
  KernelOptions pinned() const {
    KernelOptions options;
    options.pin_dir = k->desk.pin_dir();
    return options;
  }
  void load_again() {
    KernelOptions options = pinned();
    options.cgroup = k->desk.cgroup();
    options.max_accounts = options.max_tasks = 4096;
    auto part = KernelPart::load(options);
    ASSERT_TRUE(part) << part.error().sentence;
    k->part = std::make_unique<KernelPart>(std::move(*part));
  }
  bool has_tier_2() const { return k->part->has_lsm().has_value(); }
  bool loaded(const char* name) const {
    for (const KernelProgram& program : k->part->programs())
      if (program.name == name) return program.attached;
    return false;
  }
  // In a process of its own in the cgroup; what it returns, which is at most 255.
  int inside(const std::function<int()>& what) const {
    const std::string procs = k->desk.place("a") + "/cgroup.procs";
    const pid_t pid = fork();
    if (pid == 0) {
      const int fd = open(procs.c_str(), O_WRONLY | O_CLOEXEC);
      _exit(fd >= 0 && write(fd, "0", 1) == 1 ? what() : 255);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
  }
  int inside(int family, int type = SOCK_DGRAM, int protocol = 0) const {
    return inside([=] { return errno_of(family, type, protocol); });
  }
  std::vector<weir_refused> told(std::uint32_t kind) {
    auto all = k->records<weir_refused>(WEIR_REC_REFUSED);
    std::erase_if(all, [kind](const weir_refused& r) { return r.account.limit != kind; });
    return all;
  }
};

TEST_F(Families, of_tier_1_are_not_refused_and_it_says_so) {
  load(true);
  if (has_tier_2()) GTEST_SKIP() << "this kernel calls BPF LSM";
  const auto tier = KernelPart::try_lsm();
  ASSERT_FALSE(tier);
  EXPECT_TRUE(tier.error().sentence.starts_with("BPF LSM: ")) << tier.error().sentence;
  EXPECT_EQ(k->part->has_lsm().error().sentence, tier.error().sentence);
  EXPECT_FALSE(loaded(kLsmProgram));
  EXPECT_FALSE(lsm_answers());
  EXPECT_NE(inside(kOther), kIsRefused);
  EXPECT_TRUE(told(WEIR_FAMILY_REFUSED).empty());
}

TEST_F(Families, that_nobody_charges_are_refused_in_the_cgroup_and_nowhere_else) {
  load(true);
  if (!has_tier_2()) GTEST_SKIP() << k->part->has_lsm().error().sentence;
  EXPECT_TRUE(KernelPart::try_lsm());
  EXPECT_TRUE(lsm_answers());
  for (int family = 1; family < AF_MAX; ++family) {
    SCOPED_TRACE(family);
    const bool counted = (WEIR_COUNTED_FAMILIES >> family & 1) != 0;
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET}) {
      if (counted)
        EXPECT_EQ(inside(family, type), errno_of(family, type)) << "as elsewhere";
      else
        EXPECT_EQ(inside(family, type), kIsRefused);
    }
    EXPECT_NE(errno_of(family), kIsRefused) << "outside";
  }
  EXPECT_EQ(inside(AF_INET, SOCK_STREAM, kIpSmc), kIsRefused) << "AF_SMC by another name";
  EXPECT_EQ(inside([] {
              int pair[2];
              return ::socketpair(kOther, SOCK_STREAM, 0, pair) == 0 ? 0 : errno;
            }),
            kIsRefused);
  const auto refused = told(WEIR_FAMILY_REFUSED);
  ASSERT_FALSE(refused.empty());
  std::set<std::uint64_t> families;
  for (const weir_refused& one : refused) {
    families.insert(one.account.dest);
    EXPECT_NE(one.record.tree, 0u);
    EXPECT_NE(one.record.pid, 0u);
  }
  EXPECT_EQ(families.size(), 37u) << "each of 45 but the eight that are counted";
  EXPECT_TRUE(families.contains(AF_VSOCK));
  constexpr int kMany = 10'000;
  EXPECT_EQ(inside([] {
              for (int n = 0; n < kMany; ++n)
                if (errno_of(kOther) != kIsRefused) return 1;
              return 0;
            }),
            0);
  EXPECT_LT(told(WEIR_FAMILY_REFUSED).size() - refused.size(), kMany / 10u) << "once a second";
}

TEST_F(Families, are_let_through_by_a_policy_that_observes_and_by_a_release) {
  load(false);
  if (!has_tier_2()) GTEST_SKIP() << k->part->has_lsm().error().sentence;
  EXPECT_NE(inside(kOther), kIsRefused);
  EXPECT_EQ(told(WEIR_FAMILY_MADE).size(), 1u);
  ASSERT_TRUE(k->part->isolate(boot_now() + 3600 * kSecond));
  EXPECT_EQ(inside(kOther), kIsRefused) << "nothing leaves an isolated host";
  ASSERT_TRUE(k->part->isolate(0));
  EXPECT_NE(inside(kOther), kIsRefused);
  weir_state state = k->part->state();
  state.charged_only = 1;
  const std::vector<weir_limit> rows{limit_row(kRoomy, 0, WEIR_PER_PERSON)};
  ASSERT_TRUE(k->part->replace({rows, {}, state}));
  EXPECT_EQ(inside(kOther), kIsRefused) << "another policy";
  ASSERT_TRUE(k->part->observe(boot_now() + 3600 * kSecond));
  EXPECT_NE(inside(kOther), kIsRefused) << "released";
  ASSERT_TRUE(k->part->observe(0));
  EXPECT_EQ(inside(kOther), kIsRefused);
  state.charged_only = 0;
  ASSERT_TRUE(k->part->replace({rows, {}, state}));
  EXPECT_NE(inside(kOther), kIsRefused);
}

TEST_F(Families, stay_refused_when_the_loader_is_dead_and_until_the_release) {
  load(true, pinned());
  if (!has_tier_2()) GTEST_SKIP() << k->part->has_lsm().error().sentence;
  EXPECT_TRUE(k->part->mend().empty());
  k->events.reset();
  k->part.reset();
  EXPECT_EQ(inside(kOther), kIsRefused) << "pinned";
  const auto tables = read_pinned(k->desk.pin_dir());
  EXPECT_TRUE(tables && tables->lsm);
  load_again();
  EXPECT_TRUE(k->part->adopted());
  EXPECT_TRUE(has_tier_2());
  EXPECT_EQ(inside(kOther), kIsRefused);
  EXPECT_TRUE(k->part->mend().empty());
  ASSERT_EQ(
      unlink((k->desk.pin_dir() + "/weir/" + std::to_string(WEIR_LAYOUT) + "/links/" + kLsmProgram)
                 .c_str()),
      0);
  const auto found = k->part->mend();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, kLsmProgram);
  EXPECT_EQ(found[0].problem, "");
  k->part.reset();
  EXPECT_EQ(inside(kOther), kIsRefused) << "its pin is back";
  ASSERT_TRUE(KernelPart::release(k->desk.pin_dir()));
  EXPECT_TRUE(await([&] { return inside(kOther) != kIsRefused; }, within(5000)));
}

// Any family but those that a test may not do without stands for one that nobody charges.
TEST_F(Families, are_told_where_one_sends) {
  KernelOptions options;
  options.counted_families = WEIR_COUNTED_FAMILIES & ~(std::uint64_t{1} << AF_UNIX);
  load(false, options);
  if (!loaded("weir_family_sent")) GTEST_SKIP() << "this kernel is older than 6.3";
  const auto send = [] {
    int pair[2];
    const char bytes[kSent] = {};
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
    return ::send(pair[0], bytes, sizeof bytes, 0) == kSent ? 0 : 1;
  };
  EXPECT_EQ(send(), 0) << "outside";
  EXPECT_TRUE(told(WEIR_FAMILY_SENT).empty());
  EXPECT_EQ(inside(send), 0);
  ASSERT_TRUE(await([&] { return !told(WEIR_FAMILY_SENT).empty(); }, within(5000)));
  const auto sent = told(WEIR_FAMILY_SENT);
  EXPECT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].account.dest, static_cast<std::uint64_t>(AF_UNIX));
  EXPECT_EQ(sent[0].charged, kSent);
  EXPECT_EQ(sent[0].record.person, 0u);
  EXPECT_NE(sent[0].record.tree, 0u);
}

TEST_F(Families, are_told_where_one_sends_that_was_made_outside_or_before) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  KernelOptions options;
  options.counted_families = WEIR_COUNTED_FAMILIES & ~(std::uint64_t{1} << AF_UNIX);
  load(true, options);
  if (loaded("weir_family_sent")) {
    EXPECT_EQ(inside([&] { return ::send(pair[0], "x", 1, 0) == 1 ? 0 : 1; }), 0);
    EXPECT_TRUE(await([&] { return !told(WEIR_FAMILY_SENT).empty(); }, within(5000)));
  }
  ::close(pair[0]);
  ::close(pair[1]);
}

}  // namespace
}  // namespace weir::test
