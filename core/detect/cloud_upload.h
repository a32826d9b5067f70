// cloud_upload: bytes pushed to a catalogued service that takes uploads, told from using it. A flow
// is cut into bursts (much up while little comes down); one burst of 64 KiB is an upload, and so
// are many smaller ones within an hour, over all flows of one (tree or client, service).
#pragma once

#include <memory>

#include "core/detect/detector.h"
#include "core/policy/catalogue.h"

namespace weir {

std::unique_ptr<Detector> make_cloud_upload(const Catalogue& catalogue);

}  // namespace weir
