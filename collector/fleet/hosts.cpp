// Hosts in memory, written behind.
#include "collector/fleet/hosts.h"

#include <fmt/format.h>

#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

constexpr std::size_t kMaxName = 253;     // of a host, a version: longer ones are cut
constexpr std::size_t kMaxTold = 65'536;  // bytes of a state or a health that are kept

PolicyOnHost policy_of(const std::string& serialized) {
  v1::PolicyState state;
  if (!state.ParseFromString(serialized)) return {};
  return {state.number(),         static_cast<int>(state.state()),
          state.refused_number(), state.digest(),
          state.group(),          state.policy_group()};
}

}  // namespace

Hosts::Hosts(FleetStore& store) : store_(store) {
  for (const HostRow& row : store.hosts()) add(row);
}

HostView Hosts::view(const Entry& entry, std::int64_t now_s) {
  HostView view{.row = entry.row, .policy = entry.policy, .live = entry.live_streams > 0};
  if (entry.row.revoked)
    view.state = HostState::revoked;
  else if (entry.row.cloned)
    view.state = HostState::cloned;
  else if (view.live)
    view.state = HostState::online;
  else if (entry.row.certificate_expires_s <= now_s)
    view.state = HostState::expired;
  else
    view.state =
        now_s - entry.row.last_seen_s > kSilentAfter_s ? HostState::silent : HostState::online;
  return view;
}

Hosts::Entry* Hosts::at(std::uint32_t number) {
  auto found = by_number_.find(number);
  return found == by_number_.end() ? nullptr : found->second;
}

std::optional<HostView> Hosts::find(const std::string& id, std::int64_t now_s) const {
  std::lock_guard lock(mutex_);
  auto found = hosts_.find(id);
  if (found == hosts_.end()) return std::nullopt;
  return view(found->second, now_s);
}

std::optional<HostView> Hosts::find(std::uint32_t number, std::int64_t now_s) const {
  std::lock_guard lock(mutex_);
  auto found = by_number_.find(number);
  if (found == by_number_.end()) return std::nullopt;
  return view(*found->second, now_s);
}

std::vector<HostView> Hosts::list(const std::string& group, std::optional<HostState> state,
                                  const std::string& after, std::uint32_t limit,
                                  std::int64_t now_s) const {
  std::lock_guard lock(mutex_);
  std::vector<HostView> found;
  for (auto at = hosts_.upper_bound(after); at != hosts_.end() && found.size() < limit; ++at) {
    if (!group.empty() && at->second.row.group != group) continue;
    HostView host = view(at->second, now_s);
    if (!state || host.state == *state) found.push_back(std::move(host));
  }
  return found;
}

std::size_t Hosts::count(const std::string& group) const {
  std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& [id, entry] : hosts_)
    count += !entry.row.revoked && entry.row.group == group ? 1 : 0;
  return count;
}

void Hosts::add(const HostRow& row) {
  std::lock_guard lock(mutex_);
  Entry& entry = hosts_[row.id];
  entry.row = row;
  entry.policy = policy_of(row.policy_state);
  by_number_[row.number] = &entry;
}

void Hosts::renewed(std::uint32_t number, std::int64_t certificate_expires_s) {
  std::lock_guard lock(mutex_);
  if (Entry* entry = at(number)) entry->row.certificate_expires_s = certificate_expires_s;
}

void Hosts::connected(std::uint32_t number, const std::string& version, const std::string& name,
                      std::uint32_t tier, std::int64_t now_s) {
  {
    std::lock_guard lock(mutex_);
    Entry* entry = at(number);
    if (entry == nullptr) return;
    entry->row.version = version.substr(0, kMaxName);
    if (!name.empty()) entry->row.name = name.substr(0, kMaxName);
    entry->row.tier = tier;
    entry->row.last_seen_s = now_s;
    ++entry->live_streams;
    entry->dirty = true;
  }
  changed();
}

void Hosts::seen(std::uint32_t number, std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  Entry* entry = at(number);
  if (entry == nullptr || entry->row.last_seen_s == now_s) return;
  entry->row.last_seen_s = now_s;  // written when it goes silent: not worth a row a second
}

void Hosts::disconnected(std::uint32_t number, std::int64_t now_s) {
  {
    std::lock_guard lock(mutex_);
    Entry* entry = at(number);
    if (entry == nullptr) return;
    --entry->live_streams;
    entry->row.last_seen_s = now_s;
    entry->dirty = true;
  }
  changed();
}

void Hosts::set_policy_state(std::uint32_t number, const std::string& serialized) {
  if (serialized.size() > kMaxTold) return;
  {
    std::lock_guard lock(mutex_);
    Entry* entry = at(number);
    if (entry == nullptr) return;
    entry->row.policy_state = serialized;
    entry->policy = policy_of(serialized);
    entry->dirty = true;
  }
  changed();
}

void Hosts::set_health(std::uint32_t number, const std::string& serialized) {
  if (serialized.size() > kMaxTold) return;
  std::lock_guard lock(mutex_);
  Entry* entry = at(number);
  if (entry == nullptr) return;
  entry->row.health = serialized;
  entry->dirty = true;
}

Reply<void> Hosts::change_now(const std::string& id, const std::function<void(HostRow&)>& change) {
  {
    std::lock_guard lock(mutex_);
    auto found = hosts_.find(id);
    if (found == hosts_.end())
      return refuse(Refusal::Kind::not_found, fmt::format("there is no host {}", id));
    HostRow row = found->second.row;
    change(row);
    if (!store_.save_hosts({&row, 1})) return refuse(Refusal::Kind::unavailable, store_.sentence());
    found->second.row = std::move(row);
  }
  changed();
  return {};
}

Reply<void> Hosts::revoke(const std::string& id, const std::string& reason) {
  return change_now(id, [&](HostRow& row) {
    row.revoked = true;
    row.revoke_reason = reason;
  });
}

Reply<void> Hosts::set_group(const std::string& id, const std::string& group) {
  return change_now(id, [&](HostRow& row) { row.group = group; });
}

void Hosts::set_cloned(std::uint32_t number) {
  {
    std::lock_guard lock(mutex_);
    Entry* entry = at(number);
    if (entry == nullptr || entry->row.cloned) return;
    // Holds also if the disk refuses it now: after a restart it is noticed again.
    entry->row.cloned = true;
    (void)store_.save_hosts({&entry->row, 1});
  }
  changed();
}

void Hosts::flush() {
  std::vector<HostRow> rows;
  {
    std::lock_guard lock(mutex_);
    for (auto& [id, entry] : hosts_) {
      if (entry.dirty) rows.push_back(entry.row);
      entry.dirty = false;
    }
  }
  // Without the lock: streams must not wait for a disk.
  if (rows.empty() || store_.save_told(rows)) return;
  std::lock_guard lock(mutex_);
  for (const HostRow& row : rows)
    if (Entry* entry = at(row.number)) entry->dirty = true;
}

}  // namespace weir
