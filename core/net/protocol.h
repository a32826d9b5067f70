// What a flow speaks, told from its first bytes: a table of starts, then the parsers of those that
// name their server.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/net/damage.h"

namespace weir {

struct Spoken {
  std::string_view protocol{};  // tls, http, ssh …; "" if the bytes match nothing known
  std::string server_name{}, alpn{}, ja4{};
  std::string http_method{}, http_host{};
  std::optional<Damage> damage{};  // the start fits `protocol`, what follows does not
};

// The gapless first bytes of both directions, either may be empty. nullopt: more bytes can still
// tell; never with `last`.
std::optional<Spoken> spoken_over_tcp(Bytes client, Bytes server, bool last);

// One datagram of a flow that is not DNS. "" if it matches nothing known.
std::string_view spoken_over_udp(Bytes payload, std::uint16_t client_port,
                                 std::uint16_t server_port);

std::string_view protocol_of_number(std::uint8_t ip_protocol);  // gre, esp …, else "ip"

}  // namespace weir
