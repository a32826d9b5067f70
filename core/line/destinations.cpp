// Names claimed by clients are weighed against names that were answered: only the latter prove.
#include "core/line/destinations.h"

#include <algorithm>

#include "core/net/domain.h"
#include "core/net/zone.h"
#include "core/policy/known_names.h"

namespace weir {
namespace {

// Ports whose protocol keeps a host running; nothing else about a datagram tells them.
struct Infrastructure {
  std::uint16_t port;
  std::string_view protocol;
};
constexpr Infrastructure kInfrastructure[] = {{123, "ntp"}, {67, "dhcp"}, {547, "dhcpv6"}};
constexpr std::uint16_t kDnsPort = 53;

std::string channel_of(const Flow& flow) {
  const std::string& protocol = flow.record.protocol;
  if (protocol == "dns" || protocol == "tls" || protocol == "http" || protocol == "quic")
    return protocol;
  switch (flow.record.key.transport) {
    case Transport::tcp:
      return "tcp";
    case Transport::udp:
      return "udp";
    case Transport::icmp:
      return "icmp";
    case Transport::other:
      break;
  }
  return "ip";
}

const Service* policy_service(const Policy& policy, const Destination& destination) {
  for (const Service& service : policy.services) {
    for (const std::string& domain : service.domains)
      if (!destination.name.empty() && within_domain(destination.name, domain)) return &service;
    for (const Prefix& range : service.ranges)
      if (range.contains(destination.endpoint.address)) return &service;
  }
  return nullptr;
}

// By the name alone: that an address is of a service's range is no proof of a name.
bool is_name_of(const Policy& policy, const Catalogue& catalogue, std::string_view service,
                const std::string& name) {
  for (const Service& own : policy.services)
    if (own.id == service)
      return std::any_of(own.domains.begin(), own.domains.end(),
                         [&](const std::string& domain) { return within_domain(name, domain); });
  const Service* known = catalogue.find_name(name);
  return known != nullptr && known->id == service;
}

bool selects(const Policy& policy, const Catalogue& catalogue, const Selector& selector,
             const Destination& to) {
  switch (selector.kind) {
    case Selector::Kind::service:
      return is_name_of(policy, catalogue, selector.value, to.name);
    case Selector::Kind::domain:
      return within_domain(to.name, selector.value);
    case Selector::Kind::cidr:
      return selector.prefix.contains(to.endpoint.address);
  }
  return false;
}

// An address that every network may use for something else: RFC 1918 and 4193, link-local, and what
// providers share among customers (RFC 6598).
bool is_anybodys(const IpAddress& address) {
  static const Prefix kShared = *Prefix::parse("100.64.0.0/10");
  return address.is_private() || kShared.contains(address);
}

void count_by(Place& place, std::string group) {
  place.group = std::move(group);
  if (place.group.empty()) place.group = network_of(place.destination.endpoint.address);
  place.key = destination_key(place.group);
}

}  // namespace

std::string network_of(const IpAddress& address) {
  Prefix network{address, static_cast<std::uint8_t>(address.is_v4() ? 120 : 48)};
  std::fill(network.address.bytes.begin() + network.length / 8, network.address.bytes.end(),
            std::uint8_t{0});
  return network.text();
}

// DNS is infrastructure at the resolvers that the policy names; where it names none, at the stub or
// at the site's own. A public resolver that nobody named is an unknown place.
bool Destinations::is_infrastructure(const Flow& flow) const {
  const Endpoint& server = flow.record.key.server;
  if (flow.record.protocol == "dns" && server.port == kDnsPort)
    return answers_.resolvers().worth(server.address) >= Worth::narrows;
  return flow.record.key.transport == Transport::udp &&
         std::any_of(std::begin(kInfrastructure), std::end(kInfrastructure),
                     [&](const Infrastructure& i) { return i.port == server.port; });
}

bool Destinations::is_resolver_flow(const Flow& flow) const {
  return flow.record.key.server.port == kDnsPort && is_infrastructure(flow);
}

void Destinations::name_service(const Policy& policy, Destination& destination, bool& uploads,
                                bool& by_address) const {
  uploads = by_address = false;
  const Service* service = policy_service(policy, destination);
  if (service == nullptr && !destination.name.empty())
    service = catalogue_.find_name(destination.name, &uploads);
  if (service == nullptr) {
    service = catalogue_.find_address(destination.endpoint.address);
    by_address = service != nullptr;
    // Clients that dial ranges without a name (Telegram) send messages and files alike there.
    uploads = by_address && (service->no_sni || !service->upload_hosts.empty());
  }
  if (service == nullptr) return;
  destination.service = service->id;
  if (destination.category.empty()) destination.category = service->category;
}

Trust Destinations::trust_of(const Flow& flow, const Place& place, bool uploads, bool known) const {
  const Destination& to = place.destination;
  if (uploads) return Trust::upload;
  if (is_infrastructure(flow)) return Trust::infrastructure;
  if (known) return Trust::known;
  if (to.channel == "udp") return Trust::undeclared_udp;
  return Trust::unknown;
}

// CONTRACT, "Approved". A name is proven if an authenticated resolver answered it for this address
// and the client says the same; what rests on a network holds only while the flow takes it.
void Destinations::prove(const Policy& policy, const Flow& flow, Place& place,
                         const Answered* answer, const Stamp& at) const {
  const Destination& to = place.destination;
  const bool live = answers_.is_live();
  const std::string sni = normal_host(flow.record.server_name);
  const Service* own = policy_service(policy, to);
  const bool says = sni.empty() ? own != nullptr && own->no_sni : to.name == sni;
  place.name_proven = says && answer != nullptr && answers_.proves(*answer, at);
  if (place.name_proven && live && is_anybodys(to.endpoint.address)) {
    place.via = answers_.network_of(*answer);
    if (place.via == 0 || place.via != flow.out.index) {
      place.name_proven = false;
      place.via = 0;
    }
  }
  for (const Selector& selector : policy.approved) {
    if (!selects(policy, catalogue_, selector, to)) continue;
    if (selector.kind != Selector::Kind::cidr && !place.name_proven) continue;
    if (selector.via.empty()) {
      place.approved = selector.kind != Selector::Kind::cidr;
    } else {
      const std::uint32_t network = answers_.index_of(policy, selector.via);
      if (!live || network == 0 || network != flow.out.index) continue;
      place.approved = true;
      place.via = network;
    }
    if (place.approved) return;
  }
}

Place Destinations::place_of(const Policy& policy, const Flow& flow, const Stamp& at) const {
  Place place;
  Destination& to = place.destination;
  const IpAddress& address = flow.record.key.server.address;
  to.endpoint = flow.record.key.server;
  to.channel = channel_of(flow);
  const std::string sni = normal_host(flow.record.server_name);
  to.name = !sni.empty() ? sni : normal_host(flow.http_host);
  if (to.name.empty()) to.name = normal_host(flow.resolved_name);

  bool uploads = false, by_address = false;
  name_service(policy, to, uploads, by_address);
  const Answered* answer = answers_.find(address, to.name, at);
  prove(policy, flow, place, answer, at);
  place.otherwise = trust_of(flow, place, uploads, by_address);
  const bool known = by_address || (place.name_proven && would_know(policy, to));
  to.trust = place.approved ? Trust::approved : trust_of(flow, place, uploads, known);
  // A name that nobody answered must not open an account of its own: a client could invent one for
  // each flow. Services are few, so a claimed one may.
  const bool by_name = !to.name.empty() && (answer != nullptr || !to.service.empty());
  count_by(place, by_name ? registered_domain(to.name) : "");
  return place;
}

Place Destinations::place_of(const Policy& policy, Destination known,
                             std::string_view about) const {
  Place place;
  place.destination = std::move(known);
  Destination& to = place.destination;
  bool uploads = false, by_address = false;
  // A zone's finding is about the zone; its endpoint is only the resolver in between.
  if (to.service.empty() && to.zone.empty()) name_service(policy, to, uploads, by_address);
  if (to.trust == Trust::unspecified) to.trust = uploads ? Trust::upload : Trust::unknown;
  count_by(place, std::string(about));
  return place;
}

Place Destinations::place_of(const Policy& policy, const IpAddress& address,
                             const std::string& name) const {
  Place place;
  Destination& to = place.destination;
  to.endpoint.address = address;
  to.name = name;
  bool uploads = false, by_address = false;
  name_service(policy, to, uploads, by_address);
  count_by(place, registered_domain(name));
  return place;
}

bool Destinations::would_approve(const Policy& policy, const Destination& to) const {
  return std::any_of(policy.approved.begin(), policy.approved.end(), [&](const Selector& selector) {
    return selects(policy, catalogue_, selector, to);
  });
}

// A service, or a domain of the policy's list. Only a proven name makes it so (0040): a claim would
// give whoever says it the limits of known places.
bool Destinations::would_know(const Policy& policy, const Destination& to) const {
  return !to.service.empty() || is_known_host(policy.known, to.name);
}

}  // namespace weir
