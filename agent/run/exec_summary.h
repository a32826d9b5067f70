// What `weir exec` says at its end: what left, where to, whether the limit stopped it, and what
// that many bytes are worth in customers. Values in, text out; no OS call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/event/address.h"
#include "core/event/report.h"
#include "core/policy/explain.h"

namespace weir {

struct ExecPlace {
  Endpoint endpoint;
  Transport transport = Transport::other;
  std::string name;  // server name or resolver's answer, "" if none was seen
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_refused = 0;
};

// What a rule of --policy said about the command: the last revision of a report.
struct ExecReport {
  std::string id;
  std::uint32_t revision = 0;
  std::string rule;             // "" for the built-in default
  bool stopped = false;         // something did not leave because of it
  std::vector<Reason> because;  // finding's
  std::string json;             // all of it, weir.v1.Report
};

struct ExecSummary {
  std::uint64_t limit = 0;
  std::int64_t window_ns = 0;  // 0: a total for the run
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_refused = 0;
  std::vector<ExecPlace> places;  // most bytes first
  std::uint32_t places_dropped = 0;
  bool stopped = false;
  int exit_status = 0;  // of the command; 128 + signal
  std::vector<Reason> notes;
  std::vector<ExecReport> reports;  // with --policy
};

// Destinations that one summary keeps; a crawler has thousands and nobody reads them. The bytes of
// the others are in the totals, their number is told.
inline constexpr std::size_t kMaxPlaces = 256;
inline constexpr std::size_t kShownPlaces = 12;  // in text: half a terminal

// Full customer records (name, phone, identity number, address, date, amount; 103 bytes each) that
// fit into 64 KiB after xz: 2,553 of 100,000 generated ones (deflate 1,906, raw 637). What leaves
// may be compressed, so the best of them is the bound that is told.
inline constexpr std::uint64_t kRecordsPer64KiB = 2553;
std::uint64_t customers_at_most(std::uint64_t bytes);

inline constexpr std::size_t kShownReports = 8;  // in text; the JSON has all

// From a line of the agent's reports; none: it is no report.
std::optional<ExecReport> exec_report(const std::string& json);

std::string text_of(const ExecSummary& summary, Language language);
std::string json_of(const ExecSummary& summary,
                    Language language);  // weir.v1.ExecSummary, one line

}  // namespace weir
