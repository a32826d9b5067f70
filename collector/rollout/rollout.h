// Signed policies: taken from who may sign, kept as they were signed, desired for a group until a
// higher number comes. The collector holds no key to sign with: it can delay a policy, not write
// one. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "collector/base/refusal.h"
#include "collector/fleet/hosts.h"
#include "collector/store/fleet_store.h"

namespace weir {

inline constexpr std::uint32_t kMostForgotten = 1'000;  // policies between a copy and its return
inline constexpr std::size_t kMaxDiffering = 100;       // hosts that a status names
// Policies of one text in a row, each up to 1 MiB: a key is changed a few times a year.
inline constexpr std::uint32_t kMostLookedBack = 100;

struct Desired {
  std::uint32_t number = 0;
  std::shared_ptr<const std::string> signed_policy;  // serialized SignedPolicy, as it was signed
  Digest digest{};                                   // of its PolicyEnvelope.policy
};

// Whether a host runs by what its group desires, as far as it says. Numbers are a group's: another
// group's policy can have the same, and even the same text.
bool runs_by(const PolicyOnHost& policy, const Desired& desired, const std::string& group);

// One set of policy keys after another: a host takes them one by one.
struct TrustLink {
  std::uint32_t number = 0;
  std::shared_ptr<const std::string> signed_trust;  // serialized SignedTrust, as it was signed
};

struct RolloutStatus {
  std::uint32_t desired = 0, effective = 0, refused = 0, pending = 0;
  // That a host has: above what is desired, this collector was put back from an older copy. What is
  // further ahead than kMostForgotten is not believed: a host would use the numbers up.
  std::uint32_t highest = 0;
  bool online_pending = false;  // somebody who is online has not answered
  std::vector<HostView> differing;
};

class Rollout {
 public:
  Rollout(FleetStore& store, Hosts& hosts);

  struct Back {                // a rollback: the text was published before
    std::uint32_t source = 0;  // as this number; 0: as the newest that has it
  };
  // The number that is desired now.
  Reply<std::uint32_t> publish(const std::string& group, const std::string& signed_policy,
                               const std::string& by, std::int64_t now_s,
                               std::optional<Back> back = std::nullopt);
  // What a rollback goes back to: the newest before the desired one that has another text. A
  // rollback stands where its text was first, so that the next one goes further back.
  Reply<PolicyRow> earlier(const std::string& group) const;
  std::optional<Desired> desired(const std::string& group) const;
  // The keys of the whole fleet: taken if the threshold before has signed, and that of the set. The
  // same set again is found.
  Reply<std::uint32_t> rotate(const std::string& signed_trust, const std::string& by,
                              std::int64_t now_s);
  std::vector<TrustLink> trust_after(std::uint32_t number) const;
  std::vector<std::string> groups() const;  // that have a policy
  // A host's group is its own: it says that it joined the group of the newest command that told it
  // to join one, so it belongs there. Any other word of it changes nothing.
  void settle_group(std::uint32_t host, std::int64_t now_s);
  RolloutStatus status(const std::string& group, std::int64_t now_s) const;

  // After a policy became desired, outside the lock. Set before threads start.
  std::function<void(const std::string& group)> published = [](const std::string&) {};
  std::function<void()> rotated = [] {};  // likewise, after a rotation

 private:
  Reply<void> check_signatures(const std::string& signed_policy, std::int64_t now_s) const;

  FleetStore& store_;
  Hosts& hosts_;
  mutable std::mutex mutex_;
  std::map<std::string, Desired> desired_;
  std::vector<TrustLink> links_;  // in order
};

}  // namespace weir
