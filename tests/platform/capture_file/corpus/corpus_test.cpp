// Every capture of the corpus through the reader and core/net, against the facts of its manifest.
// It reads only what others checked there; the corpus is no part of the tree.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "core/net/flows.h"
#include "platform/capture_file/capture_file.h"

namespace weir {
namespace {

using Row = std::map<std::string, std::string>;

// CSV with quoted fields.
std::vector<Row> manifest(const std::string& path) {
  std::vector<Row> rows;
  std::vector<std::string> names;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> fields(1);
    bool quoted = false;
    for (const char c : line) {
      if (c == '"')
        quoted = !quoted;
      else if (c == ',' && !quoted)
        fields.emplace_back();
      else if (c != '\r')
        fields.back() += c;
    }
    if (names.empty()) {
      names = fields;
      continue;
    }
    Row row;
    for (std::size_t i = 0; i < std::min(names.size(), fields.size()); ++i)
      row[names[i]] = fields[i];
    rows.push_back(row);
  }
  return rows;
}

struct Read {
  bool opened = false;
  std::uint64_t packets = 0, queries = 0, flows = 0, ended = 0, damaged = 0;
  bool tls_named = false;
  std::chrono::milliseconds took{};
};

Read read(const std::string& path) {
  Read out;
  const auto start = std::chrono::steady_clock::now();
  auto capture = CaptureFile::open(path);
  if (!capture) return out;
  out.opened = true;
  Flows flows([&](const Flow& flow) {
    ++out.ended;
    if (flow.record.protocol == "tls" && !flow.record.server_name.empty()) out.tls_named = true;
  });
  Event event;
  while (capture->next(event)) {
    const Observation seen = flows.on(std::get<Packet>(event.body), event.at);
    for (std::size_t i = 0; i < seen.dns_count; ++i) out.queries += !seen.dns[i].response;
  }
  flows.finish();
  out.packets = flows.counters().packets;
  out.flows = flows.counters().flows;
  for (const std::uint64_t n : flows.counters().malformed) out.damaged += n;
  out.damaged += !capture->ending().empty();
  out.took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - start);
  return out;
}

TEST(corpus, every_capture_is_read_to_its_end_with_the_packets_and_questions_of_its_manifest) {
  const char* corpus = std::getenv("WEIR_CORPUS");
  if (!corpus || !std::filesystem::exists(std::string(corpus) + "/traffic/MANIFEST.csv"))
    GTEST_SKIP() << "WEIR_CORPUS names no folder with traffic/MANIFEST.csv: nothing to read";
  const std::string folder = std::string(corpus) + "/traffic/";
  std::size_t captures = 0, counted = 0;
  for (Row& row : manifest(folder + "MANIFEST.csv")) {
    SCOPED_TRACE(row["path"]);
    const bool malformed = row["label"] == "malformed";
    const Read got = read(folder + row["path"]);
    ++captures;
    EXPECT_TRUE(got.opened || malformed);
    EXPECT_EQ(got.ended, got.flows);
    EXPECT_LT(got.took.count(), 20'000) << "ms: a file of a few MB";
    if (malformed) continue;
    EXPECT_EQ(std::to_string(got.packets), row["packets"]);
    // The questions that the manifest counts; those inside QUIC can't be read here.
    const std::string fact = row["verified"];
    const auto at = fact.find("dns_queries=");
    if (at == std::string::npos || row["protocols"].find("quic") != std::string::npos) continue;
    ++counted;
    EXPECT_EQ(got.queries, std::stoull(fact.substr(at + 12)));
  }
  EXPECT_GT(captures, 500u);
  EXPECT_GT(counted, 50u);
}

TEST(corpus, malformed_captures_are_counted_as_such) {
  const char* corpus = std::getenv("WEIR_CORPUS");
  if (!corpus || !std::filesystem::exists(std::string(corpus) + "/traffic/MANIFEST.csv"))
    GTEST_SKIP() << "WEIR_CORPUS names no folder with traffic/MANIFEST.csv: nothing to read";
  const std::string folder = std::string(corpus) + "/traffic/";
  std::uint64_t files = 0, damaged = 0;
  for (Row& row : manifest(folder + "MANIFEST.csv")) {
    if (row["label"] != "malformed") continue;
    const Read got = read(folder + row["path"]);
    ++files;
    damaged += !got.opened || got.damaged > 0;
  }
  EXPECT_GT(files, 100u);
  EXPECT_GT(damaged, files / 2);  // the rest is odd in ways that are nobody's damage
}

}  // namespace
}  // namespace weir
