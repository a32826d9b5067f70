// The guard: destinations that an administrator blocks for a time. See guard.h.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "agent/guard/guard.h"
#include "core/base/fixed_text.h"
#include "platform/linux/boot_clock.h"

namespace weir {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kPlacesNs = 10 * kSecondNs;

}  // namespace

// Where the uplink is connected to is the collector: by it the command came.
CommandNext Guard::next_block(const CommandReading& command, std::uint64_t now) const {
  MustReach reach{collector_, {}};
  if (const std::uint64_t home = kernel_.state().home_cgroup; home != 0)
    reach.collectors = peers_of_cgroup(home);
  NextBlocks next =
      next_blocks(exceptions_->blocks, command, policy_.flat, reach, {wall_s(), now, boot_});
  if (next.why != wire::CommandRefusal::none)
    return {.why = next.why, .words = std::move(next.words)};
  CommandNext out;
  out.exceptions = *exceptions_;
  out.exceptions->blocks = next.table;
  return out;
}

// In the kernel as it stands on the disk. What the loader put there after a reboot came of the same
// file, a moment ago. An Error: those of before hold.
Result<void> Guard::take_blocks(const BlockTable& next, std::uint64_t now) {
  const std::vector<KernelShut> before = kernel_.shuts();
  const Now at{wall_s(), now, boot_};
  const BlockTable table = next.lost != 0 ? recovered(before, at) : taken(next, at, &before);
  if (table.blocks == 0 && before.empty()) {
    exceptions_->blocks = table;
    return {};
  }
  if (auto set = kernel_.set_shuts(shuts_of(table)); !set) return set;
  for (const HeldBlock& one : table.in_force())
    if (exceptions_->blocks.find(one.id) == nullptr)
      fmt::print(stderr, "weir-guard: {} is blocked for another {} s ({})\n",
                 text_of_place(one.what), (one.until_boot_ns - now) / 1'000'000'000,
                 one.asked.data());
  for (const HeldBlock& one : exceptions_->blocks.in_force())
    if (table.find(one.id) == nullptr)
      fmt::print(stderr, "weir-guard: {} is not blocked any more ({})\n", text_of_place(one.what),
                 one.asked.data());
  exceptions_->blocks = table;
  if (exceptions_->places.keep_of(table, wall_s()) && commands_) commands_->owe_table();
  return {};
}

// At the start. What the kernel does not take is none, whatever the file says.
void Guard::adopt_blocks(const BlockTable& before, std::uint64_t now) {
  const Result<void> set = take_blocks(before, now);
  if (set) return;
  fmt::print(stderr, "weir-guard: {}\n", set.error().sentence);
  exceptions_->blocks = before;
  const std::vector<KernelShut> held = kernel_.shuts();
  for (const HeldBlock& one : before.in_force())
    if (std::ranges::none_of(held, [&](const KernelShut& other) {
          return other.slot == one.slot && other.until_boot_ns == one.until_boot_ns;
        }))
      exceptions_->blocks.remove(one.slot);
}

// What leads to a blocked name stands in the kernel's tables still, or was put there from the file.
void Guard::lease_places(std::uint64_t now) {
  for (const auto& [place, value] : kernel_.shut_prefixes()) {
    if (is_policys_own(place) || lease_place(place, now)) continue;
    std::optional<Prefix> replaced;  // no place that is known: a name's own lease, at most
    leases_->put(place, now + wire::kMaxLeaseNs, true, replaced);
    if (replaced) (void)kernel_.remove_prefix(*replaced);
  }
}

// An address that a blocked name was seen at stays shut for a day, whatever its name's own lease.
// False: it is none, or no longer.
bool Guard::lease_place(const Prefix& place, std::uint64_t now) {
  if (place.length != 128) return false;
  const std::uint64_t left_s =
      exceptions_->places.left_s(place.address.bytes, exceptions_->blocks, wall_s());
  if (left_s == 0) return false;
  std::optional<Prefix> replaced;
  leases_->put(place, now + std::min(left_s * kSecondNs, wire::kMaxLeaseNs), true, replaced);
  if (replaced) (void)kernel_.remove_prefix(*replaced);
  return true;
}

// The disk and the engine hear of those that are no places any more.
void Guard::keep_places(std::uint64_t now) {
  if (now < places_ns_) return;
  places_ns_ = now + kPlacesNs;
  if (!exceptions_->places.keep_of(exceptions_->blocks, wall_s())) return;
  if (commands_) commands_->owe_table();
  to_give_exceptions_ = true;
}

// What the engine says of an address. Of one that a blocked name was seen at it may not know that
// yet, if it was started again.
std::uint64_t Guard::name_at(const Prefix& place, std::uint64_t name) {
  if (exceptions_->blocks.blocks == 0 || place.length != 128) return name;
  if (exceptions_->blocks.find_name(name) == nullptr) {
    const std::uint64_t seen = exceptions_->places.name_at(place.address.bytes);
    return exceptions_->blocks.find_name(seen) != nullptr ? seen : name;
  }
  if (exceptions_->places.add({name, place.address.bytes, wall_s()}) && commands_)
    commands_->owe_table();
  return name;
}

// A former engine had heard a blocked name of that flow; this one has not, and would open it. Its
// rows are what this one says: the block may be another person's.
std::uint64_t Guard::name_of_flow(std::uint64_t cookie, std::uint64_t name) const {
  const auto before = shut_before_.find(cookie);
  if (before == shut_before_.end() || exceptions_->blocks.find_name(name) != nullptr ||
      exceptions_->blocks.find_name(before->second) == nullptr)
    return name;
  return before->second;
}

// The kernel has ended it already.
void Guard::end_blocks(std::uint64_t now) {
  keep_places(now);
  bool any = false;
  for (const HeldBlock& one : exceptions_->blocks.in_force()) any |= one.until_boot_ns <= now;
  if (!any) return;
  if (!take_blocks(BlockTable(exceptions_->blocks), now)) return;  // tried again in a second
  to_give_exceptions_ = true;
  tell_host_facts();
}

void Guard::put_blocks(wire::HostFactsMessage& facts) const {
  for (const HeldBlock& held : exceptions_->blocks.in_force()) {
    wire::HostFactsMessage::Lease& one = facts.lease[facts.leases++];
    one.id = held.id;
    one.kind = wire::HostFactsMessage::kBlocks;
    one.person = held.what.everybody != 0 ? wire::HostFactsMessage::kEverybody : held.what.person;
    one.until_wall_s = wall_s() + static_cast<std::int64_t>(held.until_boot_ns / 1'000'000'000) -
                       static_cast<std::int64_t>(boot_now_ns() / 1'000'000'000);
    one.by_name = held.what.domain.front() != '\0' ? 1 : 0;
    put_text(one.to, text_of_place(held.what));
    put_text(one.rule, held.asked.data());
  }
}

}  // namespace weir
