// Two passes over the rows of a charge: look whether each has room, then charge each.
#include "core/line/accounts.h"

#include <xxhash.h>

#include <array>

namespace weir {

std::size_t Accounts::KeyHash::operator()(const Key& key) const noexcept {
  const std::array<std::uint64_t, 3> words = {key.limit, key.who, key.destination};
  return XXH3_64bits(words.data(), sizeof words);
}

Accounts::Key Accounts::key_of(const Limit& limit, std::uint32_t row, const Charge& charge) {
  switch (limit.per) {
    case Per::unspecified:
    case Per::flow:  // its account is the flow's own
    case Per::host:
      return {row, 0, 0};
    case Per::process_tree:
      return {row, charge.tree, 0};
    case Per::person:
      return {row, charge.person, 0};
    case Per::destination:
      return {row, charge.person, charge.destination};
    case Per::process_tree_destination:
      return {row, charge.tree, charge.destination};
    case Per::host_destination:
      return {row, 0, charge.destination};
  }
  return {row, 0, 0};
}

bool Accounts::has_room(const LimitRow& row, const Account& account, std::uint64_t bytes,
                        std::uint64_t now_ns, std::uint64_t& word) {
  if (row.ns_per_byte_q4 == 0) return account.charged + bytes <= row.bytes;
  return charge_window(row, now_ns, bytes, word);
}

std::optional<Refusal> Accounts::charge(const Policy& policy, const Charge& charge,
                                        std::int64_t boot_ns) {
  struct Row {
    Account* account;
    std::uint64_t word;
  };
  std::array<Row, kMaxLimits> rows{};
  std::size_t count = 0;
  bool of_flow = false;
  for (std::uint32_t row = 0; row < policy.limits.size() && row < kMaxLimits; ++row) {
    const Limit& limit = policy.limits[row];
    if ((charge.limits >> row & 1) == 0 || !limit.bytes) continue;  // customers: no lineage here
    if (limit.per == Per::flow && charge.flow) {
      if (*charge.flow + charge.bytes > *limit.bytes) return Refusal{row, 0, *charge.flow};
      of_flow = true;
      continue;
    }
    const Key key = key_of(limit, row, charge);
    auto found = accounts_.find(key);
    if (found == accounts_.end()) {
      if (accounts_.size() >= kMaxAccounts) {
        ++dropped_;
        continue;
      }
      found = accounts_.emplace(key, Account{}).first;
    }
    std::uint64_t word = found->second.word;
    if (!has_room(limit_row(limit, policy.mode), found->second, charge.bytes,
                  static_cast<std::uint64_t>(boot_ns), word))
      return Refusal{row, key.destination, found->second.charged};
    rows[count++] = {&found->second, word};  // unordered_map: addresses of values stay
  }
  if (of_flow) *charge.flow += charge.bytes;
  for (std::size_t i = 0; i < count; ++i) {
    rows[i].account->charged += charge.bytes;
    rows[i].account->word = rows[i].word;
  }
  return std::nullopt;
}

}  // namespace weir
