// Compiled policies, as the compiler's child, the log and the network hand them in.
#include "core/base/result.h"
#include "proto/map/policy_proto.h"

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto policy = policy_from_bytes(Bytes(data, size));
  if (!policy) {
    WEIR_CHECK(!policy.error().sentence.empty());
    return 0;
  }
  WEIR_CHECK(policy->limits.size() <= kMaxLimits);
  for (const Rule& rule : policy->rules) {
    for (std::uint32_t row : rule.limits) WEIR_CHECK(row < policy->limits.size());
  }
  const std::string bytes = policy_bytes(*policy);
  const auto again = policy_from_bytes(bytes_of(bytes));
  WEIR_CHECK(again.has_value());
  WEIR_CHECK(policy_bytes(*again) == bytes);
  return 0;
}
