// `weir-collector serve`: puts the parts together and keeps them until it is told to end.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/result.h"

namespace weir {

struct ServeOptions {
  std::string data;
  std::string listen = "0.0.0.0:9443";   // agents
  std::string console = "0.0.0.0:8443";  // console, API, enrolment, renewal
  std::string name;  // as clients know this collector; "": of the address, else the host's
  std::string console_cert;
  // Days of records that are kept; 0: all. The default outlives a quarter's questions, and a
  // policy's signature; what persons did is kept no longer without somebody's decision.
  std::int64_t keep_days = 90;
};

// `ready`: both doors are open. `wait`: returns when it is to end. `say`: a sentence for the log.
// `machine`: this host's own name.
Result<void> serve(const ServeOptions& options, const std::string& machine,
                   const std::function<void()>& ready, const std::function<void()>& wait,
                   const std::function<void(const std::string&)>& say);

}  // namespace weir
