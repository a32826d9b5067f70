// Connect's framing of streams: a byte of flags, four bytes of length (big endian), the message.
// Used by both ends. Pure; memory is bounded by the largest message and the largest piece. Thread:
// one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

inline constexpr std::size_t kMaxConnectMessage = 4u << 20;  // as gRPC's own default
inline constexpr std::uint8_t kConnectEndOfStream = 2;       // the message is the outcome, as JSON

struct ConnectEnvelope {
  std::uint8_t flags = 0;
  std::string message;
};

std::string envelope(std::uint8_t flags, std::string_view message);

// Pieces of a body in, whole envelopes out.
class Envelopes {
 public:
  void add(std::string_view piece) { waiting_.append(piece); }
  std::optional<ConnectEnvelope> take();         // nothing: not whole yet, or too large
  bool too_large() const { return too_large_; }  // no more comes out: end the conversation
  bool empty() const { return waiting_.empty(); }

 private:
  std::string waiting_;
  bool too_large_ = false;
};

}  // namespace weir
