// Event ↔ weir.v1.Event. Thread: any.
#pragma once

#include <string>

#include "core/base/result.h"
#include "core/event/event.h"

namespace weir {

namespace v1 {
class Event;
}

void to_proto(const Event& event, v1::Event& out);

// The event, or one sentence about what it can't be: a body that this version does not know, a
// number out of range, a policy that it can't obey. Spans and views point into `in`.
Result<Event> from_proto(const v1::Event& in);

}  // namespace weir
