// An upgrade of the agent: its programs are replaced while everything is sent, as the package's
// scripts do it (docs/decisions/0023), and no byte passes that the account has no room for. Once
// with a loader that does what the guard does, on every kernel; once with the whole agent, which an
// emulator is too slow for: `weir run` with guard and engine.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string_view>

#include "platform/linux/pinned_tables.h"
#include "tests/kernel/installed.h"
#include "tests/kernel/kept.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kAccount = 300'000, kFirst = 100'000;
constexpr std::int64_t kDayNs = 86'400 * kSecond;

class Flooded : public KernelTest {
 protected:
  // Everything that goes, over TCP and UDP, IPv4 and IPv6. A guard ends flows that were refused:
  // new ones all the time then, which an emulator is too slow for.
  void flood(bool new_flows) {
    for (const char* to : {kPeer4, kPeer6}) {
      const std::string ms = std::to_string(600'000);
      // Two hundred a second still try in an emulator while loaders start there.
      k->desk.start({"--to", to, "--udp", "--size", "1000", "--ms", ms, "--pace",
                     scale() > 1 ? "5000" : "200"});
      k->desk.start({"--shape", new_flows ? "storm" : "flows", "--count", "2", "--to", to, "--size",
                     "4000", "--ms", ms});
    }
  }
  void send_first() {
    k->desk.finish(k->desk.start(tcp({"--bytes", std::to_string(kFirst)})));
    ASSERT_TRUE(await([&] { return k->desk.received() == kFirst; }, within(3000)))
        << k->desk.received();
  }
};

// A loader in a process of its own.
class UpgradeOfPins : public Flooded {
 protected:
  void TearDown() override {
    if (!k) return;
    kill_loader();
    EXPECT_TRUE(KernelPart::release(k->desk.pin_dir()));
  }

