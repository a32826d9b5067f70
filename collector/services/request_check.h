// Whether a decision is about the request that it names: what is signed must be for the same host,
// person, destination and rule, and for no more than was asked unless that is said. Pure. Thread:
// any.
#pragma once

#include <cstdint>
#include <string>

#include "collector/base/refusal.h"
#include "collector/store/fleet_store.h"

namespace weir {

namespace v1 {
class DecideRequestRequest;
}

inline constexpr std::size_t kMaxNote = 1'000;

// What `request` becomes. Its host is not looked at here: HostCommands::send() does.
Reply<RequestRow> decided(const RequestRow& request, const v1::DecideRequestRequest& decision,
                          const std::string& by, std::int64_t now_s);

}  // namespace weir
