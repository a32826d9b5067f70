// What a line says of a capture file or an event log: its lines of JSON, in order, and its reports.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "agent/wire/report_proto.h"
#include "core/line/counters.h"
#include "core/line/line.h"
#include "platform/capture_file/capture_file.h"
#include "platform/event_log/event_log.h"
#include "tests/scenarios/traffic.h"

namespace weir {

struct Replayed final : Outlet {
  void enforce(const Order&) override { ++orders; }
  void report(const Report& report) override {
    lines.push_back(json_line(report, Language::english));
    reports.push_back(report);
  }
  void flow(const FlowRecord& flow) override { lines.push_back(json_line(flow)); }
  void usage(const UsageRow& row) override { lines.push_back(json_line(row)); }

  // Ids of reports, each once.
  std::size_t different() const {
    std::size_t count = 0;
    for (const Report& report : reports) count += report.revision == 1 ? 1 : 0;
    return count;
  }
  bool names_zone(const std::string& zone) const {
    for (const Report& report : reports)
      if (report.destination.zone == zone) return true;
    return false;
  }

  std::vector<std::string> lines;
  std::vector<Report> reports;
  std::size_t orders = 0;
  std::string trouble;  // why the file could not be read, "" if it was
};

inline Replayed replay_capture(const std::string& path, std::shared_ptr<const Policy> policy = {}) {
  Replayed out;
  auto file = CaptureFile::open(path);
  if (!file) {
    out.trouble = file.error().sentence;
    return out;
  }
  Line line(out);
  if (policy != nullptr) line.on({{}, PolicyChanged{std::move(policy)}});
  Event event;
  while (file->next(event)) line.on(event);
  line.finish();
  out.lines.push_back(json_line(line.counters()));
  return out;
}

inline Replayed replay_log(const std::string& path) {
  Replayed out;
  std::ifstream input(path, std::ios::binary);
  auto reader = LogReader::open(input);
  if (!reader) {
    out.trouble = reader.error().sentence;
    return out;
  }
  Line line(out);
  Event event;
  while (reader->next(event)) line.on(event);
  line.finish();
  out.trouble = reader->damage().sentence;
  out.lines.push_back(json_line(line.counters()));
  return out;
}

inline std::string scratch(const std::string& name) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  return testing::TempDir() + "weir_" + test->name() + "_" + std::to_string(::getpid()) + "_" +
         name;
}

}  // namespace weir
