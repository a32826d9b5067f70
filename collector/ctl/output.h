// Answers for people (a table) and for programs (JSON Lines, YAML). Foreign text is shown escaped.
// Thread: one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace google::protobuf {
class Message;
class Timestamp;
}  // namespace google::protobuf

namespace weir {

namespace v1 {
class Destination;
class Person;
class Report;
}  // namespace v1

enum class Output : std::uint8_t { table, json, yaml };

// Columns as wide as their widest cell; the last is never cut. Cells are escaped
// (proto/map/text.h).
class Table {
 public:
  explicit Table(std::vector<std::string> head) : rows_{std::move(head)} {}
  void add(std::vector<std::string> row);
  void print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

void print_message(const google::protobuf::Message& message, Output output);  // json or yaml

// A report in a line, escaped; `kReportHead` is what its cells are.
std::vector<std::string> report_row(const v1::Report& report);
extern const std::vector<std::string> kReportHead;

std::string person_text(const v1::Person& person);               // "lin", "uid 1000", "-"
std::string place_text(const v1::Destination& destination);      // what names it best
std::string time_text(const google::protobuf::Timestamp& time);  // RFC 3339, "-" for none
std::string size_text(std::uint64_t bytes);                      // "1.5 MiB"

}  // namespace weir
