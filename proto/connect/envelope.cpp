// Connect's framing of streams: see envelope.h.
#include "proto/connect/envelope.h"

namespace weir {
namespace {

constexpr std::size_t kHead = 5;

}  // namespace

std::string envelope(std::uint8_t flags, std::string_view message) {
  auto size = static_cast<std::uint32_t>(message.size());
  std::string framed{static_cast<char>(flags), static_cast<char>(size >> 24),
                     static_cast<char>(size >> 16), static_cast<char>(size >> 8),
                     static_cast<char>(size)};
  return framed.append(message);
}

std::optional<ConnectEnvelope> Envelopes::take() {
  if (too_large_ || waiting_.size() < kHead) return std::nullopt;
  std::uint32_t size = 0;
  for (std::size_t n = 1; n < kHead; ++n) size = size << 8 | static_cast<std::uint8_t>(waiting_[n]);
  if (size > kMaxConnectMessage) {
    too_large_ = true;
    return std::nullopt;
  }
  if (waiting_.size() < kHead + size) return std::nullopt;
  ConnectEnvelope whole{static_cast<std::uint8_t>(waiting_[0]), waiting_.substr(kHead, size)};
  waiting_.erase(0, kHead + size);
  return whole;
}

}  // namespace weir
