// The policies that ship: what the compiler makes of them crosses the wire whole.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/policy/default_policy.h"
#include "core/policy/surface/surface.h"
#include "proto/map/policy_proto.h"
#include "tests/proto/map/same.h"

namespace weir {
namespace {

void expect_whole(const Policy& policy) {
  Result<Policy> back = policy_from_bytes(bytes_of(policy_bytes(policy)));
  ASSERT_TRUE(back) << back.error().sentence;
  EXPECT_TRUE(same(policy, *back));
}

TEST(sample_policy, each_policy_of_the_tree_crosses_the_wire_whole) {
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(WEIR_SOURCE_DIR "/data/policies")) {
    std::ifstream file(entry.path());
    std::string yaml(std::istreambuf_iterator<char>(file), {});
    Result<Policy> policy = parse_policy(yaml, entry.path().filename());
    ASSERT_TRUE(policy) << policy.error().sentence;
    EXPECT_FALSE(policy->rules.empty());
    expect_whole(*policy);
    ++seen;
  }
  EXPECT_GT(seen, 0);
}

TEST(sample_policy, the_built_in_default_crosses_the_wire_whole) {
  expect_whole(*default_policy());
}

}  // namespace
}  // namespace weir
