// bulk_egress: much up to one destination that the catalogue does not know as taking uploads, while
// little comes down. Summed over all flows of one (tree or client, destination) within an hour.
#pragma once

#include <memory>

#include "core/detect/detector.h"
#include "core/policy/catalogue.h"

namespace weir {

std::unique_ptr<Detector> make_bulk_egress(const Catalogue& catalogue);

}  // namespace weir
