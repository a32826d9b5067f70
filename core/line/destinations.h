// Where a flow goes, and how far that is proven: name, service, trust and the key of its accounts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/event/event.h"
#include "core/event/report.h"
#include "core/line/answers.h"
#include "core/net/flows.h"
#include "core/policy/catalogue.h"
#include "core/policy/policy.h"

namespace weir {

struct Place {
  Destination destination;
  bool approved = false;     // proven: CONTRACT "Approved"
  bool name_proven = false;  // Facts::name_proven
  // Index of the interface that the proof rests on, 0: none. Over another it is void.
  std::uint32_t via = 0;
  Trust otherwise = Trust::unspecified;  // the destination's trust if nothing were proven
  std::string group;      // registered domain, else /24 or /48: what accounts and reports count by
  std::uint64_t key = 0;  // hash of it, never 0
};

class Destinations {
 public:
  explicit Destinations(const Catalogue& catalogue) : catalogue_(catalogue) {}

  // What resolvers answered stands beside it: the line feeds it, places are weighed by it.
  Answers& answers() { return answers_; }
  // A flow of questions to a resolver whose answers narrow.
  bool is_resolver_flow(const Flow& flow) const;

  Place place_of(const Policy& policy, const Flow& flow, const Stamp& at) const;
  // For a finding, which knows its destination: fills service and category where they are missing.
  Place place_of(const Policy& policy, Destination known, std::string_view about) const;
  // Before any flow: what is known of an address because a name led there. No trust yet.
  Place place_of(const Policy& policy, const IpAddress& address, const std::string& name) const;
  // What `approved` would say of it if all that it claims were proven: for a look at the past,
  // where nothing is to be had of who answered a name.
  bool would_approve(const Policy& policy, const Destination& to) const;
  bool would_know(const Policy& policy, const Destination& to) const;

 private:
  bool is_infrastructure(const Flow& flow) const;
  void prove(const Policy& policy, const Flow& flow, Place& place, const Answered* answer,
             const Stamp& at) const;
  void name_service(const Policy& policy, Destination& destination, bool& uploads,
                    bool& by_address) const;
  Trust trust_of(const Flow& flow, const Place& place, bool uploads, bool known) const;

  const Catalogue& catalogue_;
  Answers answers_;
};

std::string network_of(const IpAddress& address);  // its /24 or /48 as text

}  // namespace weir
