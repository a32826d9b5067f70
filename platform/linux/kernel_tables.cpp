// KernelPart: reading and writing the tables of the kernel part.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "platform/linux/canary.h"
#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

// Windowed words count 1/16 ns, see weir_abi.h.
constexpr std::uint64_t kUnitsPerNs = 16;

constexpr std::int64_t kDayNs = 24ll * 3600 * 1'000'000'000;

constexpr int kMostWalks = 16;  // million sockets

// A row per destination keeps a quarter for flows that wait for their name, and not more than this:
// 16 first flights, or a hundred hellos and more, to one place at once.
constexpr std::uint64_t kMostUnnamed = 256 << 10;

// What a byte's room takes to come back, so that `bytes` come back over the window; rounded up.
std::uint64_t refill(std::int64_t window_ns, std::uint64_t bytes) {
  const std::uint64_t units = static_cast<std::uint64_t>(window_ns) * kUnitsPerNs;
  bytes = std::max<std::uint64_t>(bytes, 1);
  return std::max<std::uint64_t>((units + bytes - 1) / bytes, 1);
}

bool is_of_tree(const weir_account_key& key) {
  const std::uint32_t per = key.per & ~WEIR_PER_UNNAMED;  // an overflow account is of no tree
  return per == WEIR_PER_TREE || per == WEIR_PER_TREE_DEST;
}

weir_account_key lease_key(std::uint64_t tree, std::uint64_t target) {
  return {WEIR_LIMITS, 0, tree, target};
}

Result<int> duplicate(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return fail_with("cannot duplicate a descriptor", errno);
  return copy;
}

}  // namespace

weir_prefix_key prefix_key(const Prefix& prefix) {
  weir_prefix_key key{};
  key.length = prefix.length;
  std::copy(prefix.address.bytes.begin(), prefix.address.bytes.end(), key.address);
  return key;
}

weir_limit limit_row(std::uint64_t bytes, std::int64_t window_ns, weir_per per, std::uint32_t flags,
                     std::uint32_t labels) {
  weir_limit row{};
  row.bytes = bytes;
  row.per = per;
  row.flags = flags;
  row.labels = labels;
  if (per == WEIR_PER_FLOW) {  // what has no socket is one flow a day of its person
    row.flow_bytes = bytes;
    window_ns = kDayNs;
  }
  // Half at once, the other half over the window: any window of that length passes at most all.
  if (window_ns > 0) row.bytes = bytes / 2;
  if (has_unnamed_part(per)) {
    row.unnamed_bytes = std::min(row.bytes / 4, kMostUnnamed);
    row.bytes -= row.unnamed_bytes;
  }
  if (window_ns > 0) {
    row.ns_per_byte_q4 = refill(window_ns, row.bytes);
    row.unnamed_ns_per_byte_q4 = refill(window_ns, row.unnamed_bytes);
  }
  return row;
}

std::uint64_t default_destination(const IpAddress& address) {
  const auto& a = address.bytes;
  std::uint64_t key = address.is_v4() ? 4 : 6;
  key <<= 8;  // bits 48..55 stay 0
  for (std::size_t i = 0; i < 6; i++)
    key = key << 8 | (address.is_v4() ? (i < 3 ? 0 : a[9 + i]) : a[i]);
  return key;
}

Result<void> KernelState::write_state() {
  std::uint32_t zero = 0;
  values.blocks = static_cast<std::uint32_t>(blocks.size());
  if (bpf_map_update_elem(map("state"), &zero, &values, BPF_ANY))
    return fail_with("cannot write the kernel part's state", errno);
  return {};
}

