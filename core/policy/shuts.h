// Places that an administrator blocked for a time, by a signed command: a name and what is below
// it, an address or a prefix, for everybody or one person. The guard takes and ends them, the
// kernel holds them by address; the line says which flows go to such a name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir {

// At once, on one host: what is blocked for long belongs into the policy.
inline constexpr std::size_t kMaxShuts = 16;
inline constexpr std::size_t kMaxShutPlaces = 64;  // addresses that blocked names were seen at
inline constexpr std::int64_t kLongestShut_s = 7 * 86'400;
inline constexpr std::uint32_t kUsualShut_s = 3'600;  // where nobody named a time
// Wider ones are no destination any more: isolate the host.
inline constexpr std::uint32_t kShortestShut = 16, kShortestShutV4 = 96 + 8;

// In the place of a row: none refused it, the place is blocked (WEIR_SHUT).
inline constexpr std::uint32_t kShutRow = 66;
inline constexpr const char* kShutRule = "host.blocked";

}  // namespace weir
