// Exceptions that hold on this host: what a person may send to one destination although rules of
// the policy speak against it. Asked for, signed, and taken by the guard; the line applies them
// where the destination is proven.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/event/address.h"
#include "core/event/event.h"

namespace weir {

// A desk has a handful of people, each with one or two at a time.
inline constexpr std::size_t kMaxExceptions = 32;
inline constexpr std::size_t kMaxSetAside = 8;  // rules of one
// What the guard grants at most, whatever was signed. A day, because an exception outlives no boot
// and its reason seldom a shift; 4 GiB, because what is larger deserves an approved destination.
inline constexpr std::uint64_t kMostExceptionBytes = 4ull << 30;
inline constexpr std::int64_t kLongestException_s = 24 * 3600;
inline constexpr std::uint32_t kUsualException_s = 3600;  // where nobody named a time
// What may stay unused of one when a packet finds no room: less than the largest packet.
inline constexpr std::uint64_t kLargestRest = 512 << 10;

struct Exception {
  std::uint32_t number = 0;  // of its account in the kernel; never 0
  PersonId person = kNoPerson;
  std::string domain;                   // that name and what is below it; "": by the address
  Prefix prefix;                        // where `domain` is ""
  std::vector<std::string> sets_aside;  // ids of rules
  std::uint64_t bytes = 0;              // granted
  std::int64_t until_boot_ns = 0;
};

// The kernel's row of exceptions, after all rows that a policy may have (WEIR_EXCEPTIONS).
inline constexpr std::uint32_t kExceptionsRow = 63;
// Its name in reports: no rule can have it, a rule's id has no '.'.
inline constexpr const char* kExceptionsRule = "person.exception";
// In the place of a row: none refused it, the host is isolated (WEIR_ISOLATED).
inline constexpr std::uint32_t kIsolatedRow = 65;
inline constexpr const char* kIsolatedRule = "host.isolated";
// Likewise: a socket of a family that no limit counts was refused, was made, or has sent
// (WEIR_FAMILY_*). The place is then the family's number.
inline constexpr std::uint32_t kFamilyRefused = 67, kFamilyMade = 68, kFamilySent = 69;
inline constexpr const char* kFamiliesRule = "defaults.other_families";

}  // namespace weir
