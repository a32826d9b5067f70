// The uplink's one loop: keeps a stream to the collector while it can, sends what the spool holds,
// notes what is acknowledged, hands signed policies to the guard and its answer to the collector,
// renews the host's certificate. Decides nothing: enforcement goes on whatever happens here.
// Thread: one, and one more while a certificate is renewed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace weir {

struct UplinkEnds {  // descriptors; agent/guard/descriptors.h
  int guard = -1, spool = -1, acknowledged = -1, identity = -1, news = -1;
};

struct UplinkFacts {
  std::string version{}, boot_id{}, hostname{};
  std::string collector{};  // host:port; "": what the enrolment said
};

class Uplink {
 public:
  Uplink(const UplinkEnds& ends, UplinkFacts facts);
  ~Uplink();
  int run();  // until the guard says stop, or is gone; the exit status

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir
