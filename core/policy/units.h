// Sizes and durations as people write them: 64KiB, 10MB, 4096; 45s, 60m, 24h, 7d.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/base/result.h"

namespace weir {

inline constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 50;  // 1 PiB: more is a mistake
inline constexpr std::int64_t kSecond_ns = 1'000'000'000;
inline constexpr std::int64_t kHour_ns = 3600 * kSecond_ns;
inline constexpr std::int64_t kMaxDuration_ns = 366 * 24 * kHour_ns;

inline constexpr std::string_view kSizeForm =
    "a whole number of bytes, or one with KiB, MiB, GiB, kB, MB or GB, such as 64KiB";
inline constexpr std::string_view kDurationForm =
    "a whole number with s, m, h or d, such as 45s or 24h";
inline constexpr std::string_view kWindowForm = "one of 1h, 24h, 7d";

Result<std::uint64_t> parse_size(std::string_view text);        // bytes
Result<std::int64_t> parse_duration_ns(std::string_view text);  // above zero
Result<std::int64_t> parse_window_ns(std::string_view text);    // a duration equal to 1h, 24h or 7d

}  // namespace weir
