// The writing process is killed again and again: nothing acknowledged is lost, nothing stands
// twice.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/collector/store/store_fixture.h"

namespace weir {
namespace {

// 50 in `make test`; WEIR_KILLS says how many in a soak.
int kills() {
  const char* wanted = std::getenv("WEIR_KILLS");
  return wanted == nullptr ? 50 : std::max(1, std::atoi(wanted));
}
constexpr std::uint32_t kHosts = 4;

struct Told {  // through the pipe, after the commit
  std::uint32_t host;
  std::uint64_t sequence;
};

// What a collector process does with hosts that send from where the store says they are.
[[noreturn]] void write_until_killed(const std::string& folder, int pipe) {
  auto fleet = FleetStore::open(folder);
  if (!fleet) ::_exit(2);
  auto store = RecordStore::open(**fleet, {.folder = folder,
                                           .wall_ns = [] { return 20'000 * kDayNs; },
                                           .say = [](const std::string&) {}});
  if (!store) ::_exit(3);
  std::array<std::uint64_t, kHosts + 1> next{};
  for (std::uint32_t host = 1; host <= kHosts; ++host)
    for (const Appended& at : (*store)->positions(host)) next[host] = at.sequence;
  while (true) {
    std::atomic<int> left = kHosts;
    std::promise<void> all;
    for (std::uint32_t host = 1; host <= kHosts; ++host) {
      // One back: hosts send again what was not acknowledged.
      std::uint64_t first = next[host] == 0 ? 1 : next[host];
      Append append = batch_of({host, StoreLane::alert}, 1, first, 7);
      append.requests.push_back({.index = 6, .id = fmt::format("h{}-{}", host, first + 6)});
      append.done = [&, host](const Appended& answer) {
        next[host] = answer.sequence;
        Told told{host, answer.sequence};
        if (::write(pipe, &told, sizeof told) != sizeof told) ::_exit(4);
        if (--left == 0) all.set_value();
      };
      if (!(*store)->append(append)) ::_exit(5);
    }
    all.get_future().get();
  }
}

class KillTest : public StoreTest {};

TEST_F(KillTest, kills_lose_no_acknowledged_record_and_double_none) {
  std::mt19937 random(1);
  std::array<std::uint64_t, kHosts + 1> acknowledged{};
  const int count = kills();
  for (int kill = 0; kill < count; ++kill) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      write_until_killed(folder.path(), ends[1]);
    }
    ::close(ends[1]);
    Told told{};
    // Let it come to write, then kill it anywhere in it.
    if (::read(ends[0], &told, sizeof told) == sizeof told)
      acknowledged[told.host] = std::max(acknowledged[told.host], told.sequence);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    ::kill(child, SIGKILL);
    while (::read(ends[0], &told, sizeof told) == sizeof told)
      acknowledged[told.host] = std::max(acknowledged[told.host], told.sequence);
    ::close(ends[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << WEXITSTATUS(status);
  }
  open();
  std::uint64_t all_acknowledged = 0, all_stored = 0;
  for (std::uint32_t host = 1; host <= kHosts; ++host) {
    all_acknowledged += acknowledged[host];
    all_stored += records->positions(host).at(0).sequence;
    std::string expected;
    std::uint64_t stored = records->positions(host).at(0).sequence;
    EXPECT_GE(stored, acknowledged[host]) << "host " << host;
    EXPECT_GT(acknowledged[host], 0u);
    EXPECT_TRUE(fleet->request(fmt::format("h{}-{}", host, stored), 20'000 * 86'400))
        << "what the last record asks for";
    for (std::uint64_t n = 1; n <= stored; ++n)
      expected += fmt::format("{}{}:0", n > 1 ? " " : "", n);
    EXPECT_EQ(rows({host, StoreLane::alert}, 1), expected) << "each once, in order, no gap";
  }
  fmt::print("{} kills: {} records acknowledged, {} stored\n", count, all_acknowledged, all_stored);
}

}  // namespace
}  // namespace weir
