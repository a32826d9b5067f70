// Names claimed by clients are weighed against names that were answered: only the latter prove.
#include "core/line/destinations.h"

#include <xxhash.h>

#include <algorithm>

#include "core/net/zone.h"

namespace weir {
namespace {

// Ports whose protocol keeps a host running; nothing else about a datagram tells them.
struct Infrastructure {
  std::uint16_t port;
  std::string_view protocol;
};
constexpr Infrastructure kInfrastructure[] = {{123, "ntp"}, {67, "dhcp"}, {547, "dhcpv6"}};
constexpr std::uint16_t kDnsPort = 53;

bool is_resolver(const Policy& policy, const IpAddress& address) {
  return std::any_of(policy.resolvers.begin(), policy.resolvers.end(),
                     [&](const Resolver& r) { return r.address == address; });
}

// DNS is infrastructure at the resolvers that the policy names; where it names none, at the stub or
// at the site's own. A public resolver that nobody named is an unknown place.
bool is_infrastructure(const Policy& policy, const Flow& flow) {
  const Endpoint& server = flow.record.key.server;
  if (flow.record.protocol == "dns" && server.port == kDnsPort)
    return policy.resolvers.empty() ? server.address.is_private()
                                    : is_resolver(policy, server.address);
  return flow.record.key.transport == Transport::udp &&
         std::any_of(std::begin(kInfrastructure), std::end(kInfrastructure),
                     [&](const Infrastructure& i) { return i.port == server.port; });
}

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

bool approved_name(const Policy& policy, const Destination& destination) {
  return std::any_of(policy.approved.begin(), policy.approved.end(), [&](const Selector& s) {
    if (s.kind == Selector::Kind::service) return s.value == destination.service;
    return s.kind == Selector::Kind::domain && within_domain(destination.name, s.value);
  });
}

bool approved_address(const Policy& policy, const IpAddress& address) {
  return std::any_of(policy.approved.begin(), policy.approved.end(), [&](const Selector& s) {
    return s.kind == Selector::Kind::cidr && s.prefix.contains(address);
  });
}

void count_by(Place& place, std::string group) {
  place.group = std::move(group);
  if (place.group.empty()) place.group = network_of(place.destination.endpoint.address);
  place.key = destination_key(place.group);
}

}  // namespace

std::uint64_t destination_key(std::string_view group) {
  return std::max<std::uint64_t>(XXH3_64bits(group.data(), group.size()), 1);
}

std::string network_of(const IpAddress& address) {
  Prefix network{address, static_cast<std::uint8_t>(address.is_v4() ? 120 : 48)};
  std::fill(network.address.bytes.begin() + network.length / 8, network.address.bytes.end(),
            std::uint8_t{0});
  return network.text();
}

std::vector<IpAddress> Destinations::learn(const Policy& policy, const Flow& flow,
                                           const DnsMessage& message, const Stamp& at) {
  std::vector<IpAddress> learnt;
  const IpAddress& server = flow.record.key.server.address;
  const bool proves = is_resolver(policy, server);
  if (!message.response || message.questions.empty()) return learnt;
  if (!proves && (!policy.resolvers.empty() || !server.is_private())) return learnt;
  const std::string name = normal_host(message.questions.front().name);
  for (const DnsAnswer& answer : message.answers) {
    if (answer.address == IpAddress{}) continue;  // CNAME and others: the question's name counts
    if (answered_.size() >= kMaxAnswered && !answered_.contains(answer.address)) {
      forget_expired(at);
      if (answered_.size() >= kMaxAnswered) {
        ++dropped_;  // what is not remembered is not proven: stricter
        return learnt;
      }
    }
    const auto [entry, made] = answered_.try_emplace(answer.address);
    std::vector<Answered>& names = entry->second;
    auto known =
        std::find_if(names.begin(), names.end(), [&](const Answered& a) { return a.name == name; });
    if (known == names.end()) {
      if (names.size() >= kMaxNamesOfAddress) names.erase(names.begin());
      known = names.insert(names.end(), Answered{name, 0, false});
    }
    const std::int64_t ttl = static_cast<std::int64_t>(answer.ttl_s) * 1'000'000'000;
    known->until_ns = std::max(known->until_ns, at.boot_ns + std::max(ttl, kAnswerGraceNs));
    known->proven = proves;
    if (made) expiries_.push({known->until_ns, answer.address});
    learnt.push_back(answer.address);
  }
  return learnt;
}

void Destinations::forget_expired(const Stamp& at) {
  if (at.boot_ns < sweep_after_ns_) return;
  sweep_after_ns_ = at.boot_ns + kSweepEveryNs;
  while (!expiries_.empty() && expiries_.top().until_ns < at.boot_ns) {
    Expiry first = expiries_.top();
    expiries_.pop();
    const auto found = answered_.find(first.address);
    for (const Answered& answer : found->second)
      first.until_ns = std::max(first.until_ns, answer.until_ns);
    if (first.until_ns < at.boot_ns)
      answered_.erase(found);
    else
      expiries_.push(first);
  }
}

bool Destinations::is_resolver_flow(const Policy& policy, const Flow& flow) const {
  return flow.record.key.server.port == kDnsPort && is_infrastructure(policy, flow);
}

const Destinations::Answered* Destinations::answered(const IpAddress& address,
                                                     std::string_view name, const Stamp& at) const {
  const auto names = answered_.find(address);
  if (name.empty() || names == answered_.end()) return nullptr;
  for (const Answered& answer : names->second)
    if (answer.name == name && answer.until_ns >= at.boot_ns) return &answer;
  return nullptr;
}

std::vector<std::string> Destinations::names_at(const IpAddress& address, const Stamp& at) const {
  std::vector<std::string> names;
  const auto found = answered_.find(address);
  if (found == answered_.end()) return names;
  for (const Answered& answer : found->second)
    if (answer.until_ns >= at.boot_ns) names.push_back(answer.name);
  return names;
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

Trust Destinations::trust_of(const Policy& policy, const Flow& flow, const Place& place,
                             bool uploads, bool backed) const {
  const Destination& to = place.destination;
  if (place.approved) return Trust::approved;
  if (uploads) return Trust::upload;
  if (is_infrastructure(policy, flow)) return Trust::infrastructure;
  if (!to.service.empty() && backed) return Trust::known;
  if (to.channel == "udp") return Trust::undeclared_udp;
  return Trust::unknown;
}

Place Destinations::place_of(const Policy& policy, const Flow& flow, bool live,
                             const Stamp& at) const {
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
  const Answered* answer = answered(address, to.name, at);
  const Service* own = policy_service(policy, to);
  place.name_proven = answer != nullptr && answer->proven &&
                      (to.name == sni || (sni.empty() && own != nullptr && own->no_sni));
  place.by_prefix = live && approved_address(policy, address);
  place.approved = place.by_prefix || (place.name_proven && approved_name(policy, to));
  to.trust = trust_of(policy, flow, place, uploads, answer != nullptr || by_address);
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

}  // namespace weir
