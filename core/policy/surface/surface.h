// The YAML surface of policies: text to Policy, and the JSON Schema of that text. The only place
// that knows yaml-cpp. Parser, messages and schema come from one table (table.cpp).
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/policy/policy.h"

namespace weir {

inline constexpr std::size_t kMaxPolicyBytes = 1024 * 1024;  // a thousand times the sample
inline constexpr std::size_t kMaxPolicyDepth = 16;   // the sample needs 7; bounds every recursion
inline constexpr std::size_t kMaxPolicyErrors = 20;  // the rest of a broken file is mostly echo

// On failure the sentence has one line an error: "FILE:LINE:COLUMN: where: what is wrong, and what
// is allowed". `file_name` is only printed.
Result<Policy> parse_policy(std::string_view yaml, const std::string& file_name);

std::string json_schema();  // draft 2020-12, for editors

}  // namespace weir
