// The corpus of real captures, by its own labels: none crashes or hangs the line, every tunnel's
// zone is named, and nothing is reported of captures that were checked to be benign.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>

#include "tests/scenarios/replayed.h"

namespace weir {
namespace {

// The rows of a CSV file with a header, by column name. Quoted fields may hold commas.
std::vector<std::map<std::string, std::string>> rows_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::map<std::string, std::string>> rows;
  std::vector<std::string> names;
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> fields(1);
    bool quoted = false;
    for (const char c : line) {
      if (c == '"') {
        quoted = !quoted;
      } else if (c == ',' && !quoted) {
        fields.emplace_back();
      } else if (c != '\r') {
        fields.back() += c;
      }
    }
    if (names.empty()) {
      names = fields;
      continue;
    }
    auto& row = rows.emplace_back();
    for (std::size_t i = 0; i < std::min(names.size(), fields.size()); ++i)
      row[names[i]] = fields[i];
  }
  return rows;
}

std::string corpus() {
  const char* path = std::getenv("WEIR_CORPUS");
  return path == nullptr || *path == '\0' ? "" : std::string(path) + "/traffic/";
}

#define NEEDS_CORPUS() \
  if (corpus().empty()) GTEST_SKIP() << "WEIR_CORPUS is not set: no labelled captures here"

TEST(corpus, replay_finishes_on_every_capture) {
  NEEDS_CORPUS();
  const auto captures = rows_of(corpus() + "MANIFEST.csv");
  ASSERT_GT(captures.size(), 400u);
  std::size_t malformed = 0, refused = 0;
  for (auto row : captures) {
    const Replayed out = replay_capture(corpus() + row["path"]);
    malformed += row["label"] == "malformed" ? 1 : 0;
    if (out.trouble.empty()) {
      EXPECT_FALSE(out.lines.empty()) << row["path"];
    } else {
      EXPECT_EQ(row["label"], "malformed") << row["path"] << ": " << out.trouble;
      EXPECT_NE(out.trouble.find(row["path"]), std::string::npos) << out.trouble;
      ++refused;
    }
  }
  EXPECT_EQ(malformed, 189u);
  EXPECT_LT(refused, 20u);
}

TEST(corpus, zone_of_every_tunnel_is_named) {
  NEEDS_CORPUS();
  std::size_t zones = 0;
  for (auto row : rows_of(corpus() + "DOMAINS.csv")) {
    if (row["truth"] != "tunnel" || row["zone"].starts_with('(')) continue;
    ++zones;
    EXPECT_TRUE(replay_capture(corpus() + row["path"]).names_zone(row["zone"]))
        << row["path"] << " " << row["zone"];
  }
  EXPECT_EQ(zones, 14u);
}

TEST(corpus, nothing_is_reported_of_benign_captures) {
  NEEDS_CORPUS();
  std::size_t captures = 0;
  for (auto row : rows_of(corpus() + "MANIFEST.csv")) {
    const std::string& label = row["label"];
    if (label != "benign_dns" && label != "benign_mixed" && label != "benign_tls") continue;
    ++captures;
    const Replayed out = replay_capture(corpus() + row["path"]);
    EXPECT_EQ(out.trouble, "");
    EXPECT_TRUE(out.reports.empty())
        << row["path"] << ": "
        << (out.reports.empty() ? "" : json_line(out.reports.back(), Language::english));
  }
  EXPECT_EQ(captures, 51u);
}

}  // namespace
}  // namespace weir
