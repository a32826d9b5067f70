// Prints what leaves the line: for people, or as JSON Lines. The same words for `replay` and `run`.
#pragma once

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "core/event/report.h"
#include "core/line/counters.h"
#include "core/line/line.h"
#include "core/policy/explain.h"

namespace weir {

enum class Format : std::uint8_t { text, json };

// Reports that wait for their last revision: a capture has a few. More are printed in two parts.
inline constexpr std::size_t kMaxHeldReports = 16384;

struct PrinterOptions {
  Format format = Format::text;
  bool flows = false;  // Flow records too
  bool hold = false;   // text: only the last revision of each report, when flush() is called
  bool colour = false;
  Language language = Language::english;
};

// Chinese where LC_ALL, LC_MESSAGES or LANG says so (first that is set), else English.
Language language_of_caller();

// The text for the caller's language, where a sentence has no place in the tables of reasons.
inline std::string_view either(Language language, std::string_view english,
                               std::string_view chinese) {
  return language == Language::chinese ? chinese : english;
}
// Colour only where `to` is a terminal and NO_COLOR is not set.
bool wants_colour(std::FILE* to);

class Printer final : public Outlet {
 public:
  Printer(std::FILE* to, PrinterOptions options) : to_(to), options_(options) {}

  void capture(std::string file) { capture_ = std::move(file); }  // what reports say they are from
  void enforce(const Order&) override {}
  void report(const Report& report) override;
  void flow(const FlowRecord& flow) override;
  void usage(const UsageRow&) override {}
  void flush();  // what was held back, in order of first appearance
  void summary(const Counters& counters);
  bool failed() const { return std::ferror(to_) != 0; }

 private:
  void print(const Report& report);
  std::string paint(Severity severity, std::string_view text) const;

  std::FILE* to_;
  PrinterOptions options_;
  std::string capture_;
  std::vector<Report> held_;
  std::map<std::string, std::size_t> held_by_id_;
};

}  // namespace weir
