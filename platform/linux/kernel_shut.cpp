// KernelPart: places that an administrator blocked for a time.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <unordered_map>

#include "platform/linux/kernel_state.h"

namespace weir {
namespace {

using Slots = std::map<Prefix, std::uint32_t>;
using NameSlots = std::map<std::uint64_t, std::uint32_t>;

// The longest prefix decides: each says what those around it say too.
Slots slots_of(std::span<const KernelShut> shuts) {
  Slots slots;
  for (const KernelShut& one : shuts)
    if (one.prefix) slots[*one.prefix] |= 1u << one.slot;
  const Slots own = slots;
  for (auto& [prefix, bits] : slots)
    for (const auto& [around, more] : own)
      if (around.length <= prefix.length && around.contains(prefix.address)) bits |= more;
  return slots;
}

Prefix prefix_of(const weir_prefix_key& key) {
  Prefix prefix;
  std::copy_n(key.address, prefix.address.bytes.size(), prefix.address.bytes.begin());
  prefix.length = static_cast<std::uint8_t>(key.length);
  return prefix;
}

std::set<std::uint64_t> blocked_names(const KernelState& state) {
  if (state.values.shuts == 0) return {};
  const auto keys = keys_of<std::uint64_t>(state.map("shut_names"));
  return {keys.begin(), keys.end()};
}

template <class Key>
bool holds_already(int map, const Key& key, std::uint32_t bits) {
  weir_shut_slots now{};
  return bpf_map_lookup_elem(map, &key, &now) == 0 && now.slots == bits;
}

// What goes makes room for what comes: no slot that is in use looks at either.
Result<void> write_prefixes(int map, const Slots& wanted) {
  for (const weir_prefix_key& key : keys_of<weir_prefix_key>(map)) {
    const Prefix prefix = prefix_of(key);
    if (!wanted.contains(prefix) && bpf_map_delete_elem(map, &key) && errno != ENOENT)
      return fail_with("cannot unblock " + prefix.text(), errno);
  }
  for (const auto& [prefix, bits] : wanted) {
    const weir_prefix_key key = prefix_key(prefix);
    const weir_shut_slots value{bits, 0};
    if (!holds_already(map, key, bits) && bpf_map_update_elem(map, &key, &value, BPF_ANY))
      return fail_with("cannot block " + prefix.text(), errno);
  }
  return {};
}

Result<void> write_names(int map, std::span<const KernelShut> shuts) {
  NameSlots wanted;
  for (const KernelShut& one : shuts)
    for (std::uint64_t key : one.names) wanted[key] |= 1u << one.slot;
  for (std::uint64_t key : keys_of<std::uint64_t>(map))
    if (!wanted.contains(key) && bpf_map_delete_elem(map, &key) && errno != ENOENT)
      return fail_with("cannot unblock a name", errno);
  for (const auto& [key, bits] : wanted) {
    const weir_shut_slots value{bits, 0};
    if (!holds_already(map, key, bits) && bpf_map_update_elem(map, &key, &value, BPF_ANY))
      return fail_with("cannot block a name", errno);
  }
  return {};
}

bool same(const weir_shut& a, const weir_shut& b) {
  return a.until_ns == b.until_ns && a.person == b.person && a.everybody == b.everybody;
}

// The same place and person until another time: such a slot is at no moment empty.
bool renews(const KernelShut& one, std::span<const KernelShut> before) {
  const auto names = [](const KernelShut& shut) {
    return std::set(shut.names.begin(), shut.names.end());
  };
  return std::ranges::any_of(before, [&](const KernelShut& other) {
    return other.slot == one.slot && other.person == one.person && other.prefix == one.prefix &&
           names(other) == names(one);
  });
}

// A slot ends before its prefix goes and begins after it has come, so that it is one whole thing to
// a packet; of two that hold an address each counts for itself.
Result<void> write_shuts(KernelState& state, std::span<const KernelShut> shuts,
                         std::span<const KernelShut> before) {
  const int map = state.map("shuts");
  std::array<weir_shut, WEIR_SHUTS> wanted{};
  std::uint32_t used = 0, renewed = 0;
  for (const KernelShut& one : shuts) {
    WEIR_CHECK(one.slot < WEIR_SHUTS && (used >> one.slot & 1) == 0);
    used |= 1u << one.slot;
    if (renews(one, before)) renewed |= 1u << one.slot;
    wanted[one.slot] = {one.until_boot_ns, one.person.value_or(0), one.person ? 0u : 1u};
  }
  std::uint32_t begin = 0;
  for (std::uint32_t slot = 0; slot < WEIR_SHUTS; slot++) {
    weir_shut now{};
    const weir_shut none{};
    if (bpf_map_lookup_elem(map, &slot, &now))
      return fail_with("cannot read what is blocked", errno);
    if (same(now, wanted[slot])) continue;
    begin |= (used >> slot & 1) << slot;
    if ((renewed >> slot & 1) == 0 && !same(now, none) &&
        bpf_map_update_elem(map, &slot, &none, BPF_ANY))
      return fail_with(fmt::format("cannot end block {}", slot), errno);
  }
  if (auto put = write_prefixes(state.map("shut"), slots_of(shuts)); !put) return put;
  if (auto put = write_names(state.map("shut_names"), shuts); !put) return put;
  for (std::uint32_t slot = 0; slot < WEIR_SHUTS; slot++)
    if ((begin >> slot & 1) != 0 && bpf_map_update_elem(map, &slot, &wanted[slot], BPF_ANY))
      return fail_with(fmt::format("cannot begin block {}", slot), errno);
  state.values.shuts = used;
  state.values.verdicts++;  // kept ones are for those whom a block is about
  return state.write_state();
}

}  // namespace

// What could not be written whole is taken back: those of before hold, and no other.
Result<void> KernelPart::set_shuts(std::span<const KernelShut> shuts) {
  const std::vector<KernelShut> before = this->shuts();
  const std::uint32_t used = state_->values.shuts;
  Result<void> written = write_shuts(*state_, shuts, before);
  if (!written && !write_shuts(*state_, before, {})) state_->values.shuts = used;
  return written;
}

std::vector<KernelShut> KernelPart::shuts() const {
  std::vector<KernelShut> all;
  for (std::uint32_t slot = 0; slot < WEIR_SHUTS; slot++) {
    weir_shut now{};
    if ((state_->values.shuts >> slot & 1) == 0 ||
        bpf_map_lookup_elem(state_->map("shuts"), &slot, &now))
      continue;
    KernelShut one{.slot = slot, .until_boot_ns = now.until_ns};
    if (now.everybody == 0) one.person = now.person;
    // Its own is the shortest that has its bit: those within it say so too.
    for (const weir_prefix_key& key : keys_of<weir_prefix_key>(state_->map("shut"))) {
      weir_shut_slots value{};
      if (bpf_map_lookup_elem(state_->map("shut"), &key, &value) || !(value.slots >> slot & 1) ||
          (one.prefix && one.prefix->length <= key.length))
        continue;
      one.prefix = prefix_of(key);
    }
    for (std::uint64_t key : keys_of<std::uint64_t>(state_->map("shut_names"))) {
      weir_shut_slots value{};
      if (!bpf_map_lookup_elem(state_->map("shut_names"), &key, &value) &&
          (value.slots >> slot & 1) != 0)
        one.names.push_back(key);
    }
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<std::pair<Prefix, weir_prefix>> KernelPart::shut_prefixes() const {
  std::vector<std::pair<Prefix, weir_prefix>> all;
  const std::set<std::uint64_t> names = blocked_names(*state_);
  if (names.empty()) return all;
  const int map = state_->map("prefixes");
  for (const weir_prefix_key& key : keys_of<weir_prefix_key>(map)) {
    weir_prefix value{};
    if (!bpf_map_lookup_elem(map, &key, &value) && names.contains(value.dest))
      all.emplace_back(prefix_of(key), value);
  }
  return all;
}

std::unordered_map<std::uint64_t, std::uint64_t> KernelPart::shut_verdicts() const {
  std::unordered_map<std::uint64_t, std::uint64_t> all;
  const std::set<std::uint64_t> names = blocked_names(*state_);
  if (names.empty()) return all;
  const int map = state_->map("verdicts");
  for (const std::uint64_t cookie : keys_of<std::uint64_t>(map)) {
    weir_verdict verdict{};
    if (!bpf_map_lookup_elem(map, &cookie, &verdict) &&
        verdict.generation == state_->values.generation && names.contains(verdict.dest))
      all.emplace(cookie, verdict.dest);
  }
  return all;
}

weir_prefix shut_prefix(std::span<const std::pair<Prefix, weir_prefix>> prefixes,
                        const Prefix& place, std::uint64_t name, std::uint64_t unclassified) {
  weir_prefix value{};
  value.limits = unclassified;
  int longest = -1;
  for (const auto& [around, its] : prefixes)
    if (around.length > longest && around.length <= place.length &&
        around.contains(place.address)) {
      longest = around.length;
      value.limits = its.limits;
      value.trust = its.trust;
    }
  value.dest = name;  // and a verdict is awaited: it may say another name
  return value;
}

// A flow of which a verdict says that it goes there has no other sign of it: its verdict counts
// on, by what has no verdict, where the block is its person's.
Shutting shutting_under(const KernelPolicy& next, const KernelPart& part) {
  Shutting all;
  for (const auto& one : part.shut_prefixes())
    if (std::ranges::none_of(next.prefixes,
                             [&](const auto& own) { return own.first == one.first; }))
      all.prefixes.emplace_back(one.first, shut_prefix(next.prefixes, one.first, one.second.dest,
                                                       next.state.unclassified));
  const std::uint32_t generation = part.state().generation + 1;
  for (const auto& [cookie, name] : part.shut_verdicts())
    all.verdicts.emplace_back(cookie,
                              weir_verdict{next.state.unclassified, name, generation, 0, 0, 1});
  return all;
}

}  // namespace weir
