// Bytes that a person reads to another over the telephone: groups of four characters and one that
// checks them, of an alphabet in which nothing looks like something else (no I, L, O, U). A
// mistyped character, two that changed places and a group out of its place are told by the group's
// number; the last group checks the whole. Pure; what is read is foreign. Fuzzed
// (tests/fuzz/spoken_fuzz.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace weir {

// More groups than the check tells apart by their place are none: 26 are an Ed25519 signature.
inline constexpr std::size_t kMaxSpokenGroups = 31;
inline constexpr std::size_t kMaxSpokenText = 4096;  // with whatever stands between the groups

// Of bytes in groups, with the last one: 20 bits are a group.
constexpr std::size_t spoken_groups(std::size_t size) {
  return (size * 8 + 19) / 20 + 1;
}

// A space between groups, a new line after each `a_line`.
std::string spoken(Bytes bytes, std::size_t a_line = 9);

// What `size` bytes were spoken as. Lower case, and look-alikes as what they look like; whatever is
// no letter or digit stands between characters and means nothing. An Error names the first group
// that is wrong.
Result<std::vector<std::uint8_t>> read_spoken(std::string_view text, std::size_t size);

// Of text whose end has not been typed yet: what is wrong with it so far, "" for nothing.
std::string problem_so_far(std::string_view text, std::size_t size);

}  // namespace weir
