// A policy that was offered, on its way into force: signatures verified here, over bytes that
// nobody has parsed; then read by a child without rights (role compile); then judged by its own
// numbers. One at a time. Thread: the guard's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "agent/guard/compiled.h"
#include "agent/guard/sealed_memory.h"
#include "agent/guard/spawner.h"
#include "agent/guard/trust.h"
#include "agent/guard/uplink_messages.h"

namespace weir {

struct OfferRefused {
  wire::Refusal why = wire::Refusal::none;
  std::uint32_t number = 0;  // 0: nobody may know
  std::string words;
};

// Everything about a policy that may come into force.
struct AcceptedPolicy {
  SealedMemory compiled;  // what the views below are of
  CompiledEnvelope view;
  SealedMemory policy;      // for the engine
  SealedMemory envelope;    // as it was signed
  wire::OfferPolicy offer;  // its signatures
};

using OfferOutcome = tl::expected<AcceptedPolicy, OfferRefused>;

class Offers {
 public:
  explicit Offers(PolicyTrust trust) : trust_(std::move(trust)) {}

  // Verifies; starts the child if the signatures hold. Nothing: ended() will be called.
  // `was_taken_before`: a kept one, by keys that count no longer.
  std::optional<OfferRefused> begin(const wire::OfferPolicy& offer, SealedMemory envelope,
                                    Spawner& spawner, std::uint64_t now_ns,
                                    bool was_taken_before = false);
  bool busy() const { return answer_ >= 0; }
  // The child did not end in its time: it is killed, its end is told as any other.
  bool is_late(std::uint64_t now_ns) const;
  // After the child's end. `in_force`: a higher one of the group is taken. Nothing: it is a kept
  // policy, which was judged when it came; it is taken whatever the clock says.
  OfferOutcome ended(int status, const std::optional<GroupPolicy>& in_force);

  const PolicyTrust& trust() const { return trust_; }
  void take(PolicyTrust trust) { trust_ = std::move(trust); }  // not while busy()

 private:
  PolicyTrust trust_;
  wire::OfferPolicy offer_;
  SealedMemory envelope_;
  int answer_ = -1;  // memory that the child writes to
  std::uint64_t began_ns_ = 0;
};

// The last good one, at the guard's start, before anything is in force: waits for the child.
OfferOutcome take_kept(Offers& offers, const KeptView& kept, Spawner& spawner);

std::int64_t wall_s();

}  // namespace weir
