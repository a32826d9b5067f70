// What a running or a former guard has pinned, read only: see pinned_tables.h.
#include "platform/linux/pinned_tables.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

constexpr std::uint64_t kQ4 = 16;  // a window's word counts 1/16 ns

Fd open_map(const std::string& dir, const char* name) {
  LIBBPF_OPTS(bpf_obj_get_opts, options, .file_flags = BPF_F_RDONLY);
  return Fd(bpf_obj_get_opts((dir + "/maps/" + name).c_str(), &options));
}

}  // namespace

Result<PinnedTables> read_pinned(const std::string& pin_dir) {
  std::string dir = fmt::format("{}/weir/{}", pin_dir, WEIR_LAYOUT);
  Fd limits = open_map(dir, "limits"), accounts = open_map(dir, "accounts"),
     counters = open_map(dir, "counters"), state = open_map(dir, "state");
  if (!limits || !accounts || !counters)
    return fail(fmt::format("nothing of Weir is pinned in {}", pin_dir));
  PinnedTables tables;
  tables.attached = access((dir + "/links/weir_egress").c_str(), F_OK) == 0;
  tables.lsm = access((dir + "/links/" + kLsmProgram).c_str(), F_OK) == 0;
  tables.limits.resize(WEIR_LIMITS);
  for (std::uint32_t row = 0; row < WEIR_LIMITS; row++)
    bpf_map_lookup_elem(limits.get(), &row, &tables.limits[row]);
  for (const weir_account_key& key : keys_of<weir_account_key>(accounts.get())) {
    KernelAccount one{key, {}};
    if (!bpf_map_lookup_elem(accounts.get(), &key, &one.value)) tables.accounts.push_back(one);
  }
  // Their numbers become rows; what belongs to no row is of a policy that was replaced.
  for (KernelAccount& account : tables.accounts) {
    if (account.key.limit == WEIR_EXCEPTIONS) continue;
    std::uint32_t row = 0;
    while (row < WEIR_LIMITS && account_number(tables.limits[row], row) != account.key.limit) row++;
    account.key.limit = row;
  }
  weir_state now{};
  const std::uint32_t zero = 0;
  if (state && !bpf_map_lookup_elem(state.get(), &zero, &now)) {
    tables.isolated_until_boot_ns = now.isolated_until;
    tables.observed_until_boot_ns = now.observed_until;
  }
  const Fd devices = open_map(dir, "devices"), wire = open_map(dir, "wire");
  if (devices && wire) tables.wire = wire_of(devices.get(), wire.get());
  const Fd shuts = open_map(dir, "shuts");
  for (std::uint32_t slot = 0; shuts && slot < WEIR_SHUTS; slot++) {
    weir_shut one{};
    if ((now.shuts >> slot & 1) != 0 && !bpf_map_lookup_elem(shuts.get(), &slot, &one))
      tables.shut_until_boot_ns[slot] = one.until_ns;
  }
  std::vector<std::uint64_t> each(
      static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1)));
  for (std::uint32_t n = 0; n < WEIR_COUNTERS; n++)
    if (!bpf_map_lookup_elem(counters.get(), &n, each.data()))
      for (std::uint64_t part : each) tables.counters[n] += part;
  return tables;
}

Result<std::vector<KernelTask>> read_tasks(const std::string& pin_dir) {
  const Fd map = open_map(fmt::format("{}/weir/{}", pin_dir, WEIR_LAYOUT), "tasks");
  if (!map) return fail(fmt::format("nothing of Weir is pinned in {}", pin_dir));
  std::vector<KernelTask> tasks;
  for (std::uint32_t pid : keys_of<std::uint32_t>(map.get())) {
    KernelTask one{pid, {}};
    if (!bpf_map_lookup_elem(map.get(), &pid, &one.value)) tasks.push_back(one);
  }
  return tasks;
}

std::uint64_t spent_now(const weir_limit& row, const weir_account& account,
                        std::uint64_t now_boot_ns) {
  if (row.ns_per_byte_q4 == 0) return account.word;
  std::uint64_t now = now_boot_ns * kQ4;
  return account.word <= now ? 0 : (account.word - now) / row.ns_per_byte_q4;
}

}  // namespace weir
