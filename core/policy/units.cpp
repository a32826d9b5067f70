// Numbers with units. No fractions and no blank before the unit: one way to write each value.
#include "core/policy/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>

namespace weir {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 7> kSizes = {{{"", 1},
                                         {"KiB", 1024},
                                         {"MiB", 1024 * 1024},
                                         {"GiB", 1024 * 1024 * 1024},
                                         {"kB", 1000},
                                         {"MB", 1000 * 1000},
                                         {"GB", 1000 * 1000 * 1000}}};
constexpr std::array<Unit, 4> kDurations = {{{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}};

template <class Units>
std::optional<std::uint64_t> parse(std::string_view text, const Units& units, std::uint64_t max) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const Unit& unit : units)
    if (unit.name == rest && number <= max / unit.factor) return number * unit.factor;
  return std::nullopt;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  if (auto bytes = parse(text, kSizes, kMaxSize)) return *bytes;
  return fail(fmt::format("'{}' is not {}", text, kSizeForm));
}

Result<std::int64_t> parse_duration_ns(std::string_view text) {
  const auto seconds = parse(text, kDurations, kMaxDuration_ns / kSecond_ns);
  if (seconds && *seconds > 0) return static_cast<std::int64_t>(*seconds) * kSecond_ns;
  return fail(fmt::format("'{}' is not {}", text, kDurationForm));
}

Result<std::int64_t> parse_window_ns(std::string_view text) {
  const auto window = parse_duration_ns(text);
  if (window && (*window == kHour_ns || *window == 24 * kHour_ns || *window == 7 * 24 * kHour_ns))
    return *window;
  return fail(fmt::format("'{}' is not {}", text, kWindowForm));
}

}  // namespace weir