  void start_loader(const weir_limit& row) {
    int ready[2];
    ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
    loader_ = fork();
    if (loader_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::optional<KeepingLoop> disk;
      if (!accounts_.empty()) disk.emplace(accounts_);
      auto part = put_in_force(row, disk);
      (void)!write(ready[1], part ? "y" : "n", 1);
      for (;;)
        if (part && disk)
          disk->tend(*part, milliseconds(600'000), [] { return false; });
        else
          pause();
    }
    char answer = 0;
    ASSERT_EQ(read(ready[0], &answer, 1), 1);
    close(ready[0]);
    close(ready[1]);
    ASSERT_EQ(answer, 'y');
  }
  void kill_loader() {
    if (loader_ <= 0) return;
    kill(loader_, SIGKILL);
    waitpid(loader_, nullptr, 0);
    loader_ = -1;
  }
  // What this kernel refuses is found out here once, and not by each loader.
  void look_around() {
    k->load({});
    k->events.reset();
    k->part.reset();
  }
  PinnedTables tables() const {
    auto read = read_pinned(k->desk.pin_dir());
    EXPECT_TRUE(read) << read.error().sentence;
    return read ? *read : PinnedTables{};
  }

  fs::path accounts_;  // where loaders write what is spent; "": nowhere

 private:
  std::optional<KernelPart> put_in_force(const weir_limit& row,
                                         std::optional<KeepingLoop>& disk) const {
    KernelOptions options;
    options.cgroup = k->desk.cgroup();
    options.pin_dir = k->desk.pin_dir();
    options.max_accounts = options.max_tasks = 4096;
    auto part = KernelPart::load(options);
    if (!part) {
      fmt::print(stderr, "{}\n", part.error().sentence);
      return std::nullopt;
    }
    const weir_limit rows[] = {row};
    weir_state state{};
    state.unclassified = 1;
    state.generation = 1;
    const bool replaces = part->adopted() || part->state().swapping != 0;
    Result<void> set = disk       ? disk->put_in_force(*part, {row})
                       : replaces ? part->replace({rows, {}, state})
                                  : part->set_limits(rows);
    if (set && !disk && !replaces) set = part->set_state(state);
    if (set) set = KernelPart::forget_other_layouts(options.pin_dir);
    if (!set) return std::nullopt;
    return std::move(*part);
  }

  pid_t loader_ = -1;
};

class UpgradeOfPinsWith : public UpgradeOfPins, public testing::WithParamInterface<std::int64_t> {};

// Killed with a third of the account spent, nobody there when the flood comes; then once more under
// it.
TEST_P(UpgradeOfPinsWith, passes_no_byte_beyond_the_account) {
  weir_limit row = limit_row(kAccount, GetParam(), WEIR_PER_HOST);
  row.name = 1;
  look_around();
  ASSERT_NO_FATAL_FAILURE(start_loader(row));
  send_first();
  kill_loader();
  flood(false);
  EXPECT_TRUE(await([&] { return k->desk.received() > kFirst; }, within(10'000)))
      << "the rest of the account is there for it";
  k->desk.settled(milliseconds(300), milliseconds(3000));
  const std::uint64_t refused = tables().counters[WEIR_COUNT_REFUSED_PACKETS];
  ASSERT_NO_FATAL_FAILURE(start_loader(row));
  kill_loader();
  ASSERT_NO_FATAL_FAILURE(start_loader(row));
  usleep(300'000);
  EXPECT_LE(k->desk.received(), kAccount);
  const PinnedTables found = tables();
  std::uint64_t charged = 0;
  for (const KernelAccount& account : found.accounts)
    if (account.key.limit == 0) charged += account.value.charged;
  EXPECT_GE(charged, k->desk.received()) << "what was spent goes with it";
  EXPECT_LE(charged, kAccount);
  EXPECT_GT(found.counters[WEIR_COUNT_REFUSED_PACKETS], refused) << "it was tried all the time";
  fmt::print("2 loaders killed: {} of {} received, {} charged, {} packets refused\n",
             k->desk.received(), kAccount, charged, found.counters[WEIR_COUNT_REFUSED_PACKETS]);
}

INSTANTIATE_TEST_SUITE_P(windows, UpgradeOfPinsWith, testing::Values(std::int64_t{0}, kDayNs));

class UpgradeOfLayoutWith : public UpgradeOfPinsWith {
 protected:
  void SetUp() override {
    UpgradeOfPinsWith::SetUp();
    if (!k) return;
    std::string name = (fs::temp_directory_path() / "weir-layout-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    accounts_ = folder_ / "accounts";
  }
  void TearDown() override {
    UpgradeOfPinsWith::TearDown();
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  fs::path folder_;
};

// A version with other tables can't take over the accounts: it goes on with what the disk says was
// spent. Its own are in force before those of the last version go, and nothing of that one is left
// to refuse what a later policy allows.
TEST_P(UpgradeOfLayoutWith, passes_no_byte_beyond_the_account) {
  // Of a window half is there at once.
  weir_limit row = limit_row(GetParam() == 0 ? kAccount : 2 * kAccount, GetParam(), WEIR_PER_HOST);
  row.name = 1;
  look_around();
  ASSERT_NO_FATAL_FAILURE(start_loader(row));
  send_first();
  flood(false);
  kill_loader();
  const fs::path pins = fs::path(k->desk.pin_dir()) / "weir";
  fs::rename(pins / std::to_string(WEIR_LAYOUT), pins / "1");
  const std::uint64_t before = k->desk.settled(milliseconds(300), milliseconds(3000));
  EXPECT_LE(before, kAccount);
  ASSERT_NO_FATAL_FAILURE(start_loader(row));
  EXPECT_FALSE(fs::exists(pins / "1"));
  EXPECT_TRUE(
      await([&] { return tables().counters[WEIR_COUNT_REFUSED_PACKETS] > 0; }, within(15'000)))
      << "it is tried until nothing is left";
  k->desk.settled(milliseconds(300), milliseconds(3000));
  fmt::print("another layout: {} received before it, {} of {} after it\n", before,
             k->desk.received(), kAccount);
  EXPECT_LE(k->desk.received(), kAccount);
  EXPECT_GT(k->desk.received(), kFirst) << "the rest of the account is there, as far as reserved";
}

INSTANTIATE_TEST_SUITE_P(windows, UpgradeOfLayoutWith, testing::Values(std::int64_t{0}, kDayNs));

class Upgrade : public Flooded {
 protected:
  void SetUp() override {
    Flooded::SetUp();
    if (!k) return;
    if (!fs::exists(fs::path(traffic_program()).parent_path() / "weir"))
      GTEST_SKIP() << "the whole agent is not here";
    installed.emplace(k->desk);
    installed->put_programs();
  }
  void TearDown() override { installed.reset(); }

  std::optional<Installed> installed;
};

class UpgradeWith : public Upgrade,
                    public testing::WithParamInterface<std::array<std::string_view, 2>> {};

// The agent is killed with a third of the account spent, and nobody is there when the flood comes;
// the second time the account is spent, and the flood never ends.
TEST_P(UpgradeWith, passes_no_byte_beyond_the_account) {
  installed->write_policy(GetParam()[0], GetParam()[1]);
  ASSERT_TRUE(installed->start());
  send_first();
  installed->kill_all();
  flood(true);
  EXPECT_TRUE(await([&] { return k->desk.received() > kFirst; }, within(10'000)))
      << "the rest of the account is there for it";
  const std::uint64_t without = k->desk.settled(milliseconds(500), milliseconds(4000));
  EXPECT_LE(without, kAccount);
  installed->put_programs();
  ASSERT_TRUE(installed->start());
  const std::uint64_t adopted = k->desk.received();
  EXPECT_LE(adopted, kAccount);
  const std::uint64_t refused = installed->refused();
  installed->put_programs();
  installed->kill_all();
  ASSERT_TRUE(installed->start());
  usleep(300'000 * static_cast<useconds_t>(scale()));
  EXPECT_LE(k->desk.received(), kAccount);
  EXPECT_GE(installed->charged(), k->desk.received()) << "what was spent goes with it";
  EXPECT_LE(installed->charged(), kAccount);
  EXPECT_GT(installed->refused(), refused) << "it was tried all the time";
  fmt::print("upgrade, on_exit {}: {} of {} received, {} when adopted, {} packets refused\n",
             GetParam()[0], k->desk.received(), kAccount, adopted, installed->refused());
}

INSTANTIATE_TEST_SUITE_P(policies, UpgradeWith,
                         testing::Values(std::array<std::string_view, 2>{"release", "bytes: 300kB"},
                                         std::array<std::string_view, 2>{
                                             "keep", "bytes: 600kB, window: 24h"}),
                         [](const auto& info) { return std::string(info.param[0]); });

// Nothing is left in the kernel: as after a reboot, or an upgrade to tables of another layout. The
// power is cut while everything is sent, and what was spent is what the disk said before.
TEST_P(UpgradeWith, without_any_pins_passes_no_byte_beyond_the_account) {
  installed->write_policy(GetParam()[0], GetParam()[1]);
  ASSERT_TRUE(installed->start());
  send_first();
  installed->kill_all();
  ASSERT_TRUE(KernelPart::release(k->desk.pin_dir()));
  ASSERT_TRUE(installed->start());
  flood(true);
  EXPECT_TRUE(await([&] { return k->desk.received() >= kFirst + 50'000; }, within(10'000)))
      << "the rest of the account is there, but for what was reserved (64 KiB)";
  k->desk.settled(milliseconds(1500), milliseconds(10'000));
  EXPECT_LE(k->desk.received(), kAccount);
  fmt::print("without pins, on_exit {}: {} of {} received\n", GetParam()[0], k->desk.received(),
             kAccount);
}

// The pins that the new version finds are those of a version with other tables, in force and under
// a flood. The old ones hold until the new ones do, which begin with what the disk says.
TEST_P(UpgradeWith, from_another_layout_passes_no_byte_beyond_the_account) {
  installed->write_policy(GetParam()[0], GetParam()[1]);
  ASSERT_TRUE(installed->start());
  send_first();
  flood(true);
  installed->kill_all();
  const fs::path pins = fs::path(k->desk.pin_dir()) / "weir";
  const std::string other = std::to_string(WEIR_LAYOUT - 1);
  fs::rename(pins / std::to_string(WEIR_LAYOUT), pins / other);
  const std::uint64_t without = k->desk.settled(milliseconds(500), milliseconds(4000));
  EXPECT_LE(without, kAccount);
  installed->put_programs();
  ASSERT_TRUE(installed->start());
  EXPECT_FALSE(fs::exists(pins / other));
  EXPECT_TRUE(await([&] { return installed->refused() > 0; }, within(15'000)))
      << "it is tried until nothing is left";
  k->desk.settled(milliseconds(500), milliseconds(4000));
  fmt::print("another layout, on_exit {}: {} received before it, {} of {} after it\n",
             GetParam()[0], without, k->desk.received(), kAccount);
  EXPECT_LE(k->desk.received(), kAccount);
  EXPECT_GT(k->desk.received(), kFirst);
  // And under it once more, with tables of its own to adopt.
  installed->kill_all();
  ASSERT_TRUE(installed->start());
  usleep(300'000 * static_cast<useconds_t>(scale()));
  EXPECT_LE(k->desk.received(), kAccount);
  EXPECT_LE(installed->charged(), kAccount);
}

// `systemctl restart`, which is no upgrade: on_exit says what happens in between.
TEST_F(Upgrade, a_stop_is_what_on_exit_says) {
  installed->write_policy("keep", "bytes: 300kB");
  ASSERT_TRUE(installed->start());
  send_first();
  installed->stop();
  flood(true);
  k->desk.settled(milliseconds(500), milliseconds(4000));
  EXPECT_LE(k->desk.received(), kAccount);
  installed->write_policy("release", "bytes: 300kB");
  ASSERT_TRUE(installed->start());
  EXPECT_LE(k->desk.received(), kAccount);
  installed->stop();
  EXPECT_TRUE(await([&] { return k->desk.received() > 2 * kAccount; }, within(5000)))
      << "a flood that passes is seen";
}

}  // namespace
}  // namespace weir::test
