// The uplink's end of its line to the guard (agent/guard/uplink_messages.h): beats and signed
// policies out, policy states in. A policy is handed on as it came: its envelope is opaque here.
// Thread: one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/guard/uplink_messages.h"
#include "core/base/result.h"

namespace weir {

namespace v1 {
class SignedPolicy;
class PolicyState;
}  // namespace v1

class UplinkGuardLine {
 public:
  explicit UplinkGuardLine(int fd) : fd_(fd) {}

  bool beat(std::uint64_t boot_ns);                    // false: the guard is gone
  Result<void> offer(const v1::SignedPolicy& policy);  // an Error: why it isn't handed on

  struct Heard {
    std::optional<wire::PolicyStateMessage> state;
    bool stop = false;  // or the guard is gone, or speaks nonsense
  };
  Heard hear();  // nothing in it: nothing (more) came

 private:
  const int fd_;
  std::uint32_t sequence_ = 0, heard_ = 0;
};

void to_proto(const wire::PolicyStateMessage& state, v1::PolicyState& out);

}  // namespace weir
