// dns_tunnel: data that leaves in the names of DNS questions. For each (process tree or client,
// registered zone) a ledger bounds from above what the zone's servers were told; a finding needs
// that bound to pass a level, lower the more the names look like a program's.
#pragma once

#include <memory>

#include "core/detect/detector.h"

namespace weir {

std::unique_ptr<Detector> make_dns_tunnel();

}  // namespace weir
