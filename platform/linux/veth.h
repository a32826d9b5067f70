// A pair of network devices between two network namespaces, with an address of both families at
// each end. For namespaces of our own: what stood there before is not looked at. Thread: any.
#pragma once

#include <sys/types.h>

#include "core/base/result.h"

namespace weir {

inline constexpr char kVethName[] = "weir0";
// For documentation (RFC 5737, RFC 3849): nothing real has them.
struct VethEnd {
  const char *address4, *address6;
};
inline constexpr VethEnd kNearEnd{"192.0.2.1", "2001:db8::1"};
inline constexpr VethEnd kFarEnd{"192.0.2.2", "2001:db8::2"};

// In the caller's namespace, with the other end in that of process `peer`; both called kVethName.
Result<void> make_veth(pid_t peer);
// Gives the device of the caller's namespace its addresses and switches it on.
Result<void> raise_veth(const VethEnd& end);

}  // namespace weir