Result<void> KernelState::write_limits(std::span<const weir_limit> rows) {
  if (rows.size() > WEIR_POLICY_LIMITS)
    return fail(
        fmt::format("{} limits: the kernel part holds {}", rows.size(), WEIR_POLICY_LIMITS));
  std::array<std::uint32_t, WEIR_LIMITS> keys{};
  std::array<weir_limit, WEIR_LIMITS> all{};
  std::copy(rows.begin(), rows.end(), all.begin());
  all[WEIR_EXCEPTIONS] = exceptions_row();
  values.fixed = values.holds = values.flows = 0;
  for (std::uint32_t i = 0; i < WEIR_LIMITS; i++) {
    keys[i] = i;
    if (all[i].per != WEIR_PER_NONE && all[i].flags & WEIR_LIMIT_FIXED)
      values.fixed |= std::uint64_t{1} << i;
    if ((all[i].flags & (WEIR_LIMIT_HOLD | WEIR_LIMIT_OBSERVE)) == WEIR_LIMIT_HOLD)
      values.holds |= std::uint64_t{1} << i;
    if (all[i].per == WEIR_PER_FLOW) values.flows |= std::uint64_t{1} << i;
  }
  // One call: whoever is killed has written all rows or none.
  std::uint32_t count = WEIR_LIMITS;
  if (bpf_map_update_batch(map("limits"), keys.data(), all.data(), &count, nullptr))
    return fail_with("cannot write the limits", errno);
  return {};
}

Result<void> KernelPart::set_limits(std::span<const weir_limit> rows) {
  if (auto written = state_->write_limits(rows); !written) return written;
  state_->open_overflow(rows);
  return state_->write_state();
}

Result<std::vector<weir_limit>> KernelPart::limits() const {
  std::vector<weir_limit> rows(WEIR_LIMITS);
  for (std::uint32_t row = 0; row < WEIR_LIMITS; row++)
    if (bpf_map_lookup_elem(state_->map("limits"), &row, &rows[row]))
      return fail_with("cannot read the limit table", errno);
  return rows;
}

Result<void> KernelPart::set_state(const weir_state& state) {
  weir_state& v = state_->values;
  v.unclassified = state.unclassified;
  v.acknowledgements = state.acknowledgements;
  v.answers = state.answers;
  v.first_flight = state.first_flight;
  v.verdict_wait_ns = state.verdict_wait_ns;
  v.charged_only = state.charged_only;
  v.generation = state.generation;
  return state_->write_state();
}

Result<void> KernelPart::set_home(const std::string& cgroup, std::uint64_t tree) {
  auto place = find_cgroup(cgroup);
  if (!place) return tl::unexpected(place.error());
  state_->values.home_cgroup = place->id;
  state_->values.home_level = place->level;
  state_->values.home_tree = tree;
  for (const KernelTask& t : tasks().value_or(std::vector<KernelTask>{}))
    if (t.value.tree == tree) state_->values.home_person = t.value.person;
  return state_->write_state();
}

Result<void> KernelPart::put_prefix(const Prefix& prefix, const weir_prefix& value) {
  weir_prefix_key key = prefix_key(prefix);
  if (bpf_map_update_elem(state_->map("prefixes"), &key, &value, BPF_ANY))
    return fail_with("cannot write prefix " + prefix.text(), errno);
  return {};
}

Result<void> KernelPart::remove_prefix(const Prefix& prefix) {
  weir_prefix_key key = prefix_key(prefix);
  if (bpf_map_delete_elem(state_->map("prefixes"), &key) && errno != ENOENT)
    return fail_with("cannot remove prefix " + prefix.text(), errno);
  return {};
}

Result<void> KernelPart::put_verdict(std::uint64_t cookie, std::uint64_t limits,
                                     std::uint64_t destination, std::uint32_t via,
                                     std::uint32_t exception) {
  weir_verdict v{limits, destination, state_->values.generation, via, exception, 0};
  if (bpf_map_update_elem(state_->map("verdicts"), &cookie, &v, BPF_ANY))
    return fail_with(fmt::format("cannot write the verdict of socket {}", cookie), errno);
  if (state_->values.holds != 0 && (limits & state_->values.holds) == 0) (void)forget_hold(cookie);
  state_->values.verdicts++;
  if (state_->walk >= 0 && !bpf_map_delete_elem(state_->map("held"), &cookie))
    state_->to_wake = true;
  return state_->write_state();
}

