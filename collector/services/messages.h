// The collector's values as messages of admin.proto. Thread: any.
#pragma once

#include <optional>
#include <string>

#include "collector/base/refusal.h"
#include "collector/fleet/hosts.h"
#include "collector/store/report_reader.h"

namespace google::protobuf {
class Timestamp;
}

namespace weir {

namespace v1 {
class CommandInfo;
class Explanation;
class HostInfo;
class Report;
class ReportFilter;
class TokenInfo;
}  // namespace v1

std::int64_t ns_of(
    const google::protobuf::Timestamp& time);  // since 1970; what it can't hold is cut

void to_proto(const HostView& host, v1::HostInfo& out);
void to_proto(const CommandRow& command, v1::CommandInfo& out);  // with texts
void to_proto(const TokenRow& token, v1::TokenInfo& out);

// nothing: nobody can match (a host that is not known).
Reply<std::optional<ReportQuery>> query_of(const v1::ReportFilter& filter, const Hosts& hosts,
                                           std::int64_t now_s);

// The stored report with its host; false: it can't be read.
bool to_proto(const StoredReport& stored, const Hosts& hosts, v1::Report& out);
void add_texts(v1::Report& report);                                 // every Reason.text, in English
void explain_path(const v1::Report& report, v1::Explanation& out);  // of a report with texts

// Opaque to clients: where a page or a watch goes on.
std::string place_text(RecordPosition at);
Reply<RecordPosition> place_of(const std::string& text);

}  // namespace weir
