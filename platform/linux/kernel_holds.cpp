// KernelPart: flows that wait for an answer, and what ends that.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <cerrno>

#include "platform/linux/kernel_state.h"
#include "platform/linux/pinned_tables.h"

namespace weir {
namespace {

constexpr std::uint8_t kTcp = 6;  // IPPROTO_TCP

std::vector<KernelHold> holds_in(int map) {
  std::vector<KernelHold> all;
  for (std::uint64_t cookie : keys_of<std::uint64_t>(map)) {
    KernelHold one{cookie, {}};
    if (!bpf_map_lookup_elem(map, &cookie, &one.flow)) all.push_back(one);
  }
  return all;
}

}  // namespace

weir_limit hold_row(std::uint64_t goes_on_ns) {
  weir_limit row{};
  row.per = WEIR_PER_TREE_DEST;
  row.flags = WEIR_LIMIT_HOLD;
  row.goes_on_ns = goes_on_ns;
  return row;
}

std::vector<KernelHold> KernelPart::holds() const {
  return holds_in(state_->map("holds"));
}

Result<void> KernelPart::answer_hold(std::uint32_t account, std::uint64_t tree,
                                     std::uint64_t destination, std::uint64_t until_boot_ns) {
  const weir_account_key key{account, WEIR_PER_TREE_DEST, tree, destination};
  weir_account value{};
  value.until_ns = until_boot_ns;
  if (bpf_map_update_elem(state_->map("accounts"), &key, &value, BPF_ANY))
    return fail_with(fmt::format("no room for the answer to a hold of tree {}", tree), errno);
  return {};
}

bool KernelPart::forget_hold(std::uint64_t cookie) {
  if (bpf_map_delete_elem(state_->map("holds"), &cookie)) return false;
  if (state_->walk >= 0) state_->to_wake = true;
  return true;
}

std::uint32_t KernelPart::account_of(std::uint32_t row) const {
  weir_limit limit{};
  if (bpf_map_lookup_elem(state_->map("limits"), &row, &limit)) return row;
  return account_number(limit, row);
}

std::uint32_t KernelPart::row_of(std::uint32_t account) const {
  Result<std::vector<weir_limit>> rows = limits();
  return rows ? row_of_account(*rows, account) : WEIR_LIMITS;
}

std::vector<KernelHold> read_holds(const std::string& pin_dir) {
  LIBBPF_OPTS(bpf_obj_get_opts, options, .file_flags = BPF_F_RDONLY);
  const std::string path = fmt::format("{}/weir/{}/maps/holds", pin_dir, WEIR_LAYOUT);
  const Fd map(bpf_obj_get_opts(path.c_str(), &options));
  return map ? holds_in(map.get()) : std::vector<KernelHold>{};
}

std::size_t end_pinned_holds(const std::string& pin_dir) {
  const std::string path = fmt::format("{}/weir/{}/maps/holds", pin_dir, WEIR_LAYOUT);
  const Fd map(bpf_obj_get(path.c_str()));
  std::size_t ended = 0;
  if (!map) return 0;
  for (const KernelHold& one : holds_in(map.get()))
    if (one.flow.tuple.protocol == kTcp)
      ended += destroy_socket(one.flow.tuple, one.cookie) ? 1 : 0;
  return ended;
}

}  // namespace weir
