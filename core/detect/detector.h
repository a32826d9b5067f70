// A detector watches observations and yields signals: findings with whom and where. One file each,
// one line in detectors.cpp. State is bounded; time comes from the events.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/event/event.h"
#include "core/event/report.h"
#include "core/net/flows.h"

namespace weir {

class Catalogue;

struct Signal {
  Finding finding;
  Destination destination;  // endpoint, name, zone, service, category, channel as far as known
  Actor actor;
  SocketRef socket;
  std::uint64_t bytes_out = 0;  // what the detector counted so far, for this actor and destination
  std::uint64_t bytes_in = 0;
  std::uint64_t burst = 0;  // of an upload burst, else 0
  std::string key;          // what it is about: the zone, the service or name, the address
};

class Detector {
 public:
  virtual ~Detector() = default;
  virtual std::string_view id() const = 0;
  // One observation (packet or ledger record) in order of arrival. A signal is given again whenever
  // its numbers grew by a notable step (doubling), so that the report can be revised.
  virtual void on(const Observation& seen, const Stamp& at, std::vector<Signal>& out) = 0;
  virtual void tick(const Stamp& now, std::vector<Signal>& out) = 0;
  virtual void finish(
      std::vector<Signal>& out) = 0;  // end of input: final numbers of what was signalled
  virtual std::uint64_t dropped() const { return 0; }  // state forgotten because a table was full
};

std::vector<std::unique_ptr<Detector>> make_detectors(const Catalogue& catalogue);

}  // namespace weir