void KernelPart::wake() {
  if (!std::exchange(state_->to_wake, false)) return;
  Fd walk(bpf_iter_create(state_->walk));
  if (!walk) return;
  // It prints nothing: a read returns when the walk is over, EAGAIN after a million sockets.
  char nothing[64];
  for (int n = 0; n < kMostWalks; n++)
    if (read(walk.get(), nothing, sizeof nothing) >= 0 || errno != EAGAIN) return;
}

Result<void> KernelPart::remove_verdict(std::uint64_t cookie) {
  if (bpf_map_delete_elem(state_->map("verdicts"), &cookie) && errno != ENOENT)
    return fail_with(fmt::format("cannot remove the verdict of socket {}", cookie), errno);
  return {};
}

Result<void> KernelPart::put_block(std::uint64_t tree, std::uint64_t target,
                                   std::uint64_t until_boot_ns) {
  weir_account_key key = lease_key(tree, target);
  weir_account value{};
  value.until_ns = until_boot_ns;
  if (bpf_map_update_elem(state_->map("accounts"), &key, &value, BPF_ANY))
    return fail_with(fmt::format("cannot block tree {}", tree), errno);
  state_->blocks[{tree, target}] = until_boot_ns;
  return state_->write_state();
}

Result<void> KernelPart::remove_block(std::uint64_t tree, std::uint64_t target) {
  weir_account_key key = lease_key(tree, target);
  if (bpf_map_delete_elem(state_->map("accounts"), &key) && errno != ENOENT)
    return fail_with(fmt::format("cannot unblock tree {}", tree), errno);
  state_->blocks.erase({tree, target});
  return state_->write_state();
}

std::size_t KernelPart::expire_blocks(std::uint64_t now_boot_ns) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ended;
  for (const auto& [what, until] : state_->blocks)
    if (until <= now_boot_ns) ended.push_back(what);
  std::size_t removed = 0;
  for (const auto& [tree, target] : ended)
    if (remove_block(tree, target)) removed++;
  return removed;
}

Result<std::vector<KernelAccount>> KernelPart::accounts() const {
  std::vector<KernelAccount> all;
  for (const auto& key : keys_of<weir_account_key>(state_->map("accounts"))) {
    KernelAccount a{key, {}};
    if (!bpf_map_lookup_elem(state_->map("accounts"), &key, &a.value)) all.push_back(a);
  }
  return all;
}

std::optional<weir_account> KernelPart::account(const weir_account_key& key) const {
  weir_account value{};
  if (bpf_map_lookup_elem(state_->map("accounts"), &key, &value)) return std::nullopt;
  return value;
}

std::size_t KernelPart::forget_idle_accounts(std::uint64_t now, std::uint64_t idle_ns) {
  constexpr std::uint64_t kLookEveryNs = 60'000'000'000;
  if (now < state_->next_idle_look_ns) return 0;
  state_->next_idle_look_ns = now + std::min(kLookEveryNs, idle_ns);
  auto all = accounts();
  auto rows = limits();
  auto living = tasks();
  if (!all || !rows || !living) return 0;
  std::set<std::uint64_t> trees;
  for (const KernelTask& t : *living) trees.insert(t.value.tree);
  decltype(state_->idle) seen;  // accounts that are gone are not remembered
  std::size_t removed = 0;
  for (const KernelAccount& a : *all) {
    const std::uint32_t row = row_of_account(*rows, a.key.limit);
    if (row == WEIR_LIMITS || (a.key.per & WEIR_PER_OVERFLOW) != 0)
      continue;  // a lease, or made once
    // Of a canary that was killed before it took its account away (canary.h).
    if (row == WEIR_EXCEPTIONS && a.key.dest >= kFirstCanary && a.value.until_ns <= now) {
      (void)bpf_map_delete_elem(state_->map("accounts"), &a.key);
      continue;
    }
    auto name = std::tuple(a.key.limit, a.key.per, a.key.who, a.key.dest);
    auto known = state_->idle.find(name);
    bool same = known != state_->idle.end() && known->second.charged == a.value.charged;
    Idle idle = same ? known->second : Idle{a.value.charged, now};
    bool of_tree = is_of_tree(a.key);
    bool full_again = (*rows)[row].ns_per_byte_q4 != 0 && a.value.word <= now * kUnitsPerNs;
    bool unreachable = of_tree && a.key.who != 0 && !trees.contains(a.key.who);
    if (same && now - idle.since_ns >= idle_ns && (full_again || unreachable) &&
        !bpf_map_delete_elem(state_->map("accounts"), &a.key))
      removed++;
    else
      seen[name] = idle;
  }
  state_->idle = std::move(seen);
  return removed;
}

