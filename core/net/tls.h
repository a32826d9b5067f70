// The ClientHello at the start of a TLS stream: who is asked for, what is offered, JA4.
#pragma once

#include <optional>
#include <string>

#include "core/base/bytes.h"
#include "core/net/damage.h"

namespace weir {

struct ClientHello {
  std::string server_name;  // lower case, "" if none; invisible bytes as \DDD
  std::string alpn;         // the protocols offered, in their order, joined by commas
  std::string ja4;          // of a whole hello only
};

// True while `stream` may be the start of a TLS stream: its bytes so far fit a record that carries
// a ClientHello.
bool maybe_client_hello(Bytes stream);

// The hello, over as many records as it spans. nullopt: more of the stream is needed; with `last`
// there is no more, and the parts of a cut hello that are here are told.
Parsed<std::optional<ClientHello>> parse_client_hello(Bytes stream, bool last);

}  // namespace weir
