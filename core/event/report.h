// What leaves the line: findings, decisions and reports, as plain values. agent/wire maps them to
// proto/weir/v1; CONTRACT names the fields that scripts rely on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/event/address.h"
#include "core/event/event.h"

namespace weir {

// A reason as {code, arguments}; one renderer (core/policy/explain.h) turns it into English or
// 简体中文. Codes are snake_case and stay stable; arguments are already formatted values (bytes are
// decimal counts, the renderer scales them).
struct Reason {
  std::string code;
  std::vector<std::string> args;
  auto operator<=>(const Reason&) const = default;
};

enum class Severity : std::uint8_t { unspecified, info, low, medium, high, critical };

// Mildest first: the strictest of all matching rules wins.
enum class Action : std::uint8_t { unspecified, allow, log, warn, limit, hold, block, isolate };

enum class Trust : std::uint8_t {
  unspecified,
  approved,
  known,
  unknown,
  upload,
  infrastructure,
  undeclared_udp
};

// Where something goes. `name` is what approved or named it (SNI, resolver's answer, Host); `zone`
// is the registered domain that a DNS finding is about.
struct Destination {
  Endpoint endpoint;
  std::string name;
  std::string zone;
  std::string service;   // catalogue or policy service id
  std::string category;  // cloud_storage, messaging … without the _cn part
  std::string channel;   // dns, tls, http, quic, tcp, udp
  Trust trust = Trust::unspecified;
  bool name_proven = false;  // reports: as an approval by `name` needs it
};

// Who: on a live host a process tree and a person, in a capture the client's address.
struct Actor {
  TreeId tree = 0;
  PersonId person = kNoPerson;
  std::uint32_t pid = 0;
  std::string program;
  IpAddress address;
};

struct Finding {
  std::string detector;  // dns_tunnel, cloud_upload, bulk_egress …
  Severity severity = Severity::unspecified;
  std::uint8_t confidence = 0;  // percent
  std::vector<Reason> because;
  std::vector<std::string> attack;  // ATT&CK technique ids
};

struct Decision {
  Action action = Action::unspecified;
  std::string rule;  // id of the rule that won, "" for the built-in default
  std::uint32_t policy_number = 0;
  bool enforced = false;  // false: decided and reported only (mode observe, or a capture)
  std::vector<Reason> because;
};

// One per (tree or client, destination, rule) and window; sent again with a higher revision and the
// final bytes, never one per packet.
struct Report {
  std::string id;  // deterministic: hash of group and of the time of its first event
  std::uint32_t revision = 0;
  std::string group;    // grouping key, the same for every revision and for recurrences
  Stamp at;             // first event
  Stamp updated;        // event that made this revision
  std::string capture;  // file that was replayed, "" live
  Finding finding;
  Destination destination;
  Actor actor;
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint32_t customers = 0;  // 0: not known
  Decision decision;
};

// --flows, and the usage rows' raw material.
struct FlowRecord {
  FlowKey key;
  std::string protocol;  // tls, http, dns, quic, tcp, udp …
  std::string server_name;
  std::string alpn;
  std::string ja4;
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
  std::int64_t first_seen_ns = 0;  // wall
  std::int64_t last_seen_ns = 0;
};

// (person, program, destination, hour), kept 90 days on the desk: every baseline stands on it.
struct UsageRow {
  PersonId person = kNoPerson;
  std::string program;
  std::string destination;  // registrable name, else /24 or /48
  Trust trust = Trust::unspecified;
  std::int64_t hour = 0;  // wall time / 3600 s
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint32_t flows = 0;
  bool name_proven = false;  // of a flow at least: Facts::name_proven
};

// What the line asks the host to do. The guard checks each against the policy's own limits and
// never lets one loosen more than the policy's `liftable` rows. Leases: they end by themselves.
struct Classify {  // which limits this socket is charged to from now on
  std::uint64_t cookie = 0;
  std::uint64_t limits = 0;       // bit n: row n of Policy::limits
  std::uint64_t destination = 0;  // key for `per: destination` accounts
  Trust trust = Trust::unspecified;
  std::uint32_t via = 0;  // index of the interface that this rests on; over another it is void
  // Exception that the flow is charged to beside `limits`, 0: none.
  std::uint32_t exception = 0;
};

// The same for every flow to an address that a DNS answer gave: which rows could still apply there,
// so that a spent row never stops the first flight of a flow that it can't be about.
struct ClassifyAddress {
  IpAddress address;
  std::uint64_t limits = 0;  // possible_limits() of the names that led here
  std::uint64_t destination = 0;
  Trust trust = Trust::unspecified;
  bool final = false;  // the address alone decides: no verdict is awaited
  std::int64_t until_boot_ns = 0;
};

struct Block {
  enum class Target : std::uint8_t { everything, dns, destination };
  TreeId tree = 0;  // the process tree that loses the target
  Target target = Target::everything;
  std::uint64_t destination = 0;
  std::int64_t until_boot_ns = 0;
};

using Order = std::variant<Classify, ClassifyAddress, Block>;

}  // namespace weir
