// The line's results as messages of report.proto, and any message as one line of JSON: what
// `--format json` prints. Foreign text (names, programs) is escaped so that a line stays one line.
// Thread: any.
#pragma once

#include <string>

#include "core/event/report.h"
#include "core/policy/explain.h"

namespace google::protobuf {
class Message;
}

namespace weir {

struct Counters;
namespace v1 {
class Flow;
class Report;
class Summary;
class UsageRow;
}  // namespace v1

// `language` is that of Reason.text; on the wire between programs it stays empty: see to_proto.
std::string json_line(const Report& report, Language language);
std::string json_line(const FlowRecord& flow);
std::string json_line(const UsageRow& row);
std::string json_line(const Counters& counters);

// Canonical proto3 JSON without a line break, defaults printed, maps in the order of their keys:
// the same message gives the same bytes.
std::string json_line(const google::protobuf::Message& message);

void to_proto(const Report& report, v1::Report& out);
void to_proto(const FlowRecord& flow, v1::Flow& out);
void to_proto(const UsageRow& row, v1::UsageRow& out);
void to_proto(const Counters& counters, v1::Summary& out);
void add_texts(Language language, v1::Report& report);  // fills every Reason.text

}  // namespace weir
