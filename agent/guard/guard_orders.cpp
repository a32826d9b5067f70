// The guard: what the engine orders, as far as the policy's ceilings allow.
#include <algorithm>

#include "agent/guard/guard.h"

namespace weir {
void Guard::obey(const wire::Classify& m, std::uint64_t) {
  if (!session_->is_taken()) return;  // of rows that are gone
  std::uint64_t limits = allowed_limits(policy_.flat, m.limits);
  if (m.exception != 0) {
    // It has ended, which the engine is about to hear: its rows are none to do without.
    if (policy_.flat.header->enforce == 0 || !exceptions_->holds(m.exception)) return;
    limits |= std::uint64_t{1} << WEIR_EXCEPTIONS;
  }
  if (const std::uint64_t holds = kernel_.state().holds; holds != 0 && (limits & holds) == 0)
    (void)held_->remove(m.cookie);
  const std::uint64_t place = name_of_flow(m.cookie, m.destination);
  bool put = kernel_.put_verdict(m.cookie, limits, place, m.via, m.exception).has_value();
  ++(put ? counters_.classified : counters_.not_classified);
}

void Guard::obey(const wire::Forget& m, std::uint64_t) {
  shut_before_.erase(m.cookie);
  (void)kernel_.remove_verdict(m.cookie);
}

void Guard::obey(const wire::ClassifyAddress& m, std::uint64_t now) {
  if (!session_->is_taken()) return;
  std::uint64_t until = std::min(m.until_boot_ns, now + wire::kMaxLeaseNs);
  Prefix prefix = prefix_of(m.address.data(), m.length);
  if (until <= now || is_policys_own(prefix)) return;
  weir_prefix value{};
  value.limits = allowed_limits(policy_.flat, m.limits);
  value.dest = name_at(prefix, m.destination);
  value.trust = m.trust;
  value.final = m.final;
  if (!kernel_.put_prefix(prefix, value)) return;
  std::optional<Prefix> replaced;
  leases_->put(prefix, until, exceptions_->blocks.find_name(value.dest) != nullptr, replaced);
  if (replaced) (void)kernel_.remove_prefix(*replaced);
}

void Guard::obey(const wire::Block& m, std::uint64_t now) {
  std::uint64_t until = std::min(m.until_boot_ns, now + wire::kMaxLeaseNs);
  std::uint64_t target = m.destination;
  if (m.target == static_cast<std::uint32_t>(Block::Target::everything))
    target = WEIR_TARGET_EVERYTHING;
  if (m.target == static_cast<std::uint32_t>(Block::Target::dns)) target = WEIR_TARGET_DNS;
  if (until > now && kernel_.put_block(m.tree, target, until)) ++counters_.blocks;
}

}  // namespace weir
