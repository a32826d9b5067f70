// Keys, charges and signals of dns_tunnel.
#include "core/detect/dns_tunnel.h"

#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/detect/actor.h"
#include "core/detect/dns_labels.h"
#include "core/detect/dns_score.h"
#include "core/detect/known_names.h"
#include "core/detect/zone_ledger.h"

namespace weir {
namespace {

// Actors that are known to open flows other than DNS: a hint only, so the set may be cleared.
constexpr std::size_t kMaxActors = 4096;
constexpr std::uint16_t kNxDomain = 3;

// What a question is counted under. A name below a known suffix has one key, its registered
// domain. Others have no registered domain, so either end may be the fixed one: the last two
// labels, the first label, and all such names together.
enum class KeyKind : std::uint8_t { zone, last_labels, first_label, no_suffix };

struct Key {
  KeyKind kind = KeyKind::zone;
  std::uint64_t hash = 0;
  std::string text;              // what a report calls it
  std::size_t from = 0, to = 0;  // the labels that are charged
};

Key key_of(KeyKind kind, const DnsLabels& name, std::uint64_t actor) {
  Key key{kind, 0, "", 0, name.size()};
  switch (kind) {
    case KeyKind::zone:
    case KeyKind::last_labels:
      key.text = name.text(name.zone_at, name.size());
      key.to = name.zone_at;
      break;
    case KeyKind::first_label:
      key.text = name.text(0, 1);
      key.from = 1;
      break;
    case KeyKind::no_suffix:
      break;
  }
  key.hash = XXH3_64bits_withSeed(key.text.data(), key.text.size(),
                                  actor + static_cast<std::uint64_t>(kind)) |
             1;
  return key;
}

std::vector<Key> keys_of(const DnsLabels& name, std::uint64_t actor) {
  if (name.size() == 0) return {};  // the root
  if (name.known_suffix) return {key_of(KeyKind::zone, name, actor)};
  std::vector<Key> keys;
  if (name.size() > 1) {
    keys.push_back(key_of(KeyKind::last_labels, name, actor));
    keys.push_back(key_of(KeyKind::first_label, name, actor));
  }
  keys.push_back(key_of(KeyKind::no_suffix, name, actor));
  return keys;
}

class DnsTunnel final : public Detector {
 public:
  DnsTunnel() : ledger_(CharModel::built_in()) {}

  std::string_view id() const override { return "dns_tunnel"; }

  void on(const Observation& seen, const Stamp& at, std::vector<Signal>& out) override {
    if (seen.flow == nullptr) return;
    const Flow& flow = *seen.flow;
    if (seen.dns == nullptr) {
      if (seen.opened) note_flow(flow);
      return;
    }
    const Actor actor = actor_of(flow);
    if (is_local_naming(flow.record.key) || serves(flow.record.key)) return;
    // Who opened the flow asks, whatever the message's response bit claims.
    for (std::size_t i = 0; i < std::max<std::size_t>(seen.dns_count, 1); ++i) {
      const DnsMessage& message = seen.dns[i];
      const bool asks = seen.direction == Direction::unknown
                            ? !message.response
                            : seen.direction == Direction::outgoing;
      for (const DnsQuestion& question : message.questions) {
        const DnsLabels name = take_labels(question.name);
        for (const Key& key : keys_of(name, actor_hash(actor)))
          asks ? ask(key, name, question.type, message, flow, actor, at, out)
               : answer(key, message);
      }
    }
  }

  void tick(const Stamp& now, std::vector<Signal>& out) override {
    for (Pending& last : signalled_) tell_final(last, now.boot_ns, out);
  }

  void finish(std::vector<Signal>& out) override {
    for (Pending& last : signalled_) tell_final(last, kEnd, out);
  }

  std::uint64_t dropped() const override { return ledger_.evicted() + ledger_.names_pushed_out(); }

 private:
  struct Pending {  // what was signalled, for the final numbers
    std::uint64_t zone = 0;
    Signal signal;
  };
  static constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
  // A zone that was signalled is signalled again with its last numbers when it was silent so long.
  static constexpr std::int64_t kQuiet = 10ll * 1'000'000'000;
  // Signalled zones whose final numbers are kept: far above what any host has at once.
  static constexpr std::size_t kMaxSignalled = 1024;

  void tell_final(Pending& last, std::int64_t now_ns, std::vector<Signal>& out) {
    const Zone* zone = ledger_.find(last.zone);
    if (zone == nullptr || zone->bytes_out == last.signal.bytes_out ||
        now_ns - kQuiet < zone->last_ns)
      return;
    last.signal.bytes_out = zone->bytes_out;
    last.signal.bytes_in = zone->bytes_in;
    out.push_back(last.signal);
  }

  // Live, the key's client is the local end: a resolver on this host answers there. What it is
  // asked for is counted where it asks on.
  static bool serves(const FlowKey& key) { return key.client.port == 53 && key.server.port != 53; }

  // Multicast DNS, LLMNR and NetBIOS names stay on the link.
  static bool is_local_naming(const FlowKey& key) {
    const std::uint16_t port = key.server.port;
    return key.server.address.is_multicast() || port == 5353 || port == 5355 || port == 137;
  }

