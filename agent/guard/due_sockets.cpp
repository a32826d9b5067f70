// TCP sockets that are to be destroyed: see due_sockets.h.
#include "agent/guard/due_sockets.h"

namespace weir {
namespace {

constexpr std::uint8_t kTcp = 6;  // IPPROTO_TCP
// How far back a socket is looked for: it is told once a second and account, so that a socket which
// several rows refuse at once comes close together.
constexpr std::size_t kLookBack = 64;

}  // namespace

void DueSockets::refused(const weir_refused& record, std::uint64_t now_ns) {
  if (record.settled == 0 || record.tuple.protocol != kTcp) return;
  for (std::size_t back = 0; back < count_ && back < kLookBack; ++back) {
    const Entry& known = entries_[(first_ + count_ - 1 - back) % kMax];
    if (known.record.record.cookie == record.record.cookie) return;
  }
  if (count_ == kMax) {
    ++dropped_;
    return;
  }
  entries_[(first_ + count_) % kMax] = {record, now_ns + kDelayNs};
  ++count_;
}

std::optional<weir_refused> DueSockets::take_due(std::uint64_t now_ns) {
  if (count_ == 0 || entries_[first_].due_ns > now_ns) return std::nullopt;
  weir_refused record = entries_[first_].record;
  first_ = (first_ + 1) % kMax;
  --count_;
  return record;
}

std::optional<std::uint64_t> DueSockets::next_due_ns() const {
  if (count_ == 0) return std::nullopt;
  return entries_[first_].due_ns;
}

}  // namespace weir
