// KernelPart: what accounts may spend before the disk says that they have (docs/decisions/0030),
// and the accounts of those that find no room in the table.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "platform/linux/boot_clock.h"
#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

constexpr std::uint64_t kUnitsPerNs = 16;  // of a windowed word, see weir_abi.h

// A program of the object that the guard calls (bpf/keep.h).
template <class Context>
void run(const KernelState& state, const char* name, Context& context) {
  const bpf_program* program = bpf_object__find_program_by_name(state.object.get(), name);
  if (program == nullptr || bpf_program__fd(program) < 0) return;
  LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &context, .ctx_size_in = sizeof context);
  (void)bpf_prog_test_run_opts(bpf_program__fd(program), &options);
}

}  // namespace

void KernelPart::keep(std::span<const weir_keep> accounts) {
  for (weir_keep one : accounts) run(*state_, "weir_keep", one);
}

void KernelPart::wake_early() {
  if (state_->walk >= 0) state_->to_wake = true;
}

bool KernelPart::take_asked() {
  return std::exchange(state_->asked, false);
}

// One that is there already keeps what was spent.
void KernelState::open_overflow(std::span<const weir_limit> rows) {
  for (std::uint32_t n = 0; n < rows.size(); n++) {
    const weir_limit& row = rows[n];
    if (row.per == WEIR_PER_NONE || (row.flags & WEIR_LIMIT_GRANTED) != 0) continue;
    const std::uint32_t parts[] = {row.per, row.per | WEIR_PER_UNNAMED};
    for (std::uint32_t per : std::span(parts).first(has_unnamed_part(row.per) ? 2 : 1)) {
      const weir_account_key key{account_number(row, n), per | WEIR_PER_OVERFLOW, 0, 0};
      const weir_account fresh{};
      (void)bpf_map_update_elem(map("accounts"), &key, &fresh, BPF_NOEXIST);
    }
  }
}

void KernelState::open_for_tasks() {
  std::set<std::uint32_t> persons;
  for (std::uint32_t pid : keys_of<std::uint32_t>(map("tasks"))) {
    weir_task task{};
    if (bpf_map_lookup_elem(map("tasks"), &pid, &task) == 0) persons.insert(task.person);
  }
  for (std::uint32_t person : persons) {
    weir_open who{person, 0};
    run(*this, "weir_open", who);
  }
}

// Before the rows count. Nothing is refilled for the time in between: no clock says how long it
// was. What finds no room in the table counts against the row's overflow account.
void KernelState::put_back(const KernelPast& past, std::span<const weir_limit> rows) {
  const std::uint64_t now = boot_now_ns() * kUnitsPerNs;
  values.fresh_ns = past.known || past.lost ? now / kUnitsPerNs : 0;
  values.unlisted_spent = past.lost ? 1 : 0;
  for (const KeptAccount& one : past.accounts) {
    std::uint32_t n = 0;
    while (n < rows.size() && (rows[n].name != one.row_name || rows[n].name == 0 ||
                               rows[n].per != (one.per & ~(WEIR_PER_UNNAMED | WEIR_PER_OVERFLOW))))
      n++;
    if (n == rows.size()) continue;
    const AccountPart part = part_of(rows[n], one.per);
    weir_account_key key{account_number(rows[n], n), one.per, one.who, one.dest};
    weir_account value{};
    value.kept = part.q4 != 0 ? std::min(one.bytes, part.bytes) * part.q4 : one.bytes;
    value.mark = value.kept / 2;
    value.word = part.q4 != 0 ? now + value.kept : value.kept;
    if (bpf_map_update_elem(map("accounts"), &key, &value, BPF_ANY) == 0) continue;
    key = {key.limit, key.per | WEIR_PER_OVERFLOW, 0, 0};
    weir_account shared{};
    if (bpf_map_lookup_elem(map("accounts"), &key, &shared) != 0) continue;
    shared.word = std::max(shared.word, part.q4 != 0 ? now : 0) + value.kept;
    (void)bpf_map_update_elem(map("accounts"), &key, &shared, BPF_EXIST);
  }
}

}  // namespace weir
