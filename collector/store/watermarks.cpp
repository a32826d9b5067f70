// Epochs of a lane, kept few.
#include "collector/store/watermarks.h"

#include <algorithm>

namespace weir {

Watermark* LaneMarks::at(std::uint64_t epoch) {
  auto place = std::lower_bound(marks_.begin(), marks_.end(), epoch,
                                [](const Watermark& m, std::uint64_t e) { return m.epoch < e; });
  if (place != marks_.end() && place->epoch == epoch) return &*place;
  if (marks_.size() == kMaxEpochs) {
    if (place == marks_.begin()) return nullptr;
    marks_.erase(marks_.begin());
    --place;
  }
  return &*marks_.insert(place, Watermark{.epoch = epoch, .sequence = 0, .chain = Digest{}});
}

}  // namespace weir
