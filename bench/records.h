// What simulated hosts send: sealed records of about 300 bytes, reports or usage. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir {

namespace v1 {
class Batch;
}

inline constexpr int kBatch = 100;   // records
inline constexpr int kInFlight = 4;  // batches a host, as the agents' door has them

// Of one host, all that it sends: `records` of them, rounded down to whole batches.
std::vector<v1::Batch> batches_of(bool report, std::uint64_t records);

}  // namespace weir
