// Walks what hosts told of their use, as it came: the records of the telemetry lane. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "collector/store/fleet_store.h"
#include "core/base/bytes.h"

namespace weir {

// Number of the host whose certificate sent it, and a serialized Record. False: the walk ends here.
using OnTelemetry = std::function<bool(std::uint32_t host, Bytes record)>;

// Of what came from from_ms on. What is encrypted is passed over; a batch that is damaged ends
// where it can't be read on.
Result<void> walk_telemetry(FleetStore& fleet, const std::string& folder, std::int64_t from_ms,
                            const OnTelemetry& on);

}  // namespace weir
