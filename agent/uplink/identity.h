// STATE/identity: what makes this host a known one. key.pem, certificate.pem (leaf first), ca.pem
// (what the collector is verified by), host.json. Owned by the uplink's user, 0700; each file 0600
// and replaced as a whole. Folders are descriptors. Thread: one.
//
// A renewal makes a new key: key.next.pem is there before the request goes out, then
// certificate.pem is replaced, then the key. Whatever breaks off in between, reading finds the key
// of the certificate that stands.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/result.h"

namespace weir {

struct HostFacts {  // host.json
  std::string host_id{}, group{};
  std::string agent_address{};      // host:port of the agents' door
  std::string agent_server_name{};  // in its certificate
  std::string door_address{};       // of the console door, for renewal
  std::array<std::uint8_t, 32> door_key_sha256{};
  std::int64_t renew_after_s = 0;  // UTC since 1970
};

struct Identity {
  HostFacts host{};
  std::string key_pem{}, certificate_pem{}, ca_pem{};
  std::int64_t certificate_end_s = 0;
};

std::string to_json(const HostFacts& facts);
Result<HostFacts> facts_from_json(const std::string& text);

// Nothing: the folder holds no host.json. An Error: it does, and a part of it is damaged.
Result<std::optional<Identity>> read_identity(int folder);
// host.json comes last: until it is there the host is not enrolled. `owner`: uid and gid that the
// files are given to; -1: they stay the caller's.
Result<void> write_identity(int folder, const Identity& identity, std::int64_t owner = -1);
Result<void> write_next_key(int folder, const std::string& key_pem);
// After write_next_key: what a renewal brought.
Result<void> take_renewed(int folder, const Identity& renewed);

}  // namespace weir
