// What the engine reports, as serialized weir.v1.Record: see spool_records.h.
#include "agent/engine/spool_records.h"

#include <memory>

#include "agent/guard/uplink_messages.h"
#include "agent/wire/report_proto.h"
#include "core/base/command_id.h"
#include "core/policy/policy.h"
#include "platform/event_log/event_proto.h"
#include "proto/map/text.h"
#include "weir/v1/agent.pb.h"

namespace weir {

std::string record_of(const Report& report) {
  v1::Record record;
  to_proto(report, *record.mutable_report());
  return record.SerializeAsString();
}

std::string record_of(const UsageRow& row) {
  v1::Record record;
  to_proto(row, *record.mutable_usage());
  return record.SerializeAsString();
}

std::string record_of(const Gap& gap) {
  v1::Record record;
  record.mutable_gap()->set_what(shown(gap.what));
  record.mutable_gap()->set_lost(gap.lost);
  return record.SerializeAsString();
}

std::string record_of(const wire::CommandTold& told, const Stamp& at) {
  v1::Record record;
  v1::CommandRecord& out = *record.mutable_command();
  out.mutable_at()->set_boot_ns(at.boot_ns);
  out.mutable_at()->set_wall_ns(at.wall_ns);
  out.set_id(text_of_command_id(told.id));
  out.set_verb(static_cast<v1::CommandBody::Verb>(told.verb));
  out.set_outcome(static_cast<v1::CommandResult::Outcome>(told.outcome));
  for (std::uint32_t n = 0; n < told.keys; ++n)
    out.add_key_ids(told.key[n].data(), told.key[n].size());
  out.set_asked(shown(told.asked.data()));
  const auto reason = static_cast<wire::CommandRefusal>(told.reason);
  if (reason == wire::CommandRefusal::none || told.reason >= wire::kCommandRefusals)
    return record.SerializeAsString();
  out.add_why()->set_code(std::string(wire::code_of(reason)));
  if (std::string words = shown(told.words.data()); !words.empty())
    out.mutable_why(0)->add_args(words);
  return record.SerializeAsString();
}

std::optional<std::string> request_record_of(Bytes bytes) {
  v1::Record record;
  v1::ExceptionRequest& request = *record.mutable_exception_request();
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      request.id().empty() || !request.has_person())
    return std::nullopt;
  return record.SerializeAsString();
}

std::optional<std::string> audit_record_of(const Event& event) {
  if (const Gap* gap = std::get_if<Gap>(&event.body)) return record_of(*gap);
  if (!std::holds_alternative<Session>(event.body) &&
      !std::holds_alternative<PolicyChanged>(event.body) &&
      !std::holds_alternative<HostStarted>(event.body))
    return std::nullopt;
  v1::Record record;
  if (const auto* changed = std::get_if<PolicyChanged>(&event.body)) {
    // Which one, not all of it: the collector has it, and it may be larger than a record.
    auto named = std::make_shared<Policy>();
    named->number = changed->policy->number;
    named->mode = changed->policy->mode;
    to_proto(Event{event.at, PolicyChanged{std::move(named)}}, *record.mutable_event());
  } else {
    to_proto(event, *record.mutable_event());
  }
  return record.SerializeAsString();
}

}  // namespace weir
