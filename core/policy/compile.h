// What must hold of a policy beyond its shape, wherever it comes from (a file, the wire), and what
// the compiler derives: which rows of the limit table are bound to labels or can't be lifted.
#pragma once

#include <string>
#include <vector>

#include "core/policy/policy.h"

namespace weir {

inline constexpr std::size_t kMaxRules = 512;            // evaluation is linear in them
inline constexpr std::size_t kMaxLabels = 32;            // bits of Limit::labels
inline constexpr std::size_t kMaxConditionDepth = 16;    // as the YAML surface
inline constexpr std::size_t kMaxConditionParts = 4096;  // of one rule, all levels and values
// Half of a windowed limit is all that leaves at once; below this a TLS hello (about 2 KiB since
// post-quantum keys) could never leave, and `block` says it better.
inline constexpr std::uint64_t kMinWindowedBytes = 4096;
inline constexpr std::int64_t kMaxHold_ns =
    300'000'000'000;  // servers close idle requests after 60 s
inline constexpr std::uint64_t kMinFirstFlight = 2 * 1024;  // a TLS hello
inline constexpr std::uint64_t kMaxFirstFlight = 1024 * 1024;

struct Problem {
  std::string rule;  // "" if it is about the whole policy
  std::string sentence;
};

void derive(Policy& policy);  // sets labels and liftable of every limit
std::vector<Problem> check_policy(const Policy& policy);

}  // namespace weir
