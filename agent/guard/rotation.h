// A set of policy keys that follows the one that this host has, on its way to count: the old
// threshold verified here, over bytes that nobody has parsed; read by a child without rights (role
// read_trust); the new threshold verified by the keys that it found; written to STATE/trust; only
// then in force. One at a time. Thread: the guard's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "agent/guard/keeping.h"
#include "agent/guard/sealed_memory.h"
#include "agent/guard/signed_reading.h"
#include "agent/guard/spawner.h"

namespace weir {

struct TrustRefused {
  wire::TrustRefusal why = wire::TrustRefusal::none;
  std::string words;
};
using RotationOutcome = tl::expected<PolicyTrust, TrustRefused>;

class Rotation {
 public:
  explicit Rotation(std::uint64_t now_ns) : line_(now_ns) {}

  // Something: refused. Nothing: read() will be called, at the child's end.
  std::optional<TrustRefused> begin(const wire::OfferTrust& offer, SealedMemory set,
                                    const PolicyTrust& trust, Spawner& spawner,
                                    std::uint64_t now_ns);
  bool reads() const { return answer_ >= 0; }
  bool busy() const { return reads() || line_.waits(); }
  bool is_late(std::uint64_t now_ns) const;  // the child
  // Something: refused. Nothing: kept() will say when it is on the disk.
  std::optional<TrustRefused> read(int status, const PolicyTrust& trust, std::int64_t wall_s,
                                   std::uint64_t now_ns);
  std::optional<RotationOutcome> kept(std::uint64_t now_ns);

 private:
  KeepLine line_;
  wire::OfferTrust offer_;
  SealedMemory set_;
  PolicyTrust next_;
  int answer_ = -1;  // memory that the child writes to
  std::uint64_t began_ns_ = 0;
};

}  // namespace weir
