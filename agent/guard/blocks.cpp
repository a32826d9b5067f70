// Destinations that are blocked for a time: see blocks.h.
#include "agent/guard/blocks.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/fixed_text.h"
#include "core/net/domain.h"

namespace weir {
namespace {

using wire::CommandRefusal;

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kNoSuchTime = std::int64_t{1} << 40;  // the year 36,812

struct Place {
  const char* prefix;
  const char* what;
};
// Whatever a policy says: this host itself, and whom it asks for an address.
constexpr Place kAlways[] = {{"127.0.0.0/8", "this host itself"}, {"0.0.0.0", "this host itself"},
                             {"::1", "this host itself"},         {"::", "this host itself"},
                             {"255.255.255.255", "DHCP"},         {"ff02::1:2", "DHCP"}};

bool overlap(const Prefix& a, const Prefix& b) {
  return a.length <= b.length ? a.contains(b.address) : b.contains(a.address);
}

std::string text_of(const Prefix& prefix) {
  return prefix.length == 128 ? prefix.address.text() : prefix.text();
}

const char* what_of(std::uint32_t refuge) {
  if ((refuge & WEIR_REFUGE_ALL) != 0) return "its policy names under never_block";
  if ((refuge & WEIR_REFUGE_DNS) != 0) return "answers names here";
  return "is the far end of a tunnel of its policy";
}

std::string name_in(std::string_view domain, const MustReach& reach) {
  const std::string collector = normal_host(reach.collector);
  if (!collector.empty() && within_domain(collector, domain))
    return fmt::format("{} is this host's collector", collector);
  if (domain == "localhost" || within_domain(domain, "localhost"))
    return fmt::format("{} is this host itself", domain);
  return {};
}

}  // namespace

std::uint64_t left_until(const LeaseEnd& lease, const Now& at,
                         std::optional<std::uint64_t> in_kernel) {
  const std::uint64_t longest = at.boot_ns + lease.lease_s * kSecondNs;
  const bool same_boot = lease.boot == at.boot && at.boot != decltype(at.boot){};
  std::uint64_t until = 0;
  if (lease.until_boot_ns != 0 && same_boot) {
    until = lease.until_boot_ns;
  } else if (lease.until_boot_ns == 0 || in_kernel) {
    until = in_kernel.value_or(0);
  } else {
    const auto all = static_cast<std::int64_t>(lease.lease_s);
    const auto left = std::clamp<std::int64_t>(lease.until_wall_s - at.wall_s, 0, all);
    until = at.boot_ns + static_cast<std::uint64_t>(left) * kSecondNs;
  }
  until = std::min(until, longest);
  return until > at.boot_ns ? until : 0;
}

const HeldBlock* BlockTable::find(const wire::CommandId& id) const {
  const auto held = std::ranges::find(in_force(), id, &HeldBlock::id);
  return held == in_force().end() ? nullptr : &*held;
}

void BlockTable::remove(std::uint32_t slot) {
  for (std::uint32_t n = 0; n < blocks; ++n)
    if (block[n].slot == slot) {
      block[n] = block[--blocks];
      block[blocks] = {};
      return;
    }
}

const HeldBlock* BlockTable::find_name(std::uint64_t key) const {
  const auto held = std::ranges::find_if(in_force(), [&](const HeldBlock& one) {
    return one.what.domain.front() != '\0' && destination_key(one.what.domain.data()) == key;
  });
  return held == in_force().end() ? nullptr : &*held;
}

bool BlockedPlaces::add(const BlockedPlace& one) {
  for (std::uint32_t n = 0; n < count; ++n)
    if (place[n].name == one.name && place[n].address == one.address) {
      const std::int64_t since = one.seen_wall_s - place[n].seen_wall_s;
      if (since >= 0 && since < kPlaceSeen_s) return false;
      place[n] = one;
      return true;
    }
  if (count == kMax) {
    std::shift_left(place.begin(), place.end(), 1);
    --count;
  }
  place[count++] = one;
  return true;
}

std::uint64_t BlockedPlaces::name_at(const std::array<std::uint8_t, 16>& address) const {
  const auto found = std::ranges::find(all(), address, &BlockedPlace::address);
  return found == all().end() ? 0 : found->name;
}

bool is_sound(const BlockedPlace& one) {
  return one.name != 0 && one.seen_wall_s >= 0 && one.seen_wall_s < kNoSuchTime;
}

std::uint64_t left_s(const BlockedPlace& one, std::int64_t wall_s) {
  return static_cast<std::uint64_t>(
      std::clamp<std::int64_t>(one.seen_wall_s + kPlaceLasts_s - wall_s, 0, kPlaceLasts_s));
}

std::uint64_t BlockedPlaces::left_s(const std::array<std::uint8_t, 16>& address,
                                    const BlockTable& table, std::int64_t wall_s) const {
  std::uint64_t left = 0;
  for (const BlockedPlace& one : all())
    if (one.address == address && table.find_name(one.name) != nullptr)
      left = std::max(left, weir::left_s(one, wall_s));
  return left;
}

void BlockedPlaces::cap(std::int64_t wall_s) {
  for (BlockedPlace& one : std::span(place).first(count))
    one.seen_wall_s = std::min(one.seen_wall_s, wall_s);
}

bool BlockedPlaces::keep_of(const BlockTable& table, std::int64_t wall_s) {
  const BlockedPlaces before = *this;
  *this = {};
  for (const BlockedPlace& one : before.all())
    if (table.find_name(one.name) != nullptr && weir::left_s(one, wall_s) > 0) place[count++] = one;
  return count != before.count;
}

bool is_sound(const BlockTable& table) {
  if (table.blocks > kMaxShuts || table.lost > 1 || table.pad != 0 || table.last_slot >= kMaxShuts)
    return false;
  std::uint32_t slots = 0;
  for (const HeldBlock& one : table.in_force()) {
    if (one.slot >= kMaxShuts || (slots >> one.slot & 1) != 0 || one.lease_s > kLongestShut_s ||
        one.asked.back() != '\0' || !is_sound(one.what))
      return false;
    slots |= 1u << one.slot;
  }
  return true;
}

std::string never_blocked(const BlockReading& what, const FlatPolicy& policy,
                          const MustReach& reach) {
  if (what.domain.front() != '\0') return name_in(what.domain.data(), reach);
  const Prefix place = place_of(what);
  const auto holds = [&](const Prefix& other, std::string_view why) {
    if (place == other) return fmt::format("{} {}", text_of(place), why);
    return fmt::format("{} {} {}, which {}", text_of(place),
                       place.length <= other.length ? "holds" : "is within", text_of(other), why);
  };
  for (const Place& one : kAlways)
    if (const Prefix other = *Prefix::parse(one.prefix); overlap(place, other))
      return holds(other, fmt::format("is {}", one.what));
  for (const IpAddress& address : reach.collectors)
    if (place.contains(address)) return holds({address, 128}, "is this host's collector");
  if (const auto address = IpAddress::parse(reach.collector); address && place.contains(*address))
    return holds({*address, 128}, "is this host's collector");
  for (const FlatRefuge& refuge : policy.refuges())
    if (const Prefix other = prefix_of(refuge.address.data(), refuge.length); overlap(place, other))
      return holds(other, what_of(refuge.what));
  return {};
}

namespace {

// The longest unused first: a flow that nobody judged again must not come under another's block.
std::optional<std::uint32_t> free_slot(const BlockTable& table) {
  for (std::uint32_t n = 1; n <= kMaxShuts; ++n) {
    const auto slot = static_cast<std::uint32_t>((table.last_slot + n) % kMaxShuts);
    if (std::ranges::find(table.in_force(), slot, &HeldBlock::slot) == table.in_force().end())
      return slot;
  }
  return std::nullopt;
}

bool is_same(const BlockReading& a, const BlockReading& b) {
  return a.person == b.person && a.everybody == b.everybody && a.length == b.length &&
         a.address == b.address && a.domain == b.domain;
}

}  // namespace

// A second one of the same place and person takes the place of the first: longer, or shorter.
NextBlocks next_blocks(const BlockTable& now, const CommandReading& command,
                       const FlatPolicy& policy, const MustReach& reach, const Now& at) {
  if (command.lease_s == 0 || command.lease_s > kLongestShut_s)
    return {CommandRefusal::over_ceiling, "a block ends within 7 days", {}};
  if (std::string why = never_blocked(command.block, policy, reach); !why.empty())
    return {CommandRefusal::never_blocked, std::move(why), {}};
  NextBlocks next{CommandRefusal::none, "", now};
  BlockTable& table = next.table;
  std::optional<std::uint32_t> slot;
  for (const HeldBlock& one : now.in_force())
    if (is_same(one.what, command.block) || one.id == command.id) {
      if (is_same(one.what, command.block)) slot = one.slot;
      table.remove(one.slot);
    }
  if (!slot) slot = free_slot(table);
  if (!slot) return {CommandRefusal::blocks_full, "", {}};
  HeldBlock& block = table.block[table.blocks++];
  block.id = command.id;
  block.slot = table.last_slot = *slot;
  block.lease_s = command.lease_s;
  block.until_boot_ns = at.boot_ns + std::uint64_t{command.lease_s} * kSecondNs;
  block.boot = at.boot;
  block.until_wall_s = at.wall_s + command.lease_s;
  block.what = command.block;
  block.asked = command.asked;
  return next;
}

BlockTable taken(const BlockTable& table, const Now& at, const std::vector<KernelShut>* in_kernel) {
  BlockTable out = table;
  out.lost = 0;
  for (const HeldBlock& one : table.in_force()) {
    std::optional<std::uint64_t> there;
    if (in_kernel != nullptr) {
      const auto held = std::ranges::find(*in_kernel, one.slot, &KernelShut::slot);
      there = held == in_kernel->end() ? 0 : held->until_boot_ns;
    }
    const std::uint64_t until =
        left_until({one.lease_s, one.until_boot_ns, one.boot, one.until_wall_s}, at, there);
    if (until == 0) {
      out.remove(one.slot);
      continue;
    }
    for (std::uint32_t n = 0; n < out.blocks; ++n)
      if (out.block[n].slot == one.slot) {
        out.block[n].until_boot_ns = until;
        out.block[n].boot = at.boot;
      }
  }
  return out;
}

BlockTable recovered(const std::vector<KernelShut>& in_kernel, const Now& at) {
  BlockTable out;
  for (const KernelShut& shut : in_kernel) {
    if (!shut.prefix || shut.until_boot_ns <= at.boot_ns || out.blocks >= kMaxShuts) continue;
    HeldBlock& one = out.block[out.blocks++];
    one.id.back() = static_cast<std::uint8_t>(shut.slot + 1);
    one.slot = shut.slot;
    one.until_boot_ns = shut.until_boot_ns;
    one.boot = at.boot;
    const auto left = static_cast<std::int64_t>((shut.until_boot_ns - at.boot_ns) / kSecondNs);
    one.lease_s = static_cast<std::uint32_t>(std::min(left, kLongestShut_s));
    one.until_wall_s = at.wall_s + left;
    one.what.everybody = shut.person ? 0 : 1;
    one.what.person = shut.person.value_or(0);
    one.what.address = shut.prefix->address.bytes;
    one.what.length = shut.prefix->length;
    put_text(one.asked, "its file was lost");
  }
  return out;
}

// Flows to a name that is within another's are that one's too.
std::vector<KernelShut> shuts_of(const BlockTable& table) {
  std::vector<KernelShut> all;
  for (const HeldBlock& one : table.in_force()) {
    KernelShut shut{.slot = one.slot, .until_boot_ns = one.until_boot_ns};
    if (one.what.everybody == 0) shut.person = one.what.person;
    if (one.what.domain.front() == '\0') shut.prefix = place_of(one.what);
    for (const HeldBlock& other : table.in_force())
      if (!shut.prefix && other.what.domain.front() != '\0' &&
          within_domain(other.what.domain.data(), one.what.domain.data()))
        shut.names.push_back(destination_key(other.what.domain.data()));
    all.push_back(std::move(shut));
  }
  return all;
}

Prefix place_of(const BlockReading& what) {
  return {{what.address}, static_cast<std::uint8_t>(what.length)};
}

std::string text_of_place(const BlockReading& what) {
  return what.domain.front() != '\0' ? what.domain.data() : text_of(place_of(what));
}

}  // namespace weir
