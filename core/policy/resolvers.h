// Which resolvers a host has, and what an answer of each is worth: the one place that knows, for
// the guard's prefixes (agent/run/flatten), the line, and the checks of a policy. Pure values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/event/address.h"
#include "core/policy/policy.h"

namespace weir {

inline constexpr std::size_t kMaxNetworks = 16;  // names of interfaces that the guard looks after
inline constexpr std::size_t kMaxInterfaceName = 15;  // what Linux takes
inline constexpr std::size_t kMaxResolvers = 64;      // of a policy; a site has a handful

// Each includes what stands before it.
enum class Worth : std::uint8_t {
  nothing,  // anybody's: a client may ask a server of its own
  asked,    // the host's own: questions to it leave although an account is spent
  narrows,  // where an answer of it leads, limits that can't be about the name are not charged
  proves,   // an answer that came from it over its network proves the name
};

struct KnownResolver {
  IpAddress address;
  Worth worth = Worth::nothing;
  std::string network;    // proves: id of the policy's network …
  std::string interface;  // … and the interface that it is told by
};

class Resolvers {
 public:
  // `host`: those of the host's resolv.conf. They prove nothing and narrow nothing: DHCP, or the
  // person at the desk, may have put them there.
  explicit Resolvers(const Policy& policy, const std::vector<IpAddress>& host = {});

  const std::vector<KnownResolver>& all() const { return all_; }
  // A policy that names none trusts the host's surroundings to narrow: a private address, which a
  // stub and a site's own resolver have.
  Worth worth(const IpAddress& address) const;
  bool proves_over(const IpAddress& address, std::string_view interface) const;
  bool any_proves() const;

 private:
  std::vector<KnownResolver> all_;
  bool named_ = false;  // the policy names one
};

// Limits that questions to it may count for. They are about no upload service and no unknown place:
// a person whose limit for those is spent must still be able to look names up.
std::uint64_t limits_of_questions(const Policy& policy, const IpAddress& resolver, Worth worth);

// Interface of a network of the policy, "" if it has none of that id.
std::string_view interface_of(const Policy& policy, std::string_view network);

// What the policy approves, calls known, or lets an `allow` set aside, although nothing in it could
// ever prove it.
struct Unprovable {
  enum class Where : std::uint8_t { approved, known, rule };
  Where where = Where::approved;
  std::size_t index = 0;  // of Policy::approved or Policy::rules; known: 0
  std::string sentence;   // what is missing
};
std::vector<Unprovable> unprovable(const Policy& policy);

}  // namespace weir
