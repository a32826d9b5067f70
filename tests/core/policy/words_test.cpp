// Words of closed sets, units, and the list of detectors beside the real one.
#include "core/policy/words.h"

#include <gtest/gtest.h>

#include <set>

#include "core/detect/detector.h"
#include "core/policy/catalogue.h"
#include "core/policy/units.h"

namespace weir {
namespace {

TEST(words, every_value_comes_back_from_its_name) {
  for (int i = 1; i <= 7; ++i)
    EXPECT_EQ(action_of(action_name(static_cast<Action>(i))), static_cast<Action>(i));
  for (int i = 1; i <= 5; ++i)
    EXPECT_EQ(severity_of(severity_name(static_cast<Severity>(i))), static_cast<Severity>(i));
  for (int i = 1; i <= 6; ++i)
    EXPECT_EQ(trust_of(trust_name(static_cast<Trust>(i))), static_cast<Trust>(i));
  EXPECT_FALSE(action_of("unspecified"));
  EXPECT_EQ(action_name(Action::unspecified), "unspecified");
}

TEST(words, the_detectors_said_to_be_built_are_those_that_are) {
  std::set<std::string_view> said, built;
  for (const DetectorName& name : detector_names())
    if (name.built) said.insert(name.id);
  const auto detectors = make_detectors(Catalogue::built_in());
  for (const auto& detector : detectors) built.insert(detector->id());
  EXPECT_EQ(said, built);
}

TEST(units, sizes_have_one_way_to_be_written) {
  EXPECT_EQ(parse_size("0").value(), 0u);
  EXPECT_EQ(parse_size("4096").value(), 4096u);
  EXPECT_EQ(parse_size("64KiB").value(), 65536u);
  EXPECT_EQ(parse_size("3MiB").value(), 3u * 1024 * 1024);
  EXPECT_EQ(parse_size("1GiB").value(), 1024u * 1024 * 1024);
  EXPECT_EQ(parse_size("5kB").value(), 5000u);
  EXPECT_EQ(parse_size("10MB").value(), 10'000'000u);
  EXPECT_EQ(parse_size("2GB").value(), 2'000'000'000u);
  for (const char* bad : {"", "KiB", "1 KiB", "1kib", "1KB", "1K", "-1", "+1", "1.5MiB", "0x10",
                          "1KiBx", "99999999999999999999", "9999999GiB", "1e3"})
    EXPECT_FALSE(parse_size(bad)) << bad;
}

TEST(units, durations_and_windows) {
  EXPECT_EQ(parse_duration_ns("45s").value(), 45 * kSecond_ns);
  EXPECT_EQ(parse_duration_ns("60m").value(), kHour_ns);
  EXPECT_EQ(parse_duration_ns("7d").value(), 7 * 24 * kHour_ns);
  for (const char* bad :
       {"", "0s", "5", "1w", "1 h", "-1h", "1.5h", "400d", "99999999999999999999s"})
    EXPECT_FALSE(parse_duration_ns(bad)) << bad;
  for (const char* good : {"1h", "60m", "24h", "1d", "7d", "168h"})
    EXPECT_TRUE(parse_window_ns(good)) << good;
  for (const char* bad : {"2h", "30m", "6d", "1"}) EXPECT_FALSE(parse_window_ns(bad)) << bad;
}

}  // namespace
}  // namespace weir
