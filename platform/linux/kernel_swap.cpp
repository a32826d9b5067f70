// KernelPart: one policy in the place of another, with what was spent carried over.
#include <bpf/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "platform/linux/boot_clock.h"
#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

constexpr std::uint64_t kUnitsPerNs = 16;  // of a windowed word, see weir_abi.h

// Waits until no program runs that began before: the kernel does that after a map within a map was
// changed (kernel/bpf/syscall.c, maybe_wait_bpf_programs), also on one processor, where
// membarrier() does nothing.
Result<void> wait_for_programs() {
  Fd inner(bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_inner", 4, 4, 1, nullptr));
  if (!inner) return fail_with("cannot make a map", errno);
  LIBBPF_OPTS(bpf_map_create_opts, options,
              .inner_map_fd = static_cast<std::uint32_t>(inner.get()));
  Fd outer(bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "weir_outer", 4, 4, 1, &options));
  if (!outer) return fail_with("cannot make a map of maps", errno);
  std::uint32_t zero = 0;
  int fd = inner.get();
  if (bpf_map_update_elem(outer.get(), &zero, &fd, BPF_ANY))
    return fail_with("cannot change a map of maps", errno);
  return {};
}

bool same_meaning(const weir_limit& a, const weir_limit& b) {
  if (a.per != b.per || a.labels != b.labels) return false;
  if ((a.ns_per_byte_q4 == 0) != (b.ns_per_byte_q4 == 0)) return false;
  if (a.name != 0 || b.name != 0) return a.name == b.name;
  return a.bytes == b.bytes && a.ns_per_byte_q4 == b.ns_per_byte_q4 && a.flags == b.flags;
}

// A window's word is a time at a pace of the row: with another pace it says something else. A row
// that only observed may have run ahead of itself by days, which must not become a refusal of days.
bool same_words(const weir_limit& a, const weir_limit& b) {
  return a.ns_per_byte_q4 == b.ns_per_byte_q4 &&
         a.unnamed_ns_per_byte_q4 == b.unnamed_ns_per_byte_q4 &&
         (a.ns_per_byte_q4 == 0 || a.bytes == b.bytes) && a.flags == b.flags;
}

// The same bytes spent, at the new row's pace. All of them, also where the new number is smaller:
// the next one may be larger again. Of a row that only observed, no more than the burst.
std::uint64_t converted(std::uint64_t word, bool unnamed, const weir_limit& old,
                        const weir_limit& next, std::uint64_t now) {
  const std::uint64_t old_q4 = unnamed ? old.unnamed_ns_per_byte_q4 : old.ns_per_byte_q4;
  const std::uint64_t q4 = unnamed ? next.unnamed_ns_per_byte_q4 : next.ns_per_byte_q4;
  if (old_q4 == 0 || word <= now) return word;  // a total: bytes
  const bool observed = (old.flags & ~next.flags & WEIR_LIMIT_OBSERVE) != 0;
  const std::uint64_t burst = unnamed ? next.unnamed_bytes : next.bytes;
  const std::uint64_t most = observed ? burst : (~std::uint64_t{0} - now) / q4;
  return now + std::min((word - now + old_q4 - 1) / old_q4, most) * q4;
}

// A prefix of both is never missing: what it leaves free goes on meanwhile. Twice, because those of
// before may have taken the room.
void replace_prefixes(int map, std::span<const std::pair<Prefix, weir_prefix>> prefixes) {
  std::set<std::string> wanted;
  const auto put = [&] {
    for (const auto& [prefix, value] : prefixes) {
      const weir_prefix_key key = prefix_key(prefix);
      (void)bpf_map_update_elem(map, &key, &value, BPF_ANY);
      wanted.emplace(reinterpret_cast<const char*>(&key), sizeof key);
    }
  };
  put();
  for (const weir_prefix_key& key : keys_of<weir_prefix_key>(map))
    if (!wanted.contains({reinterpret_cast<const char*>(&key), sizeof key}))
      (void)bpf_map_delete_elem(map, &key);
  put();
}

struct Copy {  // of a row's accounts to a number of their own
  std::uint32_t from = 0;
  weir_limit old{}, next{};
};

class Swap {
 public:
  explicit Swap(int accounts) : accounts_(accounts) {}

