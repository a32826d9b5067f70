// Commands on their way through the uplink: handed to the guard unread, one after the other; what
// it answers goes up. Two verbs are the uplink's own to do once the guard says so: a health report,
// and a new certificate. Thread: the uplink's.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "agent/guard/uplink_messages.h"

namespace weir {

namespace v1 {
class Command;
class CommandResult;
}  // namespace v1

class UplinkCommands {
 public:
  UplinkCommands();
  ~UplinkCommands();

  void take(const v1::Command& command);  // one that waits already is not taken twice
  // Nothing more is to be read from the collector while so many wait.
  bool is_full() const;

  bool has_offer() const;
  v1::Command take_offer();
  void not_offered(const std::string& id, const std::string& sentence);

  enum class Now : std::uint8_t { nothing, health, renew };
  Now heard(const wire::CommandOutcomeMessage& outcome);  // what the uplink is to do
  void renewed(const std::string& refusal);  // a try has ended; "": there is a new certificate

  bool has_answer() const;
  v1::CommandResult take_answer();
  std::uint64_t taken() const { return taken_; }

 private:
  v1::CommandResult& answer(const std::string& id, bool done);
  std::deque<v1::Command> offers_;
  std::deque<v1::CommandResult> answers_;
  std::vector<std::string> renewing_;  // ids that wait for a certificate
  std::uint64_t taken_ = 0;
};

}  // namespace weir
