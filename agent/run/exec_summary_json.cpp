// ExecSummary as the canonical JSON of weir.v1.ExecSummary; apart, because of protobuf's headers.
#include "agent/run/exec_summary.h"

#include <google/protobuf/util/json_util.h>

#include "agent/wire/report_proto.h"
#include "weir/v1/report.pb.h"

namespace weir {

using google::protobuf::util::JsonStringToMessage;

std::optional<ExecReport> exec_report(const std::string& json) {
  v1::Report message;
  if (!JsonStringToMessage(json, &message).ok() || message.id().empty()) return std::nullopt;
  ExecReport report;
  report.id = message.id();
  report.revision = message.revision();
  report.json = json;
  const v1::Decision& decision = message.decision();
  report.rule = decision.rule();
  // A finding under a limit that still has room stops nothing.
  bool stops = decision.action() == v1::Action::limit ? message.finding().detector() == "limit"
                                                      : decision.action() >= v1::Action::hold;
  report.stopped = decision.enforced() && stops;
  for (const v1::Reason& reason : message.finding().because())
    report.because.push_back({reason.code(), {reason.args().begin(), reason.args().end()}});
  return report;
}

std::string json_of(const ExecSummary& summary, Language language) {
  weir::v1::ExecSummary message;
  message.set_limit_bytes(summary.limit);
  message.set_window_s(static_cast<std::uint64_t>(summary.window_ns / 1'000'000'000));
  message.set_bytes_out(summary.bytes_out);
  message.set_bytes_in(summary.bytes_in);
  message.set_bytes_refused(summary.bytes_refused);
  for (const ExecPlace& place : summary.places) {
    weir::v1::ExecSummary::Place* row = message.add_places();
    std::string address = place.endpoint.address.text();
    row->set_name(place.name.empty() ? address : place.name);
    row->set_address(address);
    row->set_port(place.endpoint.port);
    row->set_bytes_out(place.bytes_out);
    row->set_bytes_in(place.bytes_in);
    row->set_bytes_refused(place.bytes_refused);
  }
  message.set_stopped(summary.stopped);
  message.set_exit_status(static_cast<std::uint32_t>(summary.exit_status));
  for (const Reason& note : summary.notes) {
    weir::v1::Reason* reason = message.add_notes();
    reason->set_code(note.code);
    for (const std::string& arg : note.args) reason->add_args(arg);
    reason->set_text(explain(note, language));
  }
  message.set_places_dropped(summary.places_dropped);
  for (const ExecReport& report : summary.reports) {
    weir::v1::Report* row = message.add_reports();
    if (JsonStringToMessage(report.json, row).ok()) add_texts(language, *row);
  }
  return json_line(message);
}

}  // namespace weir