  void note_flow(const Flow& flow) {
    const std::uint16_t port = flow.record.key.server.port;
    if (port == 53 || is_local_naming(flow.record.key)) return;
    const std::uint64_t hash = actor_hash(actor_of(flow));
    if (actors_with_flows_.size() >= kMaxActors) actors_with_flows_.clear();
    actors_with_flows_.insert(hash);
    if (flow.resolved_name.empty()) return;
    const DnsLabels name = take_labels(flow.resolved_name);
    for (const Key& key : keys_of(name, hash))
      if (Zone* zone = ledger_.find(key.hash)) ++zone->evidence.connected;
  }

  void ask(const Key& key, const DnsLabels& name, std::uint16_t type, const DnsMessage& message,
           const Flow& flow, const Actor& actor, const Stamp& at, std::vector<Signal>& out) {
    Zone& zone = ledger_.row(key.hash, key.text, at.boot_ns);
    const std::size_t address = key.from == 0 ? std::min(reversed_address(name), key.to) : 0;
    const std::vector<std::string> labels(
        name.labels.begin() + static_cast<std::ptrdiff_t>(key.from),
        name.labels.begin() + static_cast<std::ptrdiff_t>(key.to));
    zone.bytes_out += message.size;
    zone.last_ns = at.boot_ns;
    if (key.kind == KeyKind::zone) {
      const std::uint32_t believed = known_.believed(key.text, labels, type);
      if (believed > 0 && ledger_.believe(zone, labels, believed, at.boot_ns)) return;
    }
    const std::uint32_t names_before = zone.evidence.new_names;
    ledger_.charge(zone, labels, address, type, at.boot_ns);
    if (zone.evidence.new_names != names_before)
      zone.cases.add(at.boot_ns, name.case_bits * kOneBit);
    const DnsScore score = score_of(zone.evidence, actors_with_flows_.contains(actor_hash(actor)));
    const DnsLevel level = level_of(zone, score.points, at.boot_ns);
    // All names without a suffix together are a last resort, for what no other key holds.
    if (!level.reached || level.bytes < 2 * zone.told) return;
    if (key.kind == KeyKind::no_suffix && (suffixless_told_ || level.bytes < kSuffixless)) return;
    if (key.kind != KeyKind::zone) suffixless_told_ = true;
    zone.told = level.bytes;
    signal(key, zone, score, level, flow, actor, at, out);
  }

  void answer(const Key& key, const DnsMessage& message) {
    Zone* zone = ledger_.find(key.hash);
    if (zone == nullptr) return;
    ++zone->evidence.answers;
    if (message.rcode == kNxDomain) ++zone->evidence.nxdomain;
    zone->evidence.answer_bytes += message.size;
    zone->bytes_in += message.size;
  }

  void signal(const Key& key, Zone& zone, const DnsScore& score, const DnsLevel& level,
              const Flow& flow, const Actor& actor, const Stamp& at, std::vector<Signal>& out) {
    Signal s;
    s.finding.detector = "dns_tunnel";
    s.finding.severity = score.points >= 6 ? Severity::high : Severity::medium;
    s.finding.confidence = static_cast<std::uint8_t>(std::clamp(50 + 6 * score.points, 50, 98));
    const char* window = level.week ? "7d" : "24h";
    s.finding.because.push_back({level.repeats ? "dns_repeat_bytes" : "dns_zone_bytes",
                                 {key.text, std::to_string(level.bytes), window}});
    if (key.kind == KeyKind::first_label)
      s.finding.because.push_back({"dns_fixed_first_label", {key.text}});
    if (key.kind == KeyKind::no_suffix) s.finding.because.push_back({"dns_no_suffix", {}});
    s.finding.because.insert(s.finding.because.end(), score.because.begin(), score.because.end());
    const std::uint64_t cases = zone.cases.sum(at.boot_ns) / kOneBit / 8;
    if (cases > 0) s.finding.because.push_back({"dns_case_bytes", {std::to_string(cases)}});
    s.finding.attack = score.two_way ? std::vector<std::string>{"T1071.004", "T1572", "T1048"}
                                     : std::vector<std::string>{"T1071.004", "T1048"};
    s.destination.endpoint = flow.record.key.server;
    s.destination.zone = key.text;
    s.destination.channel = "dns";
    s.actor = actor;
    s.socket = flow.socket;
    s.bytes_out = zone.bytes_out;
    s.bytes_in = zone.bytes_in;
    s.key = key.kind == KeyKind::no_suffix ? "names without a suffix" : key.text;
    remember(key.hash, s);
    out.push_back(std::move(s));
  }

  void remember(std::uint64_t zone, const Signal& s) {
    const auto found = std::find_if(signalled_.begin(), signalled_.end(),
                                    [&](const Pending& p) { return p.zone == zone; });
    if (found != signalled_.end()) {
      found->signal = s;
    } else if (signalled_.size() < kMaxSignalled) {
      signalled_.push_back({zone, s});
    }
  }

  static constexpr std::uint64_t kSuffixless = 4096;  // bytes in 24 h, all names without a suffix

  const KnownNames& known_ = KnownNames::built_in();
  ZoneLedger ledger_;
  std::unordered_set<std::uint64_t> actors_with_flows_;
  std::vector<Pending> signalled_;
  bool suffixless_told_ = false;
};

}  // namespace

std::unique_ptr<Detector> make_dns_tunnel() {
  return std::make_unique<DnsTunnel>();
}

}  // namespace weir
