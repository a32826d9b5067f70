// See tight_accounts.h.
#include "agent/cli/tight_accounts.h"

#include <algorithm>

#include "agent/run/process.h"
#include "core/policy/limit_table.h"
#include "platform/linux/boot_clock.h"

namespace weir {
namespace {

constexpr std::int64_t kDayNs = 24ll * 3600 * 1'000'000'000;

bool is_of(const weir_account_key& key, std::span<const std::uint32_t> persons) {
  return is_a_persons(key) && std::find(persons.begin(), persons.end(),
                                        static_cast<std::uint32_t>(key.who)) != persons.end();
}

// The rule's numbers, unless the policy file was changed since and has other ones.
void take_rule(TightAccount& account, const Policy& policy) {
  account.bytes = account.row.bytes;
  const bool answers = account.key.limit == answers_row(policy);
  if (account.key.limit >= policy.limits.size() && !answers) return;
  const Limit limit = answers ? answers_limit(policy) : policy.limits[account.key.limit];
  const std::int64_t window_ns = account.row.flow_bytes > 0 ? kDayNs : limit.window_ns;
  std::uint64_t bytes = limit.bytes.value_or(0);
  if (account.row.bytes + account.row.unnamed_bytes != (window_ns > 0 ? bytes / 2 : bytes)) return;
  account.bytes = bytes;
  account.window_ns = window_ns;
}

}  // namespace

bool is_a_persons(const weir_account_key& key) {
  const std::uint32_t per = key.per & ~WEIR_PER_UNNAMED;
  return per == WEIR_PER_PERSON || per == WEIR_PER_PERSON_DEST || per == WEIR_PER_FLOW;
}

std::vector<TightAccount> tight_accounts(const PinnedTables& tables, const Policy& policy,
                                         std::span<const std::uint32_t> persons) {
  std::vector<TightAccount> accounts;
  std::uint64_t now = boot_now_ns();
  for (const KernelAccount& each : tables.accounts) {
    if (each.key.limit >= WEIR_EXCEPTIONS) continue;  // a lease, or an exception: told apart
    if ((tables.limits[each.key.limit].flags & WEIR_LIMIT_HOLD) != 0) continue;  // an answer
    if ((each.key.per & WEIR_PER_OVERFLOW) != 0 && each.value.charged + each.value.refused == 0)
      continue;  // every row has one, hardly ever used
    if (!persons.empty() && !is_of(each.key, persons)) continue;
    TightAccount account{each.key, tables.limits[each.key.limit], each.value.charged, 0,
                         each.value.refused};
    if ((account.key.per & WEIR_PER_UNNAMED) != 0) {  // the row's part for flows without a name
      account.key.per &= ~WEIR_PER_UNNAMED;
      std::swap(account.row.bytes, account.row.unnamed_bytes);
      std::swap(account.row.ns_per_byte_q4, account.row.unnamed_ns_per_byte_q4);
    }
    account.spent = spent_now(account.row, each.value, now);
    if (account.row.bytes > 0)
      account.fill = static_cast<double>(account.spent) / static_cast<double>(account.row.bytes);
    if (account.row.ns_per_byte_q4 > 0)
      account.refilled_wall_ns =
          wall_now_ns() +
          static_cast<std::int64_t>(account.spent * account.row.ns_per_byte_q4 / 16);
    take_rule(account, policy);
    accounts.push_back(account);
  }
  std::sort(accounts.begin(), accounts.end(),
            [](const TightAccount& a, const TightAccount& b) { return a.fill > b.fill; });
  if (accounts.size() > kMostTight) accounts.resize(kMostTight);
  return accounts;
}

}  // namespace weir
