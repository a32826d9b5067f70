// The table of flows: open addressing over slots, intrusive lists by idleness.
#include "core/net/flow_table.h"

#define XXH_INLINE_ALL  // one call per packet
#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace weir {
namespace {

constexpr std::size_t kFirstBuckets = 1024;

// The same for both directions of a flow.
std::uint32_t hash_of(const Endpoint& a, const Endpoint& b, Transport t, std::uint64_t cookie) {
  // Any order will do that both directions agree on; ports differ nearly always.
  const bool ordered = a.port != b.port ? a.port < b.port : a.address < b.address;
  const Endpoint& low = ordered ? a : b;
  const Endpoint& high = ordered ? b : a;
  std::array<std::uint8_t, 45> raw;
  std::memcpy(raw.data(), low.address.bytes.data(), 16);
  std::memcpy(raw.data() + 16, high.address.bytes.data(), 16);
  std::memcpy(raw.data() + 32, &low.port, 2);
  std::memcpy(raw.data() + 34, &high.port, 2);
  std::memcpy(raw.data() + 36, &cookie, 8);
  raw[44] = static_cast<std::uint8_t>(t);
  return static_cast<std::uint32_t>(XXH3_64bits(raw.data(), raw.size()));
}

bool same(const FlowEntry& entry, const Endpoint& a, const Endpoint& b, Transport t,
          std::uint64_t cookie) {
  const FlowKey& key = entry.flow.record.key;
  return key.transport == t && entry.flow.socket.cookie == cookie &&
         ((key.client == a && key.server == b) || (key.client == b && key.server == a));
}

}  // namespace

std::uint32_t FlowTable::find(const Endpoint& a, const Endpoint& b, Transport t,
                              std::uint64_t cookie) const {
  if (buckets_.empty()) return kNone;
  const std::uint32_t hash = hash_of(a, b, t, cookie);
  const std::size_t mask = buckets_.size() - 1;
  for (std::size_t i = hash & mask; buckets_[i].slot != kNone; i = (i + 1) & mask)
    if (buckets_[i].hash == hash && same(slots_[buckets_[i].slot], a, b, t, cookie))
      return buckets_[i].slot;
  return kNone;
}

void FlowTable::place(std::uint32_t slot) {
  const std::size_t mask = buckets_.size() - 1;
  std::size_t i = slots_[slot].hash & mask;
  while (buckets_[i].slot != kNone) i = (i + 1) & mask;
  buckets_[i] = {slot, slots_[slot].hash};
}

void FlowTable::grow() {
  buckets_.assign(buckets_.empty() ? kFirstBuckets : buckets_.size() * 2, {});
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot].used) place(slot);
}

std::uint32_t FlowTable::insert(const FlowKey& key, std::uint64_t cookie, Idleness idleness) {
  if (size_ * 2 >= buckets_.size()) grow();
  std::uint32_t slot = static_cast<std::uint32_t>(slots_.size());
  if (free_.empty()) {
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  FlowEntry& entry = slots_[slot];
  entry.flow.record.key = key;
  entry.flow.socket.cookie = cookie;
  entry.hash = hash_of(key.client, key.server, key.transport, cookie);
  entry.idleness = cookie != 0 && idleness == Idleness::stream ? Idleness::held : idleness;
  entry.used = true;
  place(slot);
  link(slot);
  ++size_;
  return slot;
}

void FlowTable::remove(std::uint32_t slot) {
  const std::size_t mask = buckets_.size() - 1;
  std::size_t hole = slots_[slot].hash & mask;
  while (buckets_[hole].slot != slot) hole = (hole + 1) & mask;
  // Moves back what was placed behind the hole on its account, so that no mark is left.
  for (std::size_t i = (hole + 1) & mask; buckets_[i].slot != kNone; i = (i + 1) & mask) {
    const std::size_t home = buckets_[i].hash & mask;
    if (((i - home) & mask) >= ((i - hole) & mask)) {
      buckets_[hole] = buckets_[i];
      hole = i;
    }
  }
  buckets_[hole] = {};
  unlink(slot);
  std::destroy_at(&slots_[slot]);  // cheaper than moving an empty entry onto it
  std::construct_at(&slots_[slot]);
  free_.push_back(slot);
  --size_;
}

void FlowTable::link(std::uint32_t slot) {
  List& list = lists_[static_cast<std::size_t>(slots_[slot].idleness)];
  slots_[slot].newer = kNone;
  slots_[slot].older = list.newest;
  if (list.newest != kNone) slots_[list.newest].newer = slot;
  list.newest = slot;
  if (list.oldest == kNone) list.oldest = slot;
}

void FlowTable::unlink(std::uint32_t slot) {
  const FlowEntry& entry = slots_[slot];
  List& list = lists_[static_cast<std::size_t>(entry.idleness)];
  (entry.newer == kNone ? list.newest : slots_[entry.newer].older) = entry.older;
  (entry.older == kNone ? list.oldest : slots_[entry.older].newer) = entry.newer;
}

void FlowTable::touch(std::uint32_t slot, Idleness idleness) {
  FlowEntry& entry = slots_[slot];
  if (entry.idleness == Idleness::held && idleness == Idleness::stream) idleness = Idleness::held;
  if (entry.idleness == idleness && entry.newer == kNone) return;
  unlink(slot);
  entry.idleness = idleness;
  link(slot);
}

std::vector<std::uint32_t> FlowTable::by_serial() const {
  std::vector<std::uint32_t> out;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot].used) out.push_back(slot);
  std::sort(out.begin(), out.end(), [&](std::uint32_t a, std::uint32_t b) {
    return slots_[a].flow.serial < slots_[b].flow.serial;
  });
  return out;
}

}  // namespace weir
