// Destinations that an administrator blocked for a time (a command `block_destination`): the part
// of STATE/exceptions that says so, what is never blocked, and what the kernel gets. Pure; native
// byte order.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/guard/flat_policy.h"
#include "agent/guard/release.h"
#include "agent/guard/signed_reading.h"
#include "core/event/address.h"
#include "core/policy/shuts.h"
#include "platform/linux/kernel_part.h"

namespace weir {

// Of what holds for a time, and outlives a boot.
struct LeaseEnd {
  std::uint32_t lease_s = 0;        // no boot adds more than that
  std::uint64_t until_boot_ns = 0;  // counts in its boot; 0: it is not known
  std::array<std::uint8_t, 16> boot{};
  std::int64_t until_wall_s = 0;  // and this in every other
};
// Boot time at which it ends, 0: it has. `in_kernel`: what a guard of this boot has put there;
// nothing: none has. A clock that was set changes nothing while a boot lasts.
std::uint64_t left_until(const LeaseEnd& lease, const Now& at,
                         std::optional<std::uint64_t> in_kernel);

struct HeldBlock {
  wire::CommandId id{};  // of its command: the lease's id
  std::uint32_t slot = 0;
  std::uint32_t lease_s = 0;
  std::uint64_t until_boot_ns = 0;
  std::array<std::uint8_t, 16> boot{};
  std::int64_t until_wall_s = 0;
  BlockReading what;
  std::array<char, 96> asked{};  // who, and why
};

struct BlockTable {
  std::uint32_t blocks = 0;  // in use, of `block`
  std::uint32_t lost = 0;    // 1: what the kernel still has goes on
  std::uint32_t last_slot = 0, pad = 0;
  std::array<HeldBlock, kMaxShuts> block{};

  std::span<const HeldBlock> in_force() const { return std::span(block).first(blocks); }
  const HeldBlock* find(const wire::CommandId& id) const;
  const HeldBlock* find_name(std::uint64_t key) const;  // one that blocks the name of that key
  void remove(std::uint32_t slot);
};
bool is_sound(const BlockTable& table);

// Addresses that blocked names were answered at: an engine that is started again knows none of
// them, and after a reboot nobody. Each its name's key; the oldest gives way.
struct BlockedPlace {
  std::uint64_t name = 0;
  std::array<std::uint8_t, 16> address{};
  std::int64_t seen_wall_s = 0;  // last, within kPlaceSeen_s
};
inline constexpr std::int64_t kPlaceSeen_s = 600;          // so often it is written anew
inline constexpr std::int64_t kPlaceLasts_s = 24 * 3'600;  // after it was seen
bool is_sound(const BlockedPlace& one);
std::uint64_t left_s(const BlockedPlace& one, std::int64_t wall_s);  // for which it counts
struct BlockedPlaces {
  static constexpr std::size_t kMax = kMaxShutPlaces;  // a name has a handful, a front some tens
  std::uint32_t count = 0, pad = 0;
  std::array<BlockedPlace, kMax> place{};

  std::span<const BlockedPlace> all() const { return std::span(place).first(count); }
  bool add(const BlockedPlace& one);  // false: nothing new
  // The blocked name that was seen there; 0: none was.
  std::uint64_t name_at(const std::array<std::uint8_t, 16>& address) const;
  // For so long it leads to a name of that table still; 0: it does not.
  std::uint64_t left_s(const std::array<std::uint8_t, 16>& address, const BlockTable& table,
                       std::int64_t wall_s) const;
  // None was seen later than now, whatever the clock said when it was written.
  void cap(std::int64_t wall_s);
  // Forgets those of no blocked name, and those seen too long ago. True: there were some.
  bool keep_of(const BlockTable& table, std::int64_t wall_s);
};

// What this host must reach whatever is ordered, beside what its policy says (FlatPolicy::refuges).
struct MustReach {
  std::string collector;              // its name or address, "": none
  std::vector<IpAddress> collectors;  // where the uplink is connected to
};
// What is within that place and may not be blocked, in words; "": nothing.
std::string never_blocked(const BlockReading& what, const FlatPolicy& policy,
                          const MustReach& reach);

// The table after this command; else why not.
struct NextBlocks {
  wire::CommandRefusal why = wire::CommandRefusal::none;
  std::string words;
  BlockTable table;
};
NextBlocks next_blocks(const BlockTable& now, const CommandReading& command,
                       const FlatPolicy& policy, const MustReach& reach, const Now& at);

// Those that hold at that time, with their ends in this boot. `in_kernel`: as for left_until().
BlockTable taken(const BlockTable& table, const Now& at, const std::vector<KernelShut>* in_kernel);
// For a table that was lost: blocks of addresses as the kernel has them, under an id of their slot.
BlockTable recovered(const std::vector<KernelShut>& in_kernel, const Now& at);
std::vector<KernelShut> shuts_of(const BlockTable& table);

Prefix place_of(const BlockReading& what);            // where it has no name
std::string text_of_place(const BlockReading& what);  // its name, address or range, for people

}  // namespace weir
