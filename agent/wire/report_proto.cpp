// The line's results as messages of report.proto: see report_proto.h.
#include "agent/wire/report_proto.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver_util.h>

#include <limits>
#include <memory>

#include "core/line/counters.h"
#include "proto/map/enums.h"
#include "proto/map/text.h"
#include "weir/v1/report.pb.h"

namespace weir {
namespace {

using map::wire_of;

constexpr std::int64_t kNanosInSecond = 1'000'000'000;

std::uint32_t saturated(std::uint64_t count) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(std::min(count, kMost));
}

void put_time(std::int64_t wall_ns, google::protobuf::Timestamp* out) {
  std::int64_t seconds = wall_ns / kNanosInSecond;
  std::int64_t nanos = wall_ns % kNanosInSecond;
  if (nanos < 0) {  // before 1970: Timestamp counts nanoseconds forward
    --seconds;
    nanos += kNanosInSecond;
  }
  out->set_seconds(seconds);
  out->set_nanos(static_cast<std::int32_t>(nanos));
}

void put(const std::vector<Reason>& because, google::protobuf::RepeatedPtrField<v1::Reason>* out) {
  for (const Reason& reason : because) {
    v1::Reason* to = out->Add();
    to->set_code(shown(reason.code));
    for (const std::string& arg : reason.args) to->add_args(shown(arg));
  }
}

void put(const Finding& finding, v1::Finding* out) {
  out->set_detector(shown(finding.detector));
  out->set_severity(wire_of(map::kSeverities, finding.severity));
  out->set_confidence(finding.confidence);
  put(finding.because, out->mutable_because());
  for (const std::string& technique : finding.attack) out->add_attack(shown(technique));
}

void put(const Destination& destination, v1::Destination* out) {
  const Endpoint& endpoint = destination.endpoint;
  if (endpoint.address != IpAddress{}) out->set_address(endpoint.address.text());
  out->set_port(endpoint.port);
  out->set_name(shown(destination.name));
  out->set_zone(shown(destination.zone));
  out->set_service(shown(destination.service));
  out->set_category(shown(destination.category));
  out->set_channel(shown(destination.channel));
  out->set_trust(wire_of(map::kTrusts, destination.trust));
  if (destination.name_proven) out->set_name_proven(true);
}

void put(const Actor& actor, v1::Actor* out) {
  out->set_tree(actor.tree);
  if (actor.person != kNoPerson) out->mutable_person()->mutable_user()->set_uid(actor.person);
  out->set_pid(actor.pid);
  out->set_program(shown(actor.program));
  if (out->program() != actor.program) {
    out->mutable_program_path()->set_raw(actor.program);
    out->mutable_program_path()->set_encoding(is_utf8(actor.program) ? v1::Path::utf8
                                                                     : v1::Path::opaque);
  }
  if (actor.address != IpAddress{}) out->set_address(actor.address.text());
}

void put(const Decision& decision, v1::Decision* out) {
  out->set_action(wire_of(map::kActions, decision.action));
  out->set_rule(shown(decision.rule));
  out->set_policy_number(decision.policy_number);
  out->set_enforced(decision.enforced);
  put(decision.because, out->mutable_because());
}

void add_texts(Language language, google::protobuf::RepeatedPtrField<v1::Reason>* reasons) {
  for (v1::Reason& reason : *reasons) {
    reason.set_text(
        explain(Reason{reason.code(), {reason.args().begin(), reason.args().end()}}, language));
  }
}

// Maps serialize in an order of their own unless told otherwise; MessageToJsonString doesn't tell.
std::string deterministic_bytes(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

constexpr char kTypePrefix[] = "type.googleapis.com";

google::protobuf::util::TypeResolver& type_resolver() {
  static const std::unique_ptr<google::protobuf::util::TypeResolver> kResolver(
      google::protobuf::util::NewTypeResolverForDescriptorPool(
          kTypePrefix, google::protobuf::DescriptorPool::generated_pool()));
  return *kResolver;
}

}  // namespace

void to_proto(const Report& report, v1::Report& out) {
  out.Clear();
  out.set_id(shown(report.id));
  out.set_revision(report.revision);
  out.set_group(shown(report.group));
  put_time(report.at.wall_ns, out.mutable_time());
  put_time(report.updated.wall_ns, out.mutable_updated());
  out.set_capture(shown(report.capture));
  put(report.finding, out.mutable_finding());
  put(report.destination, out.mutable_destination());
  put(report.actor, out.mutable_actor());
  out.set_bytes_out(report.bytes_out);
  out.set_bytes_in(report.bytes_in);
  out.set_customers(report.customers);
  put(report.decision, out.mutable_decision());
}

void to_proto(const FlowRecord& flow, v1::Flow& out) {
  out.Clear();
  out.set_protocol(shown(flow.protocol));
  out.set_client(flow.key.client.text());
  out.set_server(flow.key.server.text());
  out.set_server_name(shown(flow.server_name));
  out.set_alpn(shown(flow.alpn));
  out.set_ja4(shown(flow.ja4));
  out.set_bytes_out(flow.bytes_out);
  out.set_bytes_in(flow.bytes_in);
  put_time(flow.first_seen_ns, out.mutable_first_seen());
  put_time(flow.last_seen_ns, out.mutable_last_seen());
}

void to_proto(const UsageRow& row, v1::UsageRow& out) {
  out.Clear();
  if (row.person != kNoPerson) out.mutable_person()->mutable_user()->set_uid(row.person);
  out.set_program(shown(row.program));
  out.set_destination(shown(row.destination));
  out.set_trust(wire_of(map::kTrusts, row.trust));
  out.mutable_hour()->set_seconds(row.hour * 3600);
  out.set_bytes_out(row.bytes_out);
  out.set_bytes_in(row.bytes_in);
  out.set_flows(row.flows);
  out.set_name_proven(row.name_proven);
}

void to_proto(const Counters& counters, v1::Summary& out) {
  out.Clear();
  out.set_packets(saturated(counters.net.packets));
  out.set_bytes(counters.net.bytes);
  out.set_flows(saturated(counters.net.flows));
  for (std::size_t kind = 0; kind < counters.net.malformed.size(); ++kind) {
    (*out.mutable_malformed())[std::string(name_of(static_cast<Damage>(kind)))] =
        saturated(counters.net.malformed[kind]);
  }
  for (const auto& [name, count] : dropped_by_limit(counters)) {
    (*out.mutable_dropped())[std::string(name)] = saturated(count);
  }
}

void add_texts(Language language, v1::Report& report) {
  add_texts(language, report.mutable_finding()->mutable_because());
  add_texts(language, report.mutable_decision()->mutable_because());
}

std::string json_line(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string line;
  auto status = google::protobuf::util::BinaryToJsonString(
      &type_resolver(), std::string(kTypePrefix) + "/" + message.GetDescriptor()->full_name(),
      deterministic_bytes(message), &line, options);
  WEIR_CHECK(status.ok());  // all text was made valid UTF-8 and all times are in range
  return line;
}

std::string json_line(const Report& report, Language language) {
  v1::Report message;
  to_proto(report, message);
  add_texts(language, message);
  return json_line(message);
}

std::string json_line(const FlowRecord& flow) {
  v1::Flow message;
  to_proto(flow, message);
  return json_line(message);
}

std::string json_line(const UsageRow& row) {
  v1::UsageRow message;
  to_proto(row, message);
  return json_line(message);
}

std::string json_line(const Counters& counters) {
  v1::Summary message;
  to_proto(counters, message);
  return json_line(message);
}

}  // namespace weir
