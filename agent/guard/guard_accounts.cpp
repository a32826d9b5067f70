// The guard: what accounts have spent is on the disk before it is spent. See guard.h and
// docs/decisions/0030.
#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "agent/guard/guard.h"
#include "platform/linux/boot_clock.h"

namespace weir {
namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kLookNs = 10'000 * kMs;  // also when nobody asks: what is idle gives back
constexpr std::uint64_t kAgainNs = 1'000 * kMs;  // after a disk that did not take it
// A table of 65,536 accounts takes some 60 ms to read: reading it is a third of the time at most.
constexpr std::uint64_t kPauses = 2;

}  // namespace

std::vector<weir_limit> Guard::rows_of(const FlatPolicy& policy) const {
  std::vector<weir_limit> rows{policy.header->table, policy.header->table + policy.header->limits};
  if (kept_) mark_kept_rows(rows);
  return rows;
}

// The disk has what was asked, or not.
void Guard::take_kept(bool kept, std::uint64_t now) {
  KeptSide& side = *kept_;
  ++(kept ? counters_.accounts_kept : counters_.accounts_not_kept);
  if (kept) {
    side.file = std::move(side.asked);
    kernel_.keep(side.written);
    if (!side.written.empty()) kernel_.wake_early();
  } else {
    if (!side.failed)
      fmt::print(stderr,
                 "weir-guard: what was spent can't be written to the disk: what is bounded stops "
                 "there until it can\n");
    side.next_ns = now + kAgainNs;
    side.due = true;
  }
  side.failed = !kept;
}

// Until the answer is there nothing else is asked, and nobody gets further than the file says.
void Guard::keep_accounts(std::uint64_t now) {
  if (!kept_) return;
  KeptSide& side = *kept_;
  if (side.line.waits()) {
    const std::optional<bool> kept = side.line.hear(now);
    if (!kept) return;
    take_kept(*kept, now);
  }
  if (now < side.next_ns || (!side.due && now < side.look_ns)) return;
  side.due = false;
  side.look_ns = now + kLookNs;
  Result<std::vector<KernelAccount>> accounts = kernel_.accounts();
  Result<std::vector<weir_limit>> rows = kernel_.limits();
  if (!accounts || !rows) return;
  AccountKeeping::Plan plan = side.keeping.plan(*rows, *accounts, boot_now_ns());
  kernel_.keep(plan.now);
  side.asked = write_kept_accounts(plan.listed);
  side.written = std::move(plan.written);
  side.next_ns = now + kPauses * (boot_now_ns() - now);
  if (side.asked == side.file) {  // it says so already
    kernel_.keep(side.written);
    if (!side.written.empty()) kernel_.wake_early();
    return;
  }
  if (side.line.ask(KeptFile::accounts, side.asked, now)) return;
  side.next_ns = now + kAgainNs;
  side.due = true;
}

}  // namespace weir
