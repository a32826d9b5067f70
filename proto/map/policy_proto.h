// Policy ↔ weir.v1.Policy, both ways. The bytes come from a child process, the event log or the
// network: whatever they hold, the answer is a whole valid Policy or one sentence that says what is
// wrong. Nothing is dropped silently: an unknown field or enum value refuses the policy. Thread:
// any.
#pragma once

#include <string>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/policy/policy.h"

namespace weir {

namespace v1 {
class Policy;
}

inline constexpr std::size_t kMaxCompiledBytes =
    1 << 20;                                   // compiled; the sample of CONTRACT is about 1 KiB
inline constexpr int kMaxConditionDepth = 16;  // levels of all/any/not in one rule
inline constexpr std::size_t kMaxPolicyEntries = 4096;  // of each list: rules, services, domains …
inline constexpr std::size_t kMaxConditionNodes = 16'384;  // of the whole policy

std::string policy_bytes(const Policy& policy);  // the same policy gives the same bytes
Result<Policy> policy_from_bytes(Bytes bytes);

void to_proto(const Policy& policy, v1::Policy& out);
Result<Policy> from_proto(const v1::Policy& in);

}  // namespace weir
