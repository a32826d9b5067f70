// The list of detectors: one line each, in the order in which they see an observation.
#include "core/detect/detector.h"
#include "core/detect/dns_tunnel.h"

namespace weir {

std::vector<std::unique_ptr<Detector>> make_detectors(const Catalogue&) {
  std::vector<std::unique_ptr<Detector>> all;
  all.push_back(make_dns_tunnel());
  return all;
}

}  // namespace weir