Result<void> KernelPart::forget_accounts_of_tree(std::uint64_t tree) {
  for (const auto& key : keys_of<weir_account_key>(state_->map("accounts"))) {
    if (is_of_tree(key) && key.limit != WEIR_LIMITS && key.who == tree &&
        bpf_map_delete_elem(state_->map("accounts"), &key) && errno != ENOENT)
      return fail_with(fmt::format("cannot remove an account of tree {}", tree), errno);
  }
  return {};
}

Result<void> KernelPart::forget_accounts_of_row(std::uint32_t row) {
  auto rows = limits();
  if (!rows) return tl::unexpected(rows.error());
  const std::uint32_t limit = account_number((*rows)[row], row);
  for (const auto& key : keys_of<weir_account_key>(state_->map("accounts")))
    if (key.limit == limit && (key.per & WEIR_PER_OVERFLOW) == 0 &&
        bpf_map_delete_elem(state_->map("accounts"), &key) && errno != ENOENT)
      return fail_with(fmt::format("cannot remove an account of limit {}", limit), errno);
  return {};
}

Result<std::vector<KernelTask>> KernelPart::tasks() const {
  std::vector<KernelTask> all;
  for (std::uint32_t pid : keys_of<std::uint32_t>(state_->map("tasks"))) {
    KernelTask t{pid, {}};
    if (!bpf_map_lookup_elem(state_->map("tasks"), &pid, &t.value)) all.push_back(t);
  }
  return all;
}

std::optional<weir_task> KernelPart::task(std::uint32_t pid) const {
  weir_task value{};
  if (bpf_map_lookup_elem(state_->map("tasks"), &pid, &value)) return std::nullopt;
  return value;
}

std::array<std::uint64_t, WEIR_COUNTERS> KernelPart::counters() const {
  std::array<std::uint64_t, WEIR_COUNTERS> sums{};
  const int cpus = std::max(libbpf_num_possible_cpus(), 1);
  std::vector<std::uint64_t> each(static_cast<std::size_t>(cpus));
  for (std::uint32_t i = 0; i < WEIR_COUNTERS; i++)
    if (!bpf_map_lookup_elem(state_->map("counters"), &i, each.data()))
      for (std::uint64_t n : each) sums[i] += n;
  return sums;
}

Result<int> KernelPart::events_fd() const {
  return duplicate(state_->map("events"));
}
Result<int> KernelPart::told_fd() const {
  return duplicate(state_->map("told"));
}
int KernelPart::told_poll_fd() const {
  return ring_buffer__epoll_fd(state_->told.get());
}

std::size_t KernelPart::poll_told(const std::function<void(const weir_refused&)>& told) {
  state_->on_told = told;
  int n = ring_buffer__consume(state_->told.get());
  state_->on_told = nullptr;
  return n > 0 ? static_cast<std::size_t>(n) : 0;
}

}  // namespace weir
