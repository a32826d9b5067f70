// Records of the kernel part's ring as events of the line. The records come from our own BPF
// programs, the packet heads in them from anywhere: a record that does not hold together is
// counted, never trusted. Pure; fuzzed (tests/fuzz/ring_events.cpp).
#pragma once

#include <cstdint>
#include <optional>

#include "agent/guard/messages.h"
#include "core/base/bytes.h"
#include "core/event/event.h"
#include "platform/linux/bpf/weir_abi.h"

namespace weir {

struct RingDamage {
  std::uint64_t malformed = 0;  // size or kind that can't be
  std::uint64_t unknown = 0;    // a kind that this version does not know
};

// The event, or none: a fork tells the line nothing, damage is counted. Spans point into `record`.
// `boot_to_wall_ns` is added to the record's boot time.
std::optional<Event> event_of(Bytes record, std::int64_t boot_to_wall_ns, RingDamage& damage);

// What the guard passes on, in the same form.
Event event_of(const weir_refused& refused, std::int64_t boot_to_wall_ns);
Event event_of(const wire::HoldEnded& ended, std::string_view because, const Stamp& at);
Event event_of(const weir_exec& exec, std::int64_t boot_to_wall_ns);  // program points into `exec`

// `su` or `sudo` was started: the session event that goes with it. The person is the login uid that
// the tree was started under, which neither program changes.
std::optional<Event> session_of(const Event& started);

}  // namespace weir
