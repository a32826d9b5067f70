// Where a command's bytes went: see places.h.
#include "agent/run/places.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace weir {
namespace {

constexpr std::uint8_t kTcp = 6, kUdp = 17;  // IPPROTO_*

Transport transport_of(std::uint8_t protocol) {
  return protocol == kTcp ? Transport::tcp : protocol == kUdp ? Transport::udp : Transport::other;
}

Endpoint remote_of(const weir_tuple& tuple) {
  Endpoint endpoint;
  std::memcpy(endpoint.address.bytes.data(), tuple.remote, endpoint.address.bytes.size());
  endpoint.port = tuple.remote_port;
  return endpoint;
}

}  // namespace

void Places::record(Bytes bytes) {
  weir_usage usage;
  if (bytes.size() < sizeof usage) return;
  std::memcpy(&usage, bytes.data(), sizeof usage);
  if (usage.record.kind != WEIR_REC_USAGE) return;
  auto found = sockets_.find(usage.record.cookie);
  if (found == sockets_.end()) {
    if (sockets_.size() == kMaxSockets) {
      ++sockets_dropped_;
      return;
    }
    sockets_.emplace(usage.record.cookie, usage);
    open_ += usage.closed == 0;
    return;
  }
  open_ -= found->second.closed == 0;
  open_ += usage.closed == 0;
  found->second = usage;
}

std::vector<weir_usage> Places::open_sockets() const {
  std::vector<weir_usage> open;
  for (const auto& [cookie, usage] : sockets_)
    if (usage.closed == 0 && usage.tuple.protocol == kTcp) open.push_back(usage);
  return open;
}

std::vector<ExecPlace> Places::summed(std::uint32_t& dropped) const {
  std::map<std::pair<Endpoint, Transport>, ExecPlace> by_place;
  for (const auto& [cookie, usage] : sockets_) {
    Endpoint remote = remote_of(usage.tuple);
    if (remote.address.is_loopback()) continue;  // not charged, did not leave
    Transport transport = transport_of(usage.tuple.protocol);
    ExecPlace& place = by_place[{remote, transport}];
    place.endpoint = remote;
    place.transport = transport;
    place.bytes_out += usage.bytes_out;
    place.bytes_in += usage.bytes_in;
    place.bytes_refused += usage.refused;
  }
  std::vector<ExecPlace> places;
  for (auto& [key, place] : by_place) places.push_back(std::move(place));
  std::stable_sort(places.begin(), places.end(), [](const ExecPlace& a, const ExecPlace& b) {
    return a.bytes_out + a.bytes_refused > b.bytes_out + b.bytes_refused;
  });
  if (places.size() > kMaxPlaces) {
    dropped += static_cast<std::uint32_t>(places.size() - kMaxPlaces);
    places.resize(kMaxPlaces);
  }
  return places;
}

}  // namespace weir
