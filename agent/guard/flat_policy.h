// The policy as the guard gets it: the kernel part's rows and prefixes in one flat block of bytes,
// so that the program with rights parses no policy. `weir run`'s policy child writes it; every
// field is checked before a row reaches a map. Pure; native byte order (both ends run on one host).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/event/address.h"
#include "platform/linux/bpf/weir_abi.h"

namespace weir {

struct FlatPrefix {
  weir_prefix_key key{};
  std::uint32_t pad = 0;
  weir_prefix value{};
};

// Names of interfaces that the policy's networks are told by: what the kernel takes (IFNAMSIZ),
// filled up with zeros.
using FlatInterface = std::array<char, 16>;
inline constexpr std::size_t kFlatInterfaces = 16;  // kMaxNetworks of core/policy/resolvers.h
inline constexpr std::size_t kFlatRules = 512;      // kMaxRules of core/policy/compile.h

// Where an isolated host may still send: the policy's never_block, and resolvers.
struct FlatRefuge {
  std::array<std::uint8_t, 16> address{};
  std::uint32_t length = 0;  // bits of it
  std::uint32_t what = 0;    // WEIR_REFUGE_*
};
inline constexpr std::size_t kFlatRefuges = WEIR_REFUGES / 2;

// Of a row with WEIR_LIMIT_HOLD.
struct FlatHold {
  std::uint64_t for_ns = 0;  // how long a flow waits
  std::uint32_t allows = 0;  // then: 1: it goes on, 0: it is closed
  std::uint32_t asks = 0;    // 1: the person may answer it
};

struct FlatHeader {
  std::uint32_t magic = 0;
  std::uint32_t layout = WEIR_LAYOUT;
  std::uint64_t size = 0;      // of the whole block
  std::uint32_t limits = 0;    // rows in use: 0 … limits-1
  std::uint32_t prefixes = 0;  // FlatPrefix after the table
  std::uint32_t keep = 0;      // on_exit: 1 keep, 0 release
  std::uint32_t enforce = 0;   // 0: mode observe, every row carries WEIR_LIMIT_OBSERVE
  std::uint32_t policy_number = 0;
  std::uint32_t interfaces = 0;    // in use, of the names at the end
  std::uint64_t no_hold_rows = 0;  // rows whose refusal destroys the socket 200 ms later
  weir_state state{};
  weir_limit table[WEIR_LIMITS]{};
  FlatHold hold[WEIR_LIMITS]{};
  FlatInterface interface[kFlatInterfaces] {};
  std::uint32_t rules = 0;         // in use, of `rule`
  std::uint32_t proves_names = 0;  // 1: a resolver of the policy can prove one
  std::uint32_t refuges = 0;       // in use, of `refuge`
  std::uint32_t pad = 0;
  FlatRefuge refuge[kFlatRefuges]{};
  std::uint64_t rule[kFlatRules]{};  // the policy's rules, by flat_rule() of their ids
};

std::uint64_t flat_rule(std::string_view id);

inline constexpr std::uint32_t kFlatMagic = 0x50465257;  // "WRFP"
inline constexpr std::size_t kMaxFlatBytes =
    sizeof(FlatHeader) + WEIR_PREFIXES * sizeof(FlatPrefix);

struct FlatPolicy {  // a checked view; `bytes` stay alive under it
  const FlatHeader* header = nullptr;
  std::span<const FlatPrefix> prefixes;

  std::uint64_t rows() const;                        // bit n: row n is in use
  std::uint64_t fixed_rows() const;                  // no verdict takes a socket off these
  const FlatHold* hold_of(std::uint32_t row) const;  // none: that row charges
  bool has_rule(std::string_view id) const;
  std::span<const FlatRefuge> refuges() const {
    return std::span(header->refuge).first(header->refuges);
  }
};

// What state.charged_only needs, as the policy's own words; of the host's it follows why not.
inline constexpr std::string_view kNeedsLsm = "defaults: other_families: prevent";

// `bytes` must be aligned for FlatHeader (a mapping or an allocation is).
Result<FlatPolicy> read_flat_policy(Bytes bytes);

std::vector<std::uint8_t> write_flat_policy(FlatHeader header,
                                            std::span<const FlatPrefix> prefixes);

// As the kernel part takes them.
std::vector<std::pair<Prefix, std::uint32_t>> refuges_of(const FlatPolicy& policy);

// What a verdict of the engine may become: rows that exist, and every fixed row that is charged to
// the unclassified. The engine asks for less than that in vain.
std::uint64_t allowed_limits(const FlatPolicy& policy, std::uint64_t asked);

// Of a table's key: 16 bytes of address.
inline Prefix prefix_of(const std::uint8_t* address, std::uint32_t length) {
  Prefix prefix;
  std::copy_n(address, prefix.address.bytes.size(), prefix.address.bytes.begin());
  prefix.length = static_cast<std::uint8_t>(length);
  return prefix;
}

}  // namespace weir
