// Two passes over the rows of a charge: look whether each has room, then charge each.
#include "core/line/accounts.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <limits>

namespace weir {

std::size_t Accounts::KeyHash::operator()(const Key& key) const noexcept {
  const std::array<std::uint64_t, 3> words = {key.limit, key.who, key.destination};
  return XXH3_64bits(words.data(), sizeof words);
}

Accounts::Key Accounts::key_of(const Limit& limit, std::uint32_t row, const Charge& charge) {
  switch (limit.per) {
    case Per::unspecified:
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

// A window holds half of its bytes as burst and refills the other half over its length, so that no
// window of that length passes more than `bytes`.
bool Accounts::has_room(const Limit& limit, const Account& account, std::uint64_t bytes,
                        std::int64_t now, std::int64_t& arrival) {
  if (limit.window_ns <= 0) return account.charged + bytes <= *limit.bytes;
  const std::uint64_t burst = *limit.bytes / 2;
  if (burst == 0 || bytes > burst)
    return false;  // also keeps the product below small: at most one window
  const std::int64_t per_byte =
      limit.window_ns / static_cast<std::int64_t>(burst) + 1;  // rounded up
  const std::int64_t room = per_byte * static_cast<std::int64_t>(burst);
  arrival = std::max(account.arrival_ns, now) + per_byte * static_cast<std::int64_t>(bytes);
  return arrival - now <= room;
}

std::optional<Refusal> Accounts::charge(const Policy& policy, const Charge& charge,
                                        std::int64_t boot_ns) {
  struct Row {
    Account* account;
    std::int64_t arrival;
  };
  std::array<Row, kMaxLimits> rows{};
  std::size_t count = 0;
  for (std::uint32_t row = 0; row < policy.limits.size() && row < kMaxLimits; ++row) {
    const Limit& limit = policy.limits[row];
    if ((charge.limits >> row & 1) == 0 || !limit.bytes) continue;  // customers: no lineage here
    const Key key = key_of(limit, row, charge);
    auto found = accounts_.find(key);
    if (found == accounts_.end()) {
      if (accounts_.size() >= kMaxAccounts) {
        ++dropped_;
        continue;
      }
      found = accounts_.emplace(key, Account{}).first;
    }
    std::int64_t arrival = found->second.arrival_ns;
    if (!has_room(limit, found->second, charge.bytes, boot_ns, arrival))
      return Refusal{row, key.destination, found->second.charged};
    rows[count++] = {&found->second, arrival};  // unordered_map: addresses of values stay
  }
  for (std::size_t i = 0; i < count; ++i) {
    rows[i].account->charged += charge.bytes;
    rows[i].account->arrival_ns = rows[i].arrival;
  }
  return std::nullopt;
}

}  // namespace weir