  // Which numbers the new rows' accounts have.
  void plan(const std::vector<weir_limit>& old, std::span<const weir_limit> rows) {
    next_.assign(rows.begin(), rows.end());
    keys_ = keys_of<weir_account_key>(accounts_);
    std::uint32_t fresh = WEIR_LIMITS;
    for (const weir_account_key& key : keys_) fresh = std::max(fresh, key.limit);
    for (std::uint32_t j = 0; j < old.size(); j++)
      fresh = std::max(fresh, account_number(old[j], j));
    std::vector<bool> taken(old.size());
    for (weir_limit& row : next_) {
      std::uint32_t j = 0;
      while (j < old.size() &&
             (taken[j] || old[j].per == WEIR_PER_NONE || !same_meaning(old[j], row)))
        j++;
      row.account = ++fresh;
      if (j == old.size()) continue;
      taken[j] = true;
      const std::uint32_t number = account_number(old[j], j);
      if (number != 0 && same_words(old[j], row))
        row.account = number;
      else
        copies_.push_back({number, old[j], row});
    }
  }

  Result<void> copy(std::uint64_t now_boot_ns) {
    for (const weir_account_key& key : keys_)
      for (const Copy& copy : copies_) {
        weir_account value{};
        if (key.limit != copy.from || bpf_map_lookup_elem(accounts_, &key, &value)) continue;
        value.word = converted(value.word, (key.per & WEIR_PER_UNNAMED) != 0, copy.old, copy.next,
                               now_boot_ns * kUnitsPerNs);
        value.kept = 1;  // as good as nothing, until the disk lists it by the new row
        value.mark = 0;
        weir_account_key to = key;
        to.limit = copy.next.account;
        if (bpf_map_update_elem(accounts_, &to, &value, BPF_ANY))
          return fail_with("no room for the accounts of a policy beside those of the last", errno);
      }
    return {};
  }

  // Accounts of no row any more.
  void forget(std::span<const weir_limit> rows) {
    std::set<std::uint32_t> used{WEIR_LIMITS, WEIR_EXCEPTIONS};
    for (std::uint32_t i = 0; i < rows.size(); i++)
      if (rows[i].per != WEIR_PER_NONE) used.insert(account_number(rows[i], i));
    for (const weir_account_key& key : keys_of<weir_account_key>(accounts_))
      if (!used.contains(key.limit)) (void)bpf_map_delete_elem(accounts_, &key);
  }

  const std::vector<weir_limit>& rows() const { return next_; }

 private:
  int accounts_;
  std::vector<weir_limit> next_;
  std::vector<weir_account_key> keys_;
  std::vector<Copy> copies_;
};

}  // namespace

Result<void> KernelPart::replace(const KernelPolicy& policy) {
  auto old = limits();
  if (!old) return tl::unexpected(old.error());
  weir_state& values = state_->values;
  const bool was_swapping = values.swapping != 0;  // a loader that was killed left it so
  const Shutting shutting = shutting_under(policy, *this);
  auto give_up = [&](const Error& error, Swap* swap) -> Result<void> {
    if (swap != nullptr) swap->forget(*old);
    values.swapping = was_swapping ? 1 : 0;
    (void)state_->write_state();
    return tl::unexpected(error);
  };
  values.swapping = 1;
  if (auto written = state_->write_state(); !written) return written;
  if (auto waited = wait_for_programs(); !waited) return give_up(waited.error(), nullptr);
  Swap swap(state_->map("accounts"));
  swap.plan(*old, policy.rows);
  if (auto copied = swap.copy(boot_now_ns()); !copied) return give_up(copied.error(), &swap);
  if (auto written = state_->write_limits(swap.rows()); !written)
    return give_up(written.error(), &swap);
  state_->open_overflow(swap.rows());
  if (policy.past != nullptr) state_->put_back(*policy.past, swap.rows());
  // From here on the new rows are in the tables. A prefix that finds no room leaves its address to
  // the verdicts, which is never looser.
  std::vector<std::pair<Prefix, weir_prefix>> prefixes(policy.prefixes.begin(),
                                                       policy.prefixes.end());
  prefixes.insert(prefixes.end(), shutting.prefixes.begin(), shutting.prefixes.end());
  replace_prefixes(state_->map("prefixes"), prefixes);
  for (const auto& [cookie, verdict] : shutting.verdicts)
    (void)bpf_map_update_elem(state_->map("verdicts"), &cookie, &verdict, BPF_ANY);
  values.unclassified = policy.state.unclassified;
  values.acknowledgements = policy.state.acknowledgements;
  values.answers = policy.state.answers;
  values.first_flight = policy.state.first_flight;
  values.verdict_wait_ns = policy.state.verdict_wait_ns;
  values.charged_only = policy.state.charged_only;
  values.generation++;  // sockets look themselves up again, verdicts of before count no more
  values.swapping = 0;
  if (auto written = state_->write_state(); !written) return written;
  swap.forget(swap.rows());
  state_->open_for_tasks();
  return {};
}

Result<void> KernelPart::overwrite_state(const weir_state& state) {
  state_->values = state;
  return state_->write_state();
}

}  // namespace weir
