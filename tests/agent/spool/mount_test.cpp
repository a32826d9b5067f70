// The spool on small file systems of its own: full, and read only.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <cstdio>
#include <functional>

#include "tests/agent/spool/folder_fixture.h"

namespace weir {
namespace {

using namespace spool_test;

// A small file system of its own, in a mount namespace of its own.
class SpoolMount : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts a file system";
  }
  // Runs `work` with an empty tmpfs of so many KiB at the folder; its exit status.
  static int within(int kib, const std::function<int(const std::string&)>& work) {
    Folder place;
    std::string path = place.path().string();
    fflush(stdout);  // or the child says it again
    pid_t child = ::fork();
    if (child == 0) {
      if (::unshare(CLONE_NEWNS) != 0 ||
          ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount("tmpfs", path.c_str(), "tmpfs", 0,
                  ("size=" + std::to_string(kib) + "k").c_str()) != 0)
        ::_exit(77);
      ::_exit(work(path));
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
  }
};

#define REQUIRE(condition)                                      \
  if (!(condition)) {                                           \
    fprintf(stderr, "line %d: not %s\n", __LINE__, #condition); \
    return 1;                                                   \
  }

int fill_the_disk(const std::string& path) {
  int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY);
  SpoolLimits limits = small_limits(64 << 10, 64);  // 12 MiB on a disk of 1
  SpoolWriter writer = open_writer(folder, limits);
  std::string record(1000, 'r');
  std::array<std::uint64_t, 3> given{};
  auto add = [&](SpoolLane lane, int count) {
    for (int n = 0; n < count; ++n) writer.append(lane, bytes_of(record));
    given[at(lane)] += static_cast<std::uint64_t>(count);
    return static_cast<bool>(writer.commit());
  };
  REQUIRE(add(SpoolLane::telemetry, 300));
  REQUIRE(add(SpoolLane::audit, 300));
  REQUIRE(writer.counters().lost[at(SpoolLane::telemetry)] == 0);
  REQUIRE(add(SpoolLane::alert, 400));
  REQUIRE(writer.counters().lost[at(SpoolLane::telemetry)] > 0);
  REQUIRE(writer.counters().lost[at(SpoolLane::audit)] == 0);
  for (int n = 0; n < 40; ++n) (void)add(SpoolLane::alert, 10);
  REQUIRE(writer.counters().lost[at(SpoolLane::audit)] > 0);
  REQUIRE(writer.counters().lost[at(SpoolLane::alert)] == 0);
  // Full with alerts alone: they wait in memory, and are told when it is full.
  for (int n = 0; n < 40; ++n) (void)add(SpoolLane::alert, 300);
  REQUIRE(writer.counters().lost[at(SpoolLane::alert)] > 0);
  SpoolPositions done = writer.committed();
  writer.forget(done);  // the collector is back
  for (int n = 0; n < 40 && !writer.commit(); ++n) writer.forget(writer.committed());
  for (SpoolLane lane : kLanes) {
    Story story = read_all(folder, lane, done[at(lane)].sequence, 500);
    REQUIRE(story.holes == 0);
  }
  printf(
      "1 MiB disk: lost %llu alerts of %llu, %llu audit of %llu, %llu "
      "telemetry of %llu\n",
      static_cast<unsigned long long>(writer.counters().lost[0]),
      static_cast<unsigned long long>(given[0]),
      static_cast<unsigned long long>(writer.counters().lost[1]),
      static_cast<unsigned long long>(given[1]),
      static_cast<unsigned long long>(writer.counters().lost[2]),
      static_cast<unsigned long long>(given[2]));
  fflush(stdout);
  return 0;
}

TEST_F(SpoolMount, a_full_disk_costs_telemetry_before_audit_and_no_alert) {
  EXPECT_EQ(within(1024, fill_the_disk), 0);
}

int count_on_a_full_disk(const std::string& path) {
  int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY);
  SpoolWriter writer = open_writer(folder, small_limits(64 << 10, 64));
  std::string record(1000, 'r');
  for (int n = 0; n < 900; ++n) {
    writer.append(kLanes[n % 3 == 0 ? 0 : n % 3], bytes_of(record));
    if (n % 10 == 9) (void)writer.commit();
  }
  for (int n = 0; n < 400; ++n) {
    writer.append(SpoolLane::alert, bytes_of(record));
    if (n % 10 == 9) (void)writer.commit();
  }
  REQUIRE(writer.counters().lost[0] == 0);
  for (SpoolLane lane : kLanes) {
    Story story = read_all(folder, lane, 0, 500);
    REQUIRE(story.holes == 0);
    REQUIRE(story.end == writer.committed()[at(lane)].sequence);
    REQUIRE(story.lost_count() == writer.counters().lost[at(lane)]);
    REQUIRE(story.records.size() + story.lost_count() == story.end);
  }
  return 0;
}

TEST_F(SpoolMount, what_a_full_disk_cost_is_told_to_the_last_record) {
  EXPECT_EQ(within(1024, count_on_a_full_disk), 0);
}

int turn_read_only(const std::string& path) {
  auto remount = [&](unsigned long flags) {
    return ::mount(nullptr, path.c_str(), nullptr, MS_REMOUNT | flags, nullptr);
  };
  int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY);
  std::uint64_t last = 0;
  {
    SpoolWriter writer = open_writer(folder);
    last = writer.append(SpoolLane::alert, bytes_of("before"));
    REQUIRE(writer.commit());
  }
  REQUIRE(remount(MS_RDONLY) == 0);
  {
    SpoolWriter writer = open_writer(folder);  // it still opens
    REQUIRE(writer.last()[0].sequence == last);
    last = writer.append(SpoolLane::alert, bytes_of("while"));
    REQUIRE(!writer.commit());
    REQUIRE(writer.counters().failed_writes > 0);
    REQUIRE(read_all(folder, SpoolLane::alert).end == last - 1);
    REQUIRE(remount(0) == 0);
    REQUIRE(writer.commit());
  }
  Story story = read_all(folder, SpoolLane::alert);
  REQUIRE(story.records.size() == 2 && story.records[2] == "while");
  REQUIRE(story.lost.empty());
  return 0;
}

TEST_F(SpoolMount, a_disk_that_turns_read_only_is_waited_for) {
  EXPECT_EQ(within(4096, turn_read_only), 0);
}

}  // namespace
}  // namespace weir
