// A policy in force: what the compiler makes of the YAML, immutable, shared as a snapshot. The
// YAML surface is core/policy/surface; the wire form is policy.proto; evaluation is evaluate.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/event/address.h"
#include "core/event/report.h"

namespace weir {

// Rows of a policy that the kernel part holds; one bit each in a u64. The 64th is for exceptions.
inline constexpr std::size_t kMaxLimits = 63;

// The key of one account. A pair is keyed by (that, destination).
enum class Per : std::uint8_t {
  unspecified,
  process_tree,
  person,
  host,
  destination /* = [person, destination] */,
  process_tree_destination,
  host_destination,
  flow
};

// One row of the kernel's limit table. No window: a total, all of it at once. With a window: burst
// half, the other half refills over the window, so that no window passes more than `bytes`.
struct Limit {
  std::string rule;
  std::optional<std::uint64_t> bytes;
  std::optional<std::uint32_t> customers;
  std::int64_t window_ns = 0;
  Per per = Per::unspecified;
  std::uint32_t labels = 0;  // bit set: applies only where tree or person carries one of them
  bool liftable = true;      // false: no verdict of the engine may take a socket off this row
};

// The row of a rule that holds (one for each process tree and destination): it counts nothing.
inline bool is_hold(const Limit& limit) {
  return !limit.bytes && !limit.customers;
}

// The condition tree. A leaf tests one field; the meaning of each field is in the surface table.
struct Condition {
  enum class Kind : std::uint8_t { always, all, any, none /* not any */, leaf };
  enum class Field : std::uint8_t {
    unspecified,
    label,
    weight,
    trust,
    upload_to,
    burst,
    destination_domain,
    destination_service,
    destination_cidr,
    destination_category,
    destination_approved,
    detector,
    program,
    person,
    channel
  };
  Kind kind = Kind::always;
  std::vector<Condition> parts;  // all, any, none
  Field field = Field::unspecified;
  std::vector<std::string> values;  // leaf: any of them
  std::uint64_t number = 0;         // leaf: burst (bytes)
};

// Bounds of a hold in `enforce`. Below a second nobody can answer; servers close a connection that
// is silent for 60 s (nginx's client_body_timeout), so that what is answered later has nowhere to
// go.
inline constexpr std::int64_t kShortestHold_ns = 1'000'000'000, kLongestHold_ns = 45'000'000'000;
// Rules that hold: each is a row, and the kernel part asks all of a flow's for an answer.
inline constexpr std::size_t kMaxHolds = 8;
// How long an answer counts for the process tree and the destination that it was about: a day's
// work, and no longer than an exception.
inline constexpr std::int64_t kAnswerCounts_ns = 24 * 3600'000'000'000;
// Flows of one person that wait at once; 75 KB of memory each, in their sockets' queues.
inline constexpr std::size_t kMaxHeldOfPerson = 256;

struct Hold {
  std::int64_t for_ns = 0;
  std::string ask;  // justification …
  Action otherwise = Action::block;
};

struct Rule {
  std::string id;
  Condition when;
  Action action = Action::unspecified;
  Severity severity = Severity::unspecified;  // unspecified: the finding's own
  std::vector<std::uint32_t> limits;          // rows of Policy::limits
  std::optional<Hold> hold;
  std::vector<std::string> excepts;  // allow: ids of the rules it sets aside
};

struct Weight {
  std::uint32_t report = 1, tighten = 20, strict = 200, opaque_counts = 1000;
  std::int64_t half_life_ns = 3600'000'000'000;
};

struct LabelSource {  // one entry of a label's any:
  enum class Kind : std::uint8_t { type, exact_match, path, received_from };
  Kind kind = Kind::type;
  std::string what;          // type id, index name, path, service
  std::uint32_t unique = 0;  // type: unique matches; exact_match: rows
  std::string above;         // received_from: "own_p99"
  std::uint64_t floor = 0;
  std::uint32_t bytes_per_customer = 0;
};

struct Label {
  std::string id;
  std::vector<LabelSource> any;
  Weight weight;
};

struct Service {
  std::string id;
  std::string category;
  std::vector<std::string> domains;       // matched on label boundaries
  std::vector<std::string> upload_hosts;  // "*" inside one label only
  std::vector<Prefix> ranges;
  bool shared_host = false;
  bool no_sni = false;
  std::string title = {};   // for people; a policy's own service has none
  std::string region = {};  // "cn" or ""
  char confidence = 'A';    // data/catalogue.txt says what A and B mean
};

struct Selector {  // one way to name destinations
  enum class Kind : std::uint8_t { service, domain, cidr };
  Kind kind = Kind::domain;
  std::string value;
  Prefix prefix;    // cidr
  std::string via;  // cidr: the named network that proves it
};

struct Resolver {
  IpAddress address;
  std::string via;
};

struct Network {
  std::string id;
  std::string interface;
  // Where the tunnel behind the interface leads: what carries it there is charged nowhere.
  std::vector<IpAddress> gateways = {};
};

struct Index {
  std::string id;
  std::string file;
};

enum class Mode : std::uint8_t { observe, enforce };
enum class OnExit : std::uint8_t { release, keep };

// A desk that serves a room: 50 people with 2,000 look-ups of 160 bytes each are 16 MB a day.
inline constexpr std::uint64_t kDefaultAnswers = 32ull << 20;

// Sockets of families that no limit counts (AF_VSOCK, AF_BLUETOOTH …): told where the host can, or
// refused, which takes BPF LSM.
enum class OtherFamilies : std::uint8_t { detect, prevent };

struct Defaults {
  Action on_deadline = Action::allow;
  std::string on_uninspectable = "opaque";
  std::string on_full = "stricter";
  std::uint64_t first_flight = 16 * 1024;  // bytes a flow may send before it is named
  // Bytes in 24 h that servers of this machine may answer others with: answers_limit().
  std::uint64_t answers = kDefaultAnswers;
  OtherFamilies other_families = OtherFamilies::detect;
};

// What a policy may name under never_block: a provider's sign-in has ranges of /18 and shorter.
inline constexpr std::uint8_t kShortestNeverBlockV4 = 12, kShortestNeverBlockV6 = 32;
inline constexpr std::size_t kMaxNeverBlock = 48;
inline constexpr std::size_t kMaxGateways = 16;  // of all networks: a provider's, in both families

struct Policy {
  std::string name;
  std::uint32_t number = 0;  // of the signed envelope; 0 for a file
  Mode mode = Mode::observe;
  OnExit on_exit = OnExit::release;
  Defaults defaults;
  std::vector<Network> networks;
  std::vector<Resolver> resolvers;
  std::vector<Prefix> never_block;  // neither isolation nor a block of a destination stops these
  std::vector<Service> services;    // the policy's own; the catalogue is data/catalogue.txt
  std::vector<Index> indexes;
  std::vector<Label> labels;
  std::vector<Selector> approved;
  std::string known;  // domains whose proven names are known: a text as known_text() makes it
  std::vector<Rule> rules;
  std::vector<Limit> limits;  // at most kMaxLimits, in rule order; then those of holds
};

}  // namespace weir
