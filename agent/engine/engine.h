// The engine's loop: ring and guard in, events to the line, the line's results out. Nothing is
// opened here; every descriptor came from the guard. Thread: one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/engine/logins.h"
#include "agent/engine/outlet.h"
#include "agent/engine/ring_events.h"
#include "core/event/event.h"
#include "core/line/line.h"
#include "platform/event_log/event_log.h"
#include "platform/files/fd.h"
#include "platform/linux/event_ring.h"

namespace weir {

struct EngineFacts {  // gathered before the seal
  std::string host;
  std::string boot_id;
  std::uint8_t tier = 1;
  std::vector<std::pair<std::string, PersonId>> accounts;  // names of utmp to persons
};

struct EngineSources {
  EventRing* ring = nullptr;  // or, without BPF:
  int packets = -1;           // a packet socket
  int guard = -1;
  int utmp = -1;  // -1: the host has none
};

class Engine {
 public:
  Engine(Line& line, EngineOutlet& outlet, GuardLine& guard, LogWriter* log,
         const EngineSources& sources, EngineFacts facts);

  void begin(
      std::shared_ptr<const Policy> policy);  // host and policy enter, the guard hears `ready`
  int run();                                  // until the guard says stop; the exit status

 private:
  void feed(const Event& event);
  void read_ring();
  void read_packets();
  bool read_guard();                                                   // false: stop
  bool take_policy(const wire::PolicyGiven& given, const Fd& memory);  // false: stop
  bool take_exceptions(const wire::ExceptionsGiven& given, const Fd& memory);
  bool take_hold_ended(const wire::HoldEnded& ended, const Fd& memory);
  bool take_request(const wire::RequestGiven& given, const Fd& memory);
  void each_second();
  void read_logins();
  Stamp now() const;

  Line& line_;
  EngineOutlet& outlet_;
  GuardLine& guard_line_;
  LogWriter* log_;
  EngineSources sources_;
  EngineFacts facts_;
  RingDamage damage_;
  std::vector<Login> logins_;
  std::vector<std::uint8_t> buffer_;
  std::uint32_t from_guard_ = 0;  // sequence that is expected next
  std::int64_t boot_to_wall_ns_ = 0;
  std::int64_t second_ns_ = 0;
  static constexpr std::int64_t kRestNs = 500'000'000;  // where the last look found no record
  std::int64_t look_ns_ = kRestNs;  // at the ring at the latest; without one nobody changes it
};

}  // namespace weir
