// What a caller of the running agent may say, and who it may be.
#include "agent/run/exec_served.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

constexpr std::uint64_t kHourNs = 3600ull * 1'000'000'000;

ExecRequest request(std::uint64_t limit = 1 << 20, std::uint64_t window_ns = 0) {
  ExecRequest r;
  r.limit = limit;
  r.window_ns = window_ns;
  return r;
}

bool taken(const ExecRequest& r, std::size_t size = sizeof(ExecRequest)) {
  return *damage_of(r, size) == '\0';
}

TEST(exec_request, has_one_size_known_flags_and_a_window_of_the_contract) {
  EXPECT_TRUE(taken(request()));
  EXPECT_TRUE(taken(request(0)));
  for (std::uint64_t hours : {1, 24, 168}) EXPECT_TRUE(taken(request(1, hours * kHourNs)));
  EXPECT_FALSE(taken(request(), sizeof(ExecRequest) - 1));
  EXPECT_FALSE(taken(request(), sizeof(ExecRequest) + 1));
  EXPECT_FALSE(taken(request(1ull << 63)));
  EXPECT_FALSE(taken(request(1, 1)));
  EXPECT_FALSE(taken(request(1, 2 * kHourNs)));
  ExecRequest other = request();
  other.magic += 1;
  EXPECT_FALSE(taken(other));
  other = request();
  other.flags = 4;
  EXPECT_FALSE(taken(other));
}

TEST(exec_caller, is_in_the_agents_cgroup_or_below_and_not_beside_it) {
  EXPECT_TRUE(is_inside("12:cpu:/x\n0::/desk\n", "/desk"));
  EXPECT_TRUE(is_inside("0::/desk/user.slice\n", "/desk"));
  EXPECT_TRUE(is_inside("0::/\n", "/"));
  EXPECT_TRUE(is_inside("0::/any\n", "/"));
  EXPECT_FALSE(is_inside("0::/desktop\n", "/desk"));
  EXPECT_FALSE(is_inside("0::/\n", "/desk"));
  EXPECT_FALSE(is_inside("0::/../desk\n", "/"));
  EXPECT_FALSE(is_inside("1:name=0::/desk:/other\n", "/desk"));
  EXPECT_FALSE(is_inside("", "/"));
}

TEST(exec_caller, that_has_any_other_uid_is_not_served) {
  EXPECT_TRUE(runs_only_as("Name:\tx\nUid:\t1000\t1000\t1000\t1000\nGid:\t1\n", 1000));
  EXPECT_FALSE(runs_only_as("Uid:\t1000\t0\t0\t0\n", 1000));
  EXPECT_FALSE(runs_only_as("Uid:\t1000\t1000\t0\t1000\n", 1000));
  EXPECT_FALSE(runs_only_as("Uid:\t1000\t1000\t1000\t1000\n", 1001));
  EXPECT_FALSE(runs_only_as("Uid:\t1000\t1000\t1000\n", 1000));
  EXPECT_FALSE(runs_only_as("", 0));
}

}  // namespace
}  // namespace weir
