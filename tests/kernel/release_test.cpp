// A host that was released: accounts go on counting and refuse nothing until that time, which the
// kernel keeps by itself; then they refuse what they refused before, and no more for longer.
#include <fmt/format.h>
#include <unistd.h>

#include <ostream>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kBytes = 65'536;

struct Case {
  const char* name;
  const char* peer;
};
std::ostream& operator<<(std::ostream& out, const Case& one) {
  return out << one.name;
}

class Released : public KernelTest, public testing::WithParamInterface<Case> {
 protected:
  void load(std::vector<weir_limit> rows) {
    KernelOptions options;
    pins_ = options.pin_dir = k->desk.pin_dir();
    k->load(std::move(rows), options);
  }
  void TearDown() override {
    if (!k) return;
    k->events.reset();
    k->part.reset();
    if (!pins_.empty()) EXPECT_TRUE(KernelPart::release(pins_));
  }
  std::vector<std::string> to_peer(std::vector<std::string> more = {}) {
    std::vector<std::string> a = {"--to", GetParam().peer, "--ms", "60000"};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  bool goes_on() {
    usleep(200'000);
    const std::uint64_t before = k->desk.received();
    return await([&] { return k->desk.received() > before; }, within(1500));
  }
  std::string pins_;
};

INSTANTIATE_TEST_SUITE_P(kernel, Released, testing::Values(Case{"v4", kPeer4}, Case{"v6", kPeer6}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(Released, lets_pass_what_is_spent_and_counts_it_and_then_refuses_again) {
  load({limit_row(kBytes, 0, WEIR_PER_HOST)});
  k->desk.start(to_peer());
  k->desk.start(to_peer({"--udp", "--size", "1000", "--pace", "20000"}));
  EXPECT_LE(k->desk.settled(milliseconds(500), within(4000)), kBytes);
  EXPECT_FALSE(goes_on());
  const std::uint64_t lasts = 3ull * kSecond * static_cast<std::uint64_t>(scale());
  const std::uint64_t until = boot_now() + lasts;
  ASSERT_TRUE(k->part->observe(until));
  EXPECT_TRUE(goes_on()) << "it is charged, and passes";
  k->desk.finish(k->desk.start(to_peer({"--bytes", "1000000"})));
  EXPECT_GT(k->desk.received(), 1'000'000U);
  const std::uint64_t counted = k->charged(0);
  k->events.reset();
  k->part.reset();  // as if the guard were killed: the kernel's own time ends it
  while (boot_now() < until) usleep(50'000);
  const std::uint64_t after = k->desk.settled(milliseconds(200), milliseconds(3000));
  usleep(1'000'000);
  EXPECT_EQ(k->desk.received(), after) << "nothing more, whoever lives";
  fmt::print("limit {}, counted {}, received {}\n", kBytes, counted, after);
  EXPECT_GE(counted, 1'000'000U);
}

// Hours of full speed would else be years of a window.
TEST_P(Released, leaves_a_window_spent_and_not_ahead_of_itself) {
  constexpr std::int64_t kHour = 3'600 * kSecond;
  load({limit_row(kBytes, kHour, WEIR_PER_HOST)});
  ASSERT_TRUE(k->part->observe(boot_now() + 600ull * kSecond));
  k->desk.finish(k->desk.start(to_peer({"--bytes", "3000000"})));
  EXPECT_GE(k->desk.settled(milliseconds(300), within(4000)), 3'000'000U);
  ASSERT_TRUE(k->part->observe(0));
  const auto accounts = k->accounts_of(0);
  ASSERT_EQ(accounts.size(), 1U);
  const weir_limit row = limit_row(kBytes, kHour, WEIR_PER_HOST);
  const std::uint64_t spent = (accounts[0].value.word - boot_now() * 16) / row.ns_per_byte_q4;
  EXPECT_LE(spent, row.bytes);
  EXPECT_GE(spent, row.bytes - row.bytes / 8);
  EXPECT_GE(accounts[0].value.charged, 3'000'000U) << "all of it is counted";
  const std::uint64_t before = k->desk.received();
  k->desk.start(to_peer());
  usleep(500'000);
  EXPECT_LE(k->desk.received() - before, kBytes / 4) << "what a window gives back in seconds";
}

TEST_P(Released, sets_orders_of_the_engine_aside_as_well) {
  load({limit_row(std::uint64_t{1} << 40, 0, WEIR_PER_HOST)});
  const std::uint64_t place = default_destination(Prefix::parse(GetParam().peer)->address);
  const pid_t pid = k->desk.start(to_peer({"--udp", "--size", "1000", "--pace", "20000"}));
  std::optional<weir_task> task;
  ASSERT_TRUE(await(
      [&] {
        return (task = k->part->task(static_cast<std::uint32_t>(pid))) && k->desk.received() > 0;
      },
      within(4000)));
  ASSERT_TRUE(k->part->put_block(task->tree, place, boot_now() + 600ull * kSecond));
  EXPECT_FALSE(goes_on());
  ASSERT_TRUE(k->part->observe(boot_now() + 600ull * kSecond));
  EXPECT_TRUE(goes_on());
  ASSERT_TRUE(k->part->observe(0));
  EXPECT_FALSE(goes_on());
}

TEST_P(Released, is_no_word_against_isolation) {
  load({limit_row(kBytes, 0, WEIR_PER_HOST)});
  ASSERT_TRUE(k->part->observe(boot_now() + 600ull * kSecond));
  ASSERT_TRUE(k->part->isolate(boot_now() + 600ull * kSecond));
  k->desk.start(to_peer());
  usleep(500'000);
  EXPECT_EQ(k->desk.received(), 0U) << "an order of later counts";
}

}  // namespace
}  // namespace weir::test
