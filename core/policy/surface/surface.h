// The YAML surface of policies: text to Policy, and the JSON Schema of that text. The only place
// that knows yaml-cpp. Parser, messages and schema come from one table (table.cpp).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/policy/policy.h"

namespace weir {

inline constexpr std::size_t kMaxPolicyBytes = 1024 * 1024;  // a thousand times the sample
inline constexpr std::size_t kMaxPolicyDepth = 16;   // the sample needs 7; bounds every recursion
inline constexpr std::size_t kMaxPolicyErrors = 20;  // the rest of a broken file is mostly echo

// Files beside a policy, by their name: the text of each, or why there is none.
using ListTexts = std::map<std::string, Result<std::string>, std::less<>>;

// Names of the lists that a policy names, each once, at most kMaxLists: whoever has its folder
// reads them. None of a text that has faults.
std::vector<std::string> lists_of(std::string_view yaml);

// On failure the sentence has one line an error: "FILE:LINE:COLUMN: where: what is wrong, and what
// is allowed". `file_name` is only printed. `lists`: those of lists_of().
Result<Policy> parse_policy(std::string_view yaml, const std::string& file_name,
                            const ListTexts& lists = {});

std::string json_schema();  // draft 2020-12, for editors

}  // namespace weir
