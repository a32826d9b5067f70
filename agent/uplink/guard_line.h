// The uplink's end of its line to the guard (agent/guard/uplink_messages.h): beats, signed
// policies, commands and keys out; what became of them in. They are handed on as they came: opaque
// here. Thread: one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/guard/uplink_messages.h"
#include "core/base/result.h"

namespace weir {

namespace v1 {
class Command;
class CommandResult;
class HostHealth;
class SignedPolicy;
class SignedTrust;
class PolicyState;
}  // namespace v1

class UplinkGuardLine {
 public:
  explicit UplinkGuardLine(int fd) : fd_(fd) {}

  bool beat(std::uint64_t boot_ns);                    // false: the guard is gone
  Result<void> offer(const v1::SignedPolicy& policy);  // an Error: why it isn't handed on
  Result<void> offer(const v1::Command& command);
  Result<void> offer(const v1::SignedTrust& trust);

  struct Heard {
    std::optional<wire::PolicyStateMessage> state;
    std::optional<wire::CommandOutcomeMessage> outcome;
    std::optional<wire::HostFactsMessage> facts;
    bool any = false;   // one of them
    bool stop = false;  // or the guard is gone, or speaks nonsense
  };
  Heard hear();  // nothing in it: nothing (more) came

 private:
  template <class Offer>
  Result<void> send(Offer& offer, const std::string& bytes);

  const int fd_;
  std::uint32_t sequence_ = 0, heard_ = 0;
};

void to_proto(const wire::PolicyStateMessage& state, v1::PolicyState& out);
void to_proto(const wire::CommandOutcomeMessage& outcome, v1::CommandResult& out);
void to_proto(const wire::HostFactsMessage& facts, v1::HostHealth& out);  // what the guard knows

}  // namespace weir
