// Whom a host takes policies and commands from: the file STATE/trust, written by `weir enroll`, and
// by `weir run` when a set of keys follows another (root, 0600); read by the guard. Lines of words,
// so that an administrator can read it:
//   weir trust 1
//   host ID                   whose commands are for this host; absent after older enrolments
//   group NAME
//   number N                  of the set of keys; absent: 1
//   threshold N
//   key ID PUBLIC EXPIRES     1 to 8 of them: 16 and 64 hexadecimal digits, UTC seconds (0: never)
// and, of a host that was put into another group by a command (joining.h):
//   joined MS                 when that was decided, UTC milliseconds
//   least N                   of the group's policies, as the command has it; absent: any
//   had NUMBER GROUP          up to 8: the highest number of a group that was in force here
// Pure; the threshold is the host's own: it never comes with a policy, only with a set of keys that
// the threshold before has signed.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/policy/signature.h"

namespace weir {

using PolicyPublicKey = std::array<std::uint8_t, 32>;  // Ed25519

struct TrustedKey {
  PolicyKeyId id{};  // policy_key_id() of the public key; a file where it is not is refused
  PolicyPublicKey key{};
  std::int64_t expires_wall_s = 0;  // 0: never
};

// A policy that is, or was, in force here.
struct GroupPolicy {
  std::string group;  // "": none of a collector
  std::uint32_t number = 0;
};

struct PolicyTrust {
  std::string group;            // 1 to kMaxGroup characters without white space
  std::uint32_t threshold = 1;  // 1 to the number of keys
  std::vector<TrustedKey> keys{};
  std::string host{};               // as the group, or "": not known
  std::uint32_t number = 1;         // from 1
  std::int64_t joined_wall_ms = 0;  // 0: it is the group of the enrolment
  std::uint32_t least = 0;
  std::vector<GroupPolicy> had{};  // of groups that were left, the last one last

  // Of this group's policies; a lower one would be one of before.
  std::uint32_t least_number() const;
  bool was_in(std::string_view of_group) const;  // or is
};

inline constexpr std::size_t kMaxTrustedKeys = 8;
inline constexpr std::size_t kMaxGroup = 64;
// A host that goes to and fro has two or three. Of one that is forgotten the command's number
// holds.
inline constexpr std::size_t kMaxGroupsHad = 8;
inline constexpr std::size_t kMaxTrustBytes = 4096;  // 16 lines of 107 characters, and seven

Result<PolicyTrust> read_trust(std::string_view text);
Result<std::string> write_trust(
    const PolicyTrust& trust);  // what read_trust() would refuse is an Error

}  // namespace weir
