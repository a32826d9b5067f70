// What accounts have spent, on the disk before it is spent: see kept_accounts.h.
#include "agent/guard/kept_accounts.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace weir {
namespace {

constexpr std::uint64_t kUnitsPerNs = 16;                     // of a windowed word, see weir_abi.h
constexpr std::uint64_t kAccountsMagic = 0x3154434341455257;  // "WREACCT1"

struct FileHeader {  // native byte order: it never leaves its host
  std::uint64_t magic = kAccountsMagic;
  std::uint64_t accounts = 0;
  std::uint64_t digest = 0;  // XXH3 of the accounts: a disk that lies is noticed
  std::uint64_t pad = 0;
};
static_assert(sizeof(FileHeader) == 32 && sizeof(KeptAccount) == 40);

// What an account is allowed, and what it has: in units of its word, a window's ahead of now.
struct Levels {
  std::uint64_t level = 0, most = 0, ahead = 0, unlisted = 0;
};

Levels levels_of(const weir_limit& row, const KernelAccount& account, std::uint64_t now_boot_ns) {
  const AccountPart part = part_of(row, account.key.per);
  const std::uint64_t unit = part.q4 != 0 ? part.q4 : 1;
  const std::uint64_t now = now_boot_ns * kUnitsPerNs;
  Levels levels;
  levels.most = part.most();
  levels.level = account.value.word;
  if (part.q4 != 0) levels.level = account.value.word > now ? account.value.word - now : 0;
  const std::uint64_t share = part.bytes / AccountKeeping::kAheadShare;
  levels.ahead = std::min(std::max(share, AccountKeeping::kLeastAhead),
                          std::max(part.bytes, std::uint64_t{1})) *
                 unit;
  levels.unlisted = unlisted_of(row, account.key.per);
  return levels;
}

// How far it may get now. `asks`: it was beyond its mark since the last look.
std::uint64_t wanted(const Levels& l, const AccountPart& part, std::uint64_t kept, bool asks,
                     bool idle) {
  const std::uint64_t beyond = std::min(l.most, l.level + l.ahead);
  if (asks) return std::max(kept, beyond);
  const std::uint64_t used = std::max(l.level, l.unlisted);
  if (idle && part.q4 == 0) return std::min(kept, used);
  // A window refills by itself: what it may take follows, a step at a time.
  const std::uint64_t least = idle ? used : std::max(used, beyond);
  const std::uint64_t step = std::min(l.ahead, l.most / AccountKeeping::kAheadShare);
  return part.q4 != 0 && kept > least + step ? least : kept;
}

weir_keep keep_of(const KernelAccount& account, const Levels& l, std::uint64_t kept) {
  weir_keep keep{account.key, kept, kept};
  // Whoever is half way through is asked for, so that the next part is there in time.
  if (kept >= l.most)
    keep.mark = ~std::uint64_t{0};
  else if (kept <= l.unlisted)
    keep.mark = kept / 2;
  else
    keep.mark = kept - std::min(kept - std::min(l.level, kept), l.ahead) / 2;
  return keep;
}

}  // namespace

std::vector<std::uint8_t> write_kept_accounts(std::span<const KeptAccount> accounts) {
  FileHeader header;
  header.accounts = accounts.size();
  header.digest = XXH3_64bits(accounts.data(), accounts.size_bytes());
  std::vector<std::uint8_t> file(sizeof header + accounts.size_bytes());
  std::memcpy(file.data(), &header, sizeof header);
  if (!accounts.empty())
    std::memcpy(file.data() + sizeof header, accounts.data(), accounts.size_bytes());
  return file;
}

Result<std::vector<KeptAccount>> read_kept_accounts(Bytes file) {
  FileHeader header;
  if (file.size() < sizeof header) return fail("it is too short");
  std::memcpy(&header, file.data(), sizeof header);
  if (header.magic != kAccountsMagic) return fail("it is none of this version");
  if (header.accounts > kMaxKeptAccounts ||
      file.size() != sizeof header + header.accounts * sizeof(KeptAccount))
    return fail("it is not whole");
  std::vector<KeptAccount> accounts(header.accounts);
  if (!accounts.empty())
    std::memcpy(accounts.data(), file.data() + sizeof header,
                accounts.size() * sizeof(KeptAccount));
  if (XXH3_64bits(accounts.data(), accounts.size() * sizeof(KeptAccount)) != header.digest)
    return fail("it is damaged");
  return accounts;
}

void mark_kept_rows(std::span<weir_limit> rows) {
  for (weir_limit& row : rows) {
    const bool lasts = row.per == WEIR_PER_PERSON || row.per == WEIR_PER_HOST ||
                       row.per == WEIR_PER_PERSON_DEST || row.per == WEIR_PER_HOST_DEST;
    if (lasts && row.name != 0 && (row.flags & (WEIR_LIMIT_OBSERVE | WEIR_LIMIT_GRANTED)) == 0)
      row.flags |= WEIR_LIMIT_KEPT;
  }
}

AccountKeeping::Plan AccountKeeping::plan(std::span<const weir_limit> rows,
                                          std::span<const KernelAccount> accounts,
                                          std::uint64_t now_boot_ns) {
  Plan plan;
  decltype(seen_) seen;  // accounts that are gone are not remembered
  for (const KernelAccount& account : accounts) {
    const std::uint32_t n = row_of_account(rows, account.key.limit);
    if (n >= rows.size() || (rows[n].flags & WEIR_LIMIT_KEPT) == 0) continue;
    const weir_limit& row = rows[n];
    const weir_account& value = account.value;
    const Name name{account.key.limit, account.key.per, account.key.who, account.key.dest};
    const auto known = seen_.find(name);
    Seen last = known != seen_.end() ? known->second : Seen{0, 0, now_boot_ns};
    const bool asks = value.asked_ns != last.asked_ns;
    if (asks || value.charged != last.charged) last.since_ns = now_boot_ns;
    last.asked_ns = value.asked_ns;
    last.charged = value.charged;
    const bool idle = now_boot_ns - last.since_ns >= kIdleNs;
    // One that is being made at this moment (make_account of bpf/accounts.h): the next look takes
    // it, and what it asks for. Adopted ones of a former build may stand at 0 for good.
    if (value.kept == 0 && known == seen_.end() && unlisted_of(row, account.key.per) != 0) {
      seen[name] = Seen{value.charged, 0, now_boot_ns};
      continue;
    }
    seen[name] = last;

    const Levels levels = levels_of(row, account, now_boot_ns);
    const AccountPart part = part_of(row, account.key.per);
    const std::uint64_t kept = wanted(levels, part, value.kept, asks, idle);
    if (kept > value.kept) plan.written.push_back(keep_of(account, levels, kept));
    if (kept < value.kept) plan.now.push_back(keep_of(account, levels, kept));
    // What was taken back just now may be on its way still: the next look lists it so.
    const std::uint64_t listed = std::max({kept, value.kept, levels.level});
    if (listed <= levels.unlisted) continue;
    const std::uint64_t unit = part.q4 != 0 ? part.q4 : 1;
    plan.listed.push_back({row.name, account.key.per, 0, account.key.who, account.key.dest,
                           listed / unit + (listed % unit != 0 ? 1 : 0)});
  }
  seen_ = std::move(seen);
  return plan;
}

}  // namespace weir
