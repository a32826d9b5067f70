// A person's answer to a hold, as `weir run`'s server hands it to the guard: one datagram, with
// sealed memory in which they say why, which the guard does not read. The server has asked the
// kernel who they are.
#pragma once

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <cstdint>
#include <string>

#include "agent/guard/held_flows.h"

namespace weir {

struct HoldAnswer {
  std::uint32_t magic = 0;
  std::uint32_t account = 0;
  std::uint64_t tree = 0, destination = 0;
  std::uint32_t by = 0;    // who answers: only what waits of their own, unless `root`
  std::uint32_t root = 0;  // 1: uid 0 of this machine
  std::uint32_t size = 0;  // of the text, 1 to wire::kMaxAnswerBytes
  std::uint32_t pad = 0;
};
inline constexpr std::uint32_t kHoldAnswerMagic = 0x31414857;  // "WHA1"

// What a person types: the same for all flows that wait for one answer.
inline std::string hold_id(const HeldPlace& place) {
  const std::array<std::uint64_t, 3> words = {place.account, place.tree, place.destination};
  return fmt::format("{:08x}", static_cast<std::uint32_t>(XXH3_64bits(words.data(), sizeof words)));
}

}  // namespace weir
