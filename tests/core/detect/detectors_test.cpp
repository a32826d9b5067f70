// The list of detectors is whole: a detector's file that the list forgets fails here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/detect/detector.h"
#include "core/policy/catalogue.h"

namespace weir {
namespace {

// Each header of core/detect that offers make_NAME() is the detector NAME.
std::vector<std::string> detectors_with_a_file() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(WEIR_SOURCE_DIR "/core/detect")) {
    if (entry.path().extension() != ".h") continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const std::string stem = entry.path().stem().string();
    if (text.str().find("std::unique_ptr<Detector> make_" + stem + "(") != std::string::npos)
      names.push_back(stem);
  }
  return names;
}

TEST(detectors, every_detector_with_a_file_is_on_the_list) {
  const auto with_a_file = detectors_with_a_file();
  ASSERT_FALSE(with_a_file.empty());
  std::vector<std::string> listed;
  for (const auto& detector : make_detectors(Catalogue::built_in()))
    listed.emplace_back(detector->id());
  EXPECT_THAT(listed, testing::UnorderedElementsAreArray(with_a_file));
}

TEST(detectors, nothing_is_signalled_about_nothing) {
  std::vector<Signal> signals;
  for (const auto& detector : make_detectors(Catalogue::built_in())) {
    detector->on(Observation{}, Stamp{}, signals);
    detector->tick(Stamp{}, signals);
    detector->finish(signals);
  }
  EXPECT_THAT(signals, testing::IsEmpty());
}

}  // namespace
}  // namespace weir
