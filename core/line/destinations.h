// Where a flow goes, and how far that is proven: name, service, trust and the key of its accounts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/event/event.h"
#include "core/event/report.h"
#include "core/net/flows.h"
#include "core/policy/catalogue.h"
#include "core/policy/policy.h"

namespace weir {

// Addresses that a trusted resolver answered with, and names of each. A desk learns a few hundred a
// day.
inline constexpr std::size_t kMaxAnswered = 16384;
inline constexpr std::size_t kMaxNamesOfAddress = 16;  // a front of many sites has more; newest win
// An answer holds for its TTL, but at least this long: clients connect again after it ran out.
inline constexpr std::int64_t kAnswerGraceNs = 300'000'000'000;
// A full table is searched for expired answers this often, not at each new address.
inline constexpr std::int64_t kSweepEveryNs = 10'000'000'000;

struct Place {
  Destination destination;
  bool approved = false;     // proven: CONTRACT "Approved"
  bool name_proven = false;  // Facts::name_proven
  bool by_prefix = false;    // approved by the address alone: the kernel's prefix table decides
  std::string group;      // registered domain, else /24 or /48: what accounts and reports count by
  std::uint64_t key = 0;  // hash of it, never 0
};

class Destinations {
 public:
  explicit Destinations(const Catalogue& catalogue) : catalogue_(catalogue) {}

  // A DNS message of a flow. Only resolvers of the policy prove a name; where it names none, those
  // at private addresses (a stub, the site's own) back one. An answer of any other server says
  // nothing: a client may ask a server of its own. Returns the addresses that something was learnt
  // about.
  std::vector<IpAddress> learn(const Policy& policy, const Flow& flow, const DnsMessage& message,
                               const Stamp& at);
  // A flow of questions to a resolver that the policy names; where it names none, to a private one.
  bool is_resolver_flow(const Policy& policy, const Flow& flow) const;
  std::vector<std::string> names_at(const IpAddress& address, const Stamp& at) const;

  // `live`: the host's own networks hold, so that a range over a named network can be proven there.
  Place place_of(const Policy& policy, const Flow& flow, bool live, const Stamp& at) const;
  // For a finding, which knows its destination: fills service and category where they are missing.
  Place place_of(const Policy& policy, Destination known, std::string_view about) const;
  // Before any flow: what is known of an address because a name led there. No trust yet.
  Place place_of(const Policy& policy, const IpAddress& address, const std::string& name) const;
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Answered {
    std::string name;
    std::int64_t until_ns = 0;  // boot
    bool proven = false;        // by a resolver that the policy names
  };
  void forget_expired(const Stamp& at);
  const Answered* answered(const IpAddress& address, std::string_view name, const Stamp& at) const;
  void name_service(const Policy& policy, Destination& destination, bool& uploads,
                    bool& by_address) const;
  Trust trust_of(const Policy& policy, const Flow& flow, const Place& place, bool uploads,
                 bool backed) const;

  const Catalogue& catalogue_;
  std::unordered_map<IpAddress, std::vector<Answered>, IpAddressHash> answered_;
  struct Expiry {  // of the address' last answer, or earlier: answers come again
    std::int64_t until_ns = 0;
    IpAddress address;
    bool operator>(const Expiry& other) const { return until_ns > other.until_ns; }
  };
  // One of each address in the table, the earliest first.
  std::priority_queue<Expiry, std::vector<Expiry>, std::greater<>> expiries_;
  std::int64_t sweep_after_ns_ = 0;  // boot
  std::uint64_t dropped_ = 0;
};

std::uint64_t destination_key(std::string_view group);  // XXH3, 0 becomes 1
std::string network_of(const IpAddress& address);       // its /24 or /48 as text

}  // namespace weir
