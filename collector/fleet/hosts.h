// The fleet as it is now: every host, what it last said of itself, whether it speaks. In memory;
// what changed goes to the store once a second in one transaction (a host tells it again when it
// connects), but for what must hold at once: revoked, cloned, group. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "collector/base/refusal.h"
#include "collector/store/fleet_store.h"

namespace weir {

// Numbers as HostInfo.State has them.
enum class HostState : std::uint8_t {
  online = 1,
  silent = 2,
  expired = 3,
  revoked = 4,
  cloned = 5
};

inline constexpr std::int64_t kSilentAfter_s = 60;

// Of its PolicyState, which the store holds as bytes.
struct PolicyOnHost {
  std::uint32_t number = 0;
  int state = 0;  // PolicyState.State
  std::uint32_t refused_number = 0;
  // Older agents do not say the last two, and none does without a policy: "" then.
  std::string digest{}, group{}, policy_group{};
};

struct HostView {
  HostRow row;
  HostState state = HostState::silent;
  PolicyOnHost policy;
  bool live = false;  // a stream is open
};

class Hosts {
 public:
  explicit Hosts(FleetStore& store);

  std::optional<HostView> find(const std::string& id, std::int64_t now_s) const;
  std::optional<HostView> find(std::uint32_t number, std::int64_t now_s) const;
  // By id, after `after`; `group` "" and `state` none match all.
  std::vector<HostView> list(const std::string& group, std::optional<HostState> state,
                             const std::string& after, std::uint32_t limit,
                             std::int64_t now_s) const;
  std::size_t count(const std::string& group) const;  // that are not revoked

  void add(const HostRow& row);  // is in the store already
  void renewed(std::uint32_t number, std::int64_t certificate_expires_s);
  void connected(std::uint32_t number, const std::string& version, const std::string& name,
                 std::uint32_t tier, std::int64_t now_s);
  void seen(std::uint32_t number, std::int64_t now_s);
  void disconnected(std::uint32_t number, std::int64_t now_s);
  void set_policy_state(std::uint32_t number, const std::string& serialized);
  void set_health(std::uint32_t number, const std::string& serialized);

  // These are on disk when they return.
  Reply<void> revoke(const std::string& id, const std::string& reason);
  Reply<void> set_group(const std::string& id, const std::string& group);
  void set_cloned(std::uint32_t number);

  void flush();  // what changed since; the sentence of a failure is the store's
  // Called after a policy state or a connection changed, outside the lock. Set before threads
  // start.
  std::function<void()> changed = [] {};

 private:
  struct Entry {
    HostRow row;
    PolicyOnHost policy;
    int live_streams = 0;
    bool dirty = false;
  };
  static HostView view(const Entry& entry, std::int64_t now_s);
  Entry* at(std::uint32_t number);
  Reply<void> change_now(const std::string& id, const std::function<void(HostRow&)>& change);

  FleetStore& store_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> hosts_;
  std::unordered_map<std::uint32_t, Entry*> by_number_;
};

}  // namespace weir
