// What persons ask for: how much of it a collector keeps open. The desk tells its people the same.
#pragma once

#include <cstdint>

namespace weir {

// A weekend.
inline constexpr std::int64_t kRequestOpen_s = 3 * 86'400;
// Of one person, and of one host, on which four persons do nothing else. The oldest end when there
// are more.
inline constexpr std::uint32_t kMaxOpenOfPerson = 8, kMaxOpenOfHost = 32;

}  // namespace weir
