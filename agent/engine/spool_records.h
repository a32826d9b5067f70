// What the engine reports, as serialized weir.v1.Record: what the spool holds and the collector
// gets. Thread: any.
#pragma once

#include <optional>
#include <string>

#include "agent/guard/messages.h"
#include "core/event/event.h"
#include "core/event/report.h"

namespace weir {

// Of serialized weir.v1.ExceptionRequest; nothing: it is none.
std::optional<std::string> request_record_of(Bytes bytes);

std::string record_of(const Report& report);  // without texts: the collector renders reasons
std::string record_of(const UsageRow& row);
std::string record_of(const Gap& gap);
std::string record_of(const wire::CommandTold& told, const Stamp& at);
// Of the audit lane: sessions, changes of policy, starts, gaps. Nothing for every other event.
std::optional<std::string> audit_record_of(const Event& event);

}  // namespace weir
