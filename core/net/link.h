// Link layers: from a captured frame to the IP packet that it carries.
#pragma once

#include <cstddef>

#include "core/base/bytes.h"
#include "core/event/event.h"
#include "core/net/damage.h"

namespace weir {

inline constexpr std::size_t kMaxTags =
    8;  // VLAN tags or MPLS labels; QinQ has two, a provider four

// The bytes from the IP header to the end of the frame, padding included. `unsupported` where the
// frame carries something else (ARP, LLDP …).
Parsed<Bytes> ip_in_frame(LinkType link, Bytes frame);

}  // namespace weir
