// The queue of removals: see tampering.h.
#include "agent/guard/tampering.h"

namespace weir {
namespace {

constexpr std::uint64_t kMinuteNs = 60'000'000'000;

}  // namespace

void Tampering::found(const wire::HookRemoved& removed, std::uint64_t now_ns) {
  ++seen_;
  if (now_ns - minute_ns_ >= kMinuteNs) {
    minute_ns_ = now_ns;
    in_minute_ = 0;
  }
  if (in_minute_ >= kMaxAMinute || waiting_.size() >= kMaxWaiting) {
    ++more_;
    return;
  }
  ++in_minute_;
  waiting_.push_back(removed);
}

std::optional<wire::HookRemoved> Tampering::next(std::uint64_t now_ns) const {
  if (!waiting_.empty()) return waiting_.front();
  if (more_ == 0 || now_ns - minute_ns_ < kMinuteNs) return std::nullopt;
  wire::HookRemoved rest;
  rest.what = wire::kMoreRemoved;
  rest.count = more_;
  return rest;
}

void Tampering::told() {
  if (waiting_.empty())
    more_ = 0;
  else
    waiting_.pop_front();
}

}  // namespace weir
