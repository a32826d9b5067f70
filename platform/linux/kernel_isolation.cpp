// KernelPart: a host that is cut off, and where it may still send.
#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "platform/linux/kernel_state.h"

namespace weir {

Result<void> KernelPart::isolate(std::uint64_t until_boot_ns) {
  const std::uint64_t before = std::exchange(state_->values.isolated_until, until_boot_ns);
  Result<void> written = state_->write_state();
  if (!written) state_->values.isolated_until = before;  // another write must not begin it
  return written;
}

Result<void> KernelPart::observe(std::uint64_t until_boot_ns) {
  const std::uint64_t before = std::exchange(state_->values.observed_until, until_boot_ns);
  Result<void> written = state_->write_state();
  if (!written) state_->values.observed_until = before;
  return written;
}

Result<void> KernelPart::set_refuges(std::span<const std::pair<Prefix, std::uint32_t>> refuges) {
  // The longest prefix decides: each says what those around it say too.
  std::map<Prefix, std::uint32_t> wanted;
  for (const auto& [prefix, what] : refuges) wanted[prefix] |= what;
  for (auto& [prefix, what] : wanted)
    for (const auto& [around, more] : wanted)
      if (around.length <= prefix.length && around.contains(prefix.address)) what |= more;
  if (wanted.size() > WEIR_REFUGES / 2) return fail("more refuges than there is room for");
  const int map = state_->map("refuges");
  const auto before = keys_of<weir_prefix_key>(map);
  for (const auto& [prefix, what] : wanted) {
    const weir_prefix_key key = prefix_key(prefix);
    const weir_refuge value{what, 0};
    if (bpf_map_update_elem(map, &key, &value, BPF_ANY))
      return fail_with("cannot write refuge " + prefix.text(), errno);
  }
  for (const weir_prefix_key& key : before) {
    Prefix prefix;
    std::copy_n(key.address, prefix.address.bytes.size(), prefix.address.bytes.begin());
    prefix.length = static_cast<std::uint8_t>(key.length);
    if (!wanted.contains(prefix) && bpf_map_delete_elem(map, &key) && errno != ENOENT)
      return fail_with("cannot remove refuge " + prefix.text(), errno);
  }
  const bool any = std::any_of(wanted.begin(), wanted.end(), [](const auto& one) {
    return (one.second & WEIR_REFUGE_GATEWAY) != 0;
  });
  state_->values.gateways = any ? 1 : 0;
  return state_->write_state();
}

}  // namespace weir
