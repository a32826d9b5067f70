// What leaves is at most the limit, whatever shape the sending has: received ≤ charged ≤ limit.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/kernel/desk.h"

namespace weir::test {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kLimit = 1 << 20;
constexpr std::uint64_t kSlack = 64 << 10;  // one super-packet that no longer fits

struct Way {
  bool six;
  bool udp;
};

std::string name_of(const Way& w) {
  return std::string(w.udp ? "udp" : "tcp") + (w.six ? "_ipv6" : "_ipv4");
}

class Bound : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (auto why = missing_capability(); !why.empty()) GTEST_SKIP() << why;
    desk_.emplace();
  }

  KernelPart load(weir_per per, std::vector<std::string> launchers = {}) {
    KernelOptions options;
    options.cgroup = desk_->cgroup();
    options.launchers = std::move(launchers);
    auto part = KernelPart::load(options);
    EXPECT_TRUE(part) << part.error().sentence;
    std::vector<weir_limit> rows = {limit_row(kLimit, 0, per)};
    EXPECT_TRUE(part->set_limits(rows));
    weir_state state{};
    state.unclassified = 1;
    state.generation = 1;
    EXPECT_TRUE(part->set_state(state));
    return std::move(*part);
  }

  std::vector<std::string> sender(const std::string& shape, int count, int ms = 4000) {
    std::vector<std::string> a = {"--shape", shape,
                                  "--count", std::to_string(count),
                                  "--to",    GetParam().six ? kPeer6 : kPeer4,
                                  "--ms",    std::to_string(ms * scale())};
    if (GetParam().udp) a.insert(a.end(), {"--udp", "--size", "1400"});
    return a;
  }

  // The sum over all accounts of row 0, and how many there are.
  std::pair<std::uint64_t, std::size_t> charged(const KernelPart& part) {
    std::uint64_t sum = 0;
    std::size_t n = 0;
    auto all = part.accounts();
    for (const KernelAccount& a : *all)
      if (a.key.limit == 0) sum += a.value.charged, n++;
    return {sum, n};
  }

  // One account holds everything, and was nearly used up.
  void expect_bound(const KernelPart& part, const char* what) {
    desk_->settled(milliseconds(500), milliseconds(6000));
    desk_->end_all();
    std::uint64_t received = desk_->settled(milliseconds(100), milliseconds(500));
    auto [sum, n] = charged(part);
    fmt::print("{} {}: limit {} charged {} received {}\n", what, name_of(GetParam()), kLimit, sum,
               received);
    RecordProperty("charged", std::to_string(sum));
    RecordProperty("received", std::to_string(received));
    EXPECT_EQ(n, 1u);
    EXPECT_LE(received, sum);
    EXPECT_LE(sum, kLimit);
    EXPECT_GE(GetParam().udp ? sum : received, kLimit - kSlack);
  }

  std::optional<Desk> desk_;
};

INSTANTIATE_TEST_SUITE_P(kernel, Bound,
                         testing::Values(Way{false, false}, Way{true, false}, Way{false, true},
                                         Way{true, true}),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(Bound, one_flow) {
  KernelPart part = load(WEIR_PER_TREE);
  desk_->start(sender("flows", 1));
  expect_bound(part, "one_flow");
}

TEST_P(Bound, hundred_flows_share_one_account) {
  KernelPart part = load(WEIR_PER_TREE);
  desk_->start(sender("flows", 100));
  expect_bound(part, "hundred_flows");
}

TEST_P(Bound, sixty_forks_are_one_tree) {
  KernelPart part = load(WEIR_PER_TREE);
  desk_->start(sender("forks", 60));
  expect_bound(part, "sixty_forks");
}

}  // namespace
}  // namespace weir::test
