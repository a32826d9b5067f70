// Answers for people and for programs: see output.h.
#include "collector/ctl/output.h"

#include <fmt/format.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "core/event/event.h"
#include "proto/map/text.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

using google::protobuf::Value;

// Scalars are the same in JSON and in YAML.
std::string scalar(const Value& value) {
  std::string text;
  (void)google::protobuf::util::MessageToJsonString(value, &text);
  return text;
}

// A value's lines below its key, or behind it where it has none below.
void print_yaml(const Value& value, int indent) {
  auto below = [](const Value& inner) {
    if (inner.has_struct_value() && inner.struct_value().fields_size() > 0) return true;
    return inner.has_list_value() && inner.list_value().values_size() > 0;
  };
  if (value.has_struct_value()) {
    // A map of protobuf has no order of its own.
    const auto& fields = value.struct_value().fields();
    for (const auto& [key, inner] : std::map<std::string, Value>(fields.begin(), fields.end())) {
      fmt::print("{:{}}{}:", "", indent, key);
      if (!below(inner)) fmt::print(" {}", scalar(inner));
      fmt::print("\n");
      if (below(inner)) print_yaml(inner, indent + 2);
    }
  }
  for (const Value& inner : value.list_value().values()) {
    fmt::print("{:{}}-", "", indent);
    if (!below(inner)) fmt::print(" {}", scalar(inner));
    fmt::print("\n");
    if (below(inner)) print_yaml(inner, indent + 2);
  }
}

// Columns of a terminal: an ideograph takes two. Bytes of UTF-8 that only continue take none.
std::size_t width(const std::string& text) {
  std::size_t columns = 0;
  for (unsigned char c : text)
    if ((c & 0xc0) != 0x80) columns += c >= 0xe3 && c < 0xf0 ? 2 : 1;
  return columns;
}

}  // namespace

void Table::add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = shown(cell);
  rows_.push_back(std::move(row));
}

void Table::print() const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_)
    for (std::size_t n = 0; n < widths.size(); ++n) widths[n] = std::max(widths[n], width(row[n]));
  for (const auto& row : rows_) {
    for (std::size_t n = 0; n + 1 < row.size(); ++n)
      fmt::print("{}{}", row[n], std::string(widths[n] - width(row[n]) + 2, ' '));
    fmt::print("{}\n", row.back());
  }
  std::fflush(stdout);
}

void print_message(const google::protobuf::Message& message, Output output) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  if (output == Output::json) {
    fmt::print("{}\n", json);
  } else {
    Value value;
    (void)google::protobuf::util::JsonStringToMessage(json, &value);
    fmt::print("---\n");
    print_yaml(value, 0);
  }
  std::fflush(stdout);
}

std::string time_text(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  google::protobuf::Timestamp seconds = time;
  seconds.set_nanos(0);
  return google::protobuf::util::TimeUtil::ToString(seconds);
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 4> kUnits{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  double size = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (size >= 1024 && unit + 1 < kUnits.size()) {
    size /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", size, kUnits[unit]);
}

std::string person_text(const v1::Person& person) {
  if (!person.name().empty()) return person.name();
  if (person.user().uid() == kForwarded) return "forwarded";
  if (person.user().has_uid()) return fmt::format("uid {}", person.user().uid());
  return person.user().has_sid() ? person.user().sid() : "-";
}

std::string place_text(const v1::Destination& place) {
  for (const std::string* name : {&place.service(), &place.name(), &place.zone(), &place.address()})
    if (!name->empty()) return *name;
  return "";
}

std::vector<std::string> report_row(const v1::Report& report) {
  std::vector<std::string> row{
      time_text(report.updated()),
      report.host().name().empty() ? report.host().id() : report.host().name(),
      report.actor().has_person() ? person_text(report.actor().person()) : report.actor().address(),
      report.actor().program(),
      place_text(report.destination()),
      size_text(report.bytes_out()),
      fmt::format("{}{}", v1::Action::Value_Name(report.decision().action()),
                  report.decision().enforced() ? "" : " (observed)"),
      report.decision().rule().empty() ? report.finding().detector() : report.decision().rule(),
      fmt::format("{}.{}", report.id(), report.revision())};
  for (std::string& cell : row) cell = shown(cell);
  return row;
}

const std::vector<std::string> kReportHead{"UPDATED", "HOST",   "PERSON", "PROGRAM",    "TO",
                                           "SENT",    "ACTION", "RULE",   "ID.REVISION"};

}  // namespace weir
