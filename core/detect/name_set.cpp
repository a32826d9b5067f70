// An eight-way table: the slot that was unused longest gives way.
#include "core/detect/name_set.h"

namespace weir {
namespace {

constexpr std::int64_t kMinute = 60ll * 1'000'000'000;

}  // namespace

bool NameSet::add(std::uint64_t fingerprint, std::int64_t now_ns) {
  const auto now = static_cast<std::uint32_t>(now_ns / kMinute);
  const auto kept = static_cast<std::uint32_t>(kKept / kMinute);
  const auto tag = static_cast<std::uint32_t>(fingerprint >> 32) | 1;
  Slot* const set = set_of(fingerprint).slots.data();
  Slot* oldest = set;
  for (Slot* slot = set; slot < set + kWays; ++slot) {
    if (slot->tag == tag) {
      const bool fresh = now - slot->minutes > kept;
      slot->minutes = now;
      return fresh;
    }
    if (slot->tag == 0 ? oldest->tag != 0 : oldest->tag != 0 && slot->minutes < oldest->minutes)
      oldest = slot;
  }
  if (oldest->tag != 0 && now - oldest->minutes <= kept) ++pushed_out_;
  *oldest = {tag, now};
  return true;
}

}  // namespace weir
