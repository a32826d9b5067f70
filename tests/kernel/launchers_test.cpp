// Who starts new trees: a launcher that was started by one, or was found. Neither a genuine one
// that a person's program starts, nor a person's copy of one.
#include <unistd.h>

#include <set>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kEach = 50'000;
constexpr std::size_t kPrograms = 5;

class Launchers : public KernelTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!k) return;
    launcher = copy_of_traffic("weir-launcher");
    KernelOptions options;
    options.launchers = {launcher};
    k->load({limit_row(kEach, 0, WEIR_PER_TREE)}, options);
  }
  void TearDown() override {
    if (!launcher.empty()) unlink(launcher.c_str());
    if (!copy.empty()) unlink(copy.c_str());
  }
  // What `program` does: starts `count` times `then`.
  static std::vector<std::string> starts(const std::string& program, std::size_t count,
                                         const std::vector<std::string>& then) {
    std::vector<std::string> a = {program, "--shape", "launch", "--count", std::to_string(count),
                                  "--"};
    a.insert(a.end(), then.begin(), then.end());
    return a;
  }
  std::vector<std::string> sender() {
    return {traffic_program(), "--to",   GetParam(), "--port", std::to_string(k->desk.port()),
            "--udp",           "--size", "1000",     "--ms",   "600000"};
  }
  // How many accounts of trees all of this has.
  std::size_t accounts_by(const std::vector<std::string>& program, std::size_t processes) {
    k->desk.start(program);
    EXPECT_TRUE(await([&] { return k->part->tasks()->size() == processes; }, within(5000)))
        << k->part->tasks()->size();
    EXPECT_TRUE(await([&] { return k->charged(0) > kEach - 1048; }, within(5000)));
    k->desk.settled(milliseconds(400), milliseconds(4000));
    const std::size_t accounts = k->accounts_of(0).size();
    EXPECT_LE(k->desk.received(), accounts * kEach);
    EXPECT_LE(k->desk.received(), k->charged(0));
    fmt::print("{} programs: {} accounts, {} received\n", kPrograms, accounts, k->desk.received());
    return accounts;
  }

  std::string launcher, copy;
};

INSTANTIATE_TEST_SUITE_P(families, Launchers, testing::Values(kPeer4, kPeer6),
                         [](const auto& info) { return info.index == 0 ? "ipv4" : "ipv6"; });

TEST_P(Launchers, that_nobody_started_give_each_program_a_tree) {
  EXPECT_EQ(accounts_by(starts(launcher, kPrograms, sender()), 1 + kPrograms), kPrograms);
}

TEST_P(Launchers, that_a_launcher_started_do_so_too) {
  EXPECT_EQ(accounts_by(starts(launcher, 1, starts(launcher, kPrograms, sender())), 2 + kPrograms),
            kPrograms);
}

TEST_P(Launchers, that_a_persons_program_started_give_no_new_trees) {
  EXPECT_EQ(accounts_by(starts(traffic_program(), 1, starts(launcher, kPrograms, sender())),
                        2 + kPrograms),
            1u);
}

TEST_P(Launchers, below_a_program_that_a_launcher_started_give_none_either) {
  const auto inner = starts(launcher, kPrograms, sender());
  EXPECT_EQ(accounts_by(starts(launcher, 1, starts(traffic_program(), 1, inner)), 3 + kPrograms),
            1u);
}

TEST_P(Launchers, that_are_a_persons_copy_give_none_whoever_starts_them) {
  copy = copy_of_traffic("weir-copy-of-launcher");
  EXPECT_EQ(accounts_by(starts(launcher, 1, starts(copy, kPrograms, sender())), 2 + kPrograms), 1u);
  k->desk.end_all();
  ASSERT_TRUE(await([&] { return k->part->tasks()->empty(); }, within(5000)));
  k->desk.start(starts(copy, kPrograms, sender()));
  EXPECT_TRUE(await([&] { return k->accounts_of(0).size() == 2; }, within(5000)));
  k->desk.settled(milliseconds(400), milliseconds(4000));
  EXPECT_EQ(k->accounts_of(0).size(), 2u) << "one more: of the copy and all that it started";
}

}  // namespace
}  // namespace weir::test
