// Tells a service manager what this process is up to: datagrams to the socket that it named in
// NOTIFY_SOCKET (sd_notify(3)). Does nothing where none is named. Thread: the caller's.
#pragma once

#include <string_view>

namespace weir {

// `state`: "READY=1", "WATCHDOG=1", "STOPPING=1". A message that can't be sent is lost: the manager
// sees that itself.
void notify_manager(std::string_view state);

// How often the manager has to hear "WATCHDOG=1", in milliseconds: half of the time after which it
// gives us up. -1: it watches nothing, or another process.
int watchdog_period_ms();

}  // namespace weir
