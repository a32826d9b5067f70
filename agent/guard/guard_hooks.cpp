// The guard's look at its own hooks and pins: what somebody took away is put back, and told.
#include <fmt/format.h>

#include <algorithm>

#include "agent/guard/guard.h"
#include "core/base/fixed_text.h"
#include "core/event/event.h"
#include "platform/linux/device_bytes.h"

namespace weir {
namespace {

constexpr std::uint64_t kPinsNs = 4'000'000'000;  // while we run nothing gets out for their lack

static_assert(static_cast<std::uint32_t>(HookRemoved::What::more) == wire::kMoreRemoved);
static_assert(static_cast<std::uint32_t>(HookRemoved::What::silent) == wire::kSilent);

HookRemoved::What what_of(const Removed& removed) {
  switch (removed.what) {
    case Removed::What::hook:
      break;
    case Removed::What::program:
      return HookRemoved::What::program;
    case Removed::What::pins:
      return HookRemoved::What::pins;
  }
  return HookRemoved::What::hook;
}

}  // namespace

// Once a second, at the pins every four. How long nothing held is known from look to look; what
// left meanwhile by the devices' own counters, which count everybody's.
void Guard::look_at_hooks(std::uint64_t now) {
  kernel_.look_at_wire();
  const bool pins = now - pins_looked_ns_ >= kPinsNs;
  const std::vector<Removed> all =
      kernel_.mend(pins ? KernelPart::Look::at_all : KernelPart::Look::at_hooks);
  const std::uint64_t sent = bytes_sent_by_devices();
  const bool first = looked_ns_ == 0;
  for (const Removed& removed : all) {
    wire::HookRemoved message;
    message.what = static_cast<std::uint32_t>(what_of(removed));
    message.count = removed.count;
    message.restored = removed.problem.empty() ? 1 : 0;
    const bool of_pins = removed.what == Removed::What::pins;
    const std::uint64_t since = of_pins ? pins_looked_ns_ : looked_ns_;
    const std::uint64_t before = of_pins ? sent_when_pins_looked_ : sent_when_looked_;
    message.open_ns = first ? 0 : static_cast<std::int64_t>(now - since);
    message.sent = first ? 0 : sent - std::min(sent, before);
    put_name(message.name, removed.name);
    put_name(message.problem, removed.problem);
    tampering_.found(message, now);
    fmt::print(stderr, "weir-guard: {} was removed{}; {}\n", removed.name,
               removed.count > 1 ? fmt::format(" with {} more", removed.count - 1) : "",
               removed.problem.empty() ? "it is back" : removed.problem);
  }
  looked_ns_ = now;
  sent_when_looked_ = sent;
  if (pins) {
    pins_looked_ns_ = now;
    sent_when_pins_looked_ = sent;
  }
  tell_removed(now);
}

// What stands in its place and does nothing any more: only a try can tell.
void Guard::hear_canary(std::uint64_t now) {
  for (const ControlChanged& change : controls_.hear(now)) {
    wire::HookRemoved message;
    message.what = wire::kSilent;
    message.count = 1;
    message.restored = change.works ? 1 : 0;
    put_name(message.name, change.program);
    put_name(message.problem, change.detail);
    tampering_.found(message, now);
    fmt::print(stderr, "weir-guard: {} {}: {}\n", change.program,
               change.works ? "works again" : "does not work, although it is in its place",
               change.detail);
  }
  tell_removed(now);
}

void Guard::tell_removed(std::uint64_t now) {
  while (std::optional<wire::HookRemoved> next = tampering_.next(now)) {
    if (!tell(*next)) return;
    tampering_.told();
  }
}

}  // namespace weir
