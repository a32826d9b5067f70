// The policy's limits as the rows of the kernel part's table (platform/linux/bpf/weir_abi.h),
// without its header: core knows no OS. Also the arithmetic of one account, as the kernel part does
// it.
#pragma once

#include <array>
#include <cstdint>

#include "core/policy/policy.h"

namespace weir {

// Values as in enum weir_per.
enum class RowPer : std::uint32_t {
  none,
  process_tree,
  person,
  host,
  person_destination,
  process_tree_destination,
  host_destination,
  flow
};

inline constexpr std::uint32_t kRowObserve = 1;  // WEIR_LIMIT_OBSERVE
inline constexpr std::uint32_t kRowFixed = 2;    // WEIR_LIMIT_FIXED
inline constexpr int kMaxCharges = 8;            // WEIR_CHARGES: accounts that one packet may touch

struct LimitRow {
  std::uint64_t bytes = 0;           // total: all of it; windowed: half, what may leave at once
  std::uint64_t ns_per_byte_q4 = 0;  // windowed: refill, in 1/16 ns a byte, rounded up; 0: a total
  RowPer per = RowPer::none;         // none: the row is not used
  std::uint32_t labels = 0;          // applies only where one of them is carried; 0: always
  std::uint32_t flags = 0;
};

LimitRow limit_row(const Limit& limit, Mode mode);

// The kernel's table has two rows after those of the policy: small datagrams that acknowledge, and
// what servers of this machine answer others (decision 0021). Neither is a rule's.
inline std::uint32_t acknowledgements_row(const Policy& policy) {
  return static_cast<std::uint32_t>(policy.limits.size());
}
inline std::uint32_t answers_row(const Policy& policy) {
  return acknowledgements_row(policy) + 1;
}
Limit answers_limit(const Policy& policy);
// Its name in reports and accounts: no rule can have it, a rule's id has no '.'.
inline constexpr const char* kAnswersRule = "defaults.answers";

// Bytes that may be answered for each that was asked, headers included (WEIR_ANSWER_FACTOR).
inline constexpr std::uint64_t kAnswerFactor = 21;

// Servers that are asked over UDP and hand out nobody's files (is_served_port there): DNS, DHCP,
// NTP, SNMP, DHCPv6.
constexpr bool is_served_port(std::uint16_t port) {
  return port == 53 || port == 67 || port == 123 || port == 161 || port == 547;
}
std::array<LimitRow, kMaxLimits> limit_table(const Policy& policy);

// One charge of `bytes` at boot time `now_ns` against a windowed row, as the kernel part computes
// it (accounts.h there); `word` is the theoretical arrival time in 1/16 ns. True: it leaves, `word`
// moved.
bool charge_window(const LimitRow& row, std::uint64_t now_ns, std::uint64_t bytes,
                   std::uint64_t& word);

}  // namespace weir
