// Mapping only; nothing is decided here.
#include "collector/services/messages.h"

#include <fmt/format.h>
#include <google/protobuf/message.h>

#include <charconv>

#include "collector/fleet/batch_reader.h"
#include "core/policy/explain.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

void set_seconds(google::protobuf::Timestamp& time, std::int64_t seconds) {
  time.set_seconds(seconds);
}

void add_text(v1::Reason& reason) {
  reason.set_text(explain(Reason{reason.code(), {reason.args().begin(), reason.args().end()}},
                          Language::english));
}

void add_step(v1::Explanation& path, const char* stage, const v1::Reason& reason) {
  v1::Explanation::Step& step = *path.add_steps();
  step.set_stage(stage);
  *step.mutable_reason() = reason;
}

}  // namespace

std::int64_t ns_of(const google::protobuf::Timestamp& time) {
  constexpr std::int64_t kMax = INT64_MAX / 1'000'000'000 - 1;
  return std::clamp(time.seconds(), -kMax, kMax) * 1'000'000'000 + time.nanos();
}

void to_proto(const HostView& host, v1::HostInfo& out) {
  const HostRow& row = host.row;
  out.mutable_host()->set_id(row.id);
  out.mutable_host()->set_name(row.name);
  out.set_group(row.group);
  out.set_state(static_cast<v1::HostInfo::State>(host.state));
  out.set_version(row.version);
  out.set_tier(row.tier);
  (void)out.mutable_policy()->ParseFromString(row.policy_state);
  for (v1::Reason& why : *out.mutable_policy()->mutable_why()) add_text(why);
  if (row.last_seen_s != 0) set_seconds(*out.mutable_last_seen(), row.last_seen_s);
  set_seconds(*out.mutable_enrolled(), row.enrolled_s);
  set_seconds(*out.mutable_certificate_expires(), row.certificate_expires_s);
  v1::HostHealth health;
  if (health.ParseFromString(row.health) && health.has_place())
    *out.mutable_place() = health.place();
}

void to_proto(const CommandRow& command, v1::CommandInfo& out) {
  out.set_id(command.id);
  out.set_verb(static_cast<v1::CommandBody::Verb>(command.verb));
  out.set_asked_by(command.asked_by);
  set_seconds(*out.mutable_asked(), command.asked_s);
  set_seconds(*out.mutable_expires(), command.expires_s);
  if (command.result.empty() || !out.mutable_result()->ParseFromString(command.result)) return;
  for (v1::Reason& why : *out.mutable_result()->mutable_why()) add_text(why);
}

void to_proto(const TokenRow& token, v1::TokenInfo& out) {
  out.set_id(token.id);
  out.set_group(token.group);
  out.set_uses(token.uses);
  out.set_max_uses(token.max_uses);
  set_seconds(*out.mutable_expires(), token.expires_s);
  out.set_created_by(token.created_by);
  out.set_revoked(token.revoked);
}

Reply<std::optional<ReportQuery>> query_of(const v1::ReportFilter& filter, const Hosts& hosts,
                                           std::int64_t now_s) {
  ReportQuery query;
  if (filter.has_from()) query.from_ns = ns_of(filter.from());
  if (filter.has_to()) query.to_ns = ns_of(filter.to());
  if (!filter.host_id().empty()) {
    std::optional<HostView> host = hosts.find(filter.host_id(), now_s);
    if (!host) return std::optional<ReportQuery>();
    query.host = host->row.number;
  }
  if (filter.person().user().has_sid())
    return refuse(Refusal::Kind::not_built, "reports can't be looked up by SID in this version");
  if (filter.person().user().has_uid()) query.uid = filter.person().user().uid();
  query.person = filter.person().name();
  query.detector = filter.detector();
  query.rule = filter.rule();
  query.service = filter.service();
  query.least_severity = static_cast<int>(filter.least_severity());
  return std::optional<ReportQuery>(std::move(query));
}

bool to_proto(const StoredReport& stored, const Hosts& hosts, v1::Report& out) {
  std::optional<HostView> host = hosts.find(stored.host, 0);
  if (!host) return false;
  return report_in(stored.ciphertext, host->row.id, host->row.name, out);
}

void add_texts(v1::Report& report) {
  for (v1::Reason& reason : *report.mutable_finding()->mutable_because()) add_text(reason);
  for (v1::Reason& reason : *report.mutable_decision()->mutable_because()) add_text(reason);
}

void explain_path(const v1::Report& report, v1::Explanation& out) {
  *out.mutable_report() = report;
  for (const v1::Reason& reason : report.finding().because()) add_step(out, "detect", reason);
  const v1::Decision& decision = report.decision();
  if (!decision.rule().empty()) {
    out.add_matched(decision.rule());
    v1::Reason matched;
    matched.set_code("rule_matched");
    matched.add_args(decision.rule());
    add_text(matched);
    add_step(out, "decide", matched);
  }
  for (const v1::Reason& reason : decision.because()) add_step(out, "decide", reason);
  v1::Reason done;
  done.set_code(decision.enforced() ? "enforced" : "observed");
  done.set_text(fmt::format("{}: {}", v1::Action::Value_Name(decision.action()),
                            decision.enforced() ? "enforced." : "only reported."));
  add_step(out, "enforce", done);
}

std::string place_text(RecordPosition at) {
  return fmt::format("{}-{}", at.day, at.record);
}

Reply<RecordPosition> place_of(const std::string& text) {
  RecordPosition at;
  const char* end = text.data() + text.size();
  auto day = std::from_chars(text.data(), end, at.day);
  if (day.ec == std::errc() && day.ptr != end && *day.ptr == '-') {
    auto record = std::from_chars(day.ptr + 1, end, at.record);
    if (record.ec == std::errc() && record.ptr == end && at.day >= 0 && at.record >= 0) return at;
  }
  return refuse(Refusal::Kind::invalid, "no place that this collector gave");
}

}  // namespace weir
