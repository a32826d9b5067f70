// The list of detectors: one line each, in the order in which they see an observation.
#include "core/detect/bulk_egress.h"
#include "core/detect/cloud_upload.h"
#include "core/detect/detector.h"
#include "core/detect/dns_tunnel.h"

namespace weir {

std::vector<std::unique_ptr<Detector>> make_detectors(const Catalogue& catalogue) {
  std::vector<std::unique_ptr<Detector>> all;
  all.push_back(make_dns_tunnel());
  all.push_back(make_cloud_upload(catalogue));
  all.push_back(make_bulk_egress(catalogue));
  return all;
}

}  // namespace weir
