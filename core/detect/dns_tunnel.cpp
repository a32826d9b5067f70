// Keys, charges and signals of dns_tunnel.
#include "core/detect/dns_tunnel.h"

#define XXH_INLINE_ALL  // some calls per DNS question
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/detect/actor.h"
#include "core/detect/dns_labels.h"
#include "core/detect/dns_score.h"
#include "core/detect/known_names.h"
#include "core/detect/zone_ledger.h"
#include "core/net/suffix.h"

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
  std::size_t from = 0, to = 0;  // the labels that are charged
  std::string_view text;         // what a report calls it: of the name, or `escaped`
  std::string escaped;
};

// At most three; they point into the name and into themselves.
struct Keys {
  std::array<Key, 3> all;
  std::size_t count = 0;

  Keys(const DnsLabels& name, std::uint64_t actor);
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;
  const Key* begin() const { return all.data(); }
  const Key* end() const { return all.data() + count; }

 private:
  void add(KeyKind kind, const DnsLabels& name, std::uint64_t actor);
};

void Keys::add(KeyKind kind, const DnsLabels& name, std::uint64_t actor) {
  Key& key = all[count++];
  key.kind = kind;
  key.to = name.size();
  std::size_t from = 0, to = 0;  // what the key is called by
  if (kind == KeyKind::zone || kind == KeyKind::last_labels) {
    from = key.to = name.zone_at;
    to = name.size();
  } else if (kind == KeyKind::first_label) {
    key.from = to = 1;
  }
  if (!name.plain) key.escaped = name.text(from, to);
  key.text = name.plain ? name.plain_text(from, to) : std::string_view(key.escaped);
  key.hash = XXH3_64bits_withSeed(key.text.data(), key.text.size(),
                                  actor + static_cast<std::uint64_t>(kind)) |
             1;
}

Keys::Keys(const DnsLabels& name, std::uint64_t actor) {
  if (name.size() == 0) return;  // the root
  if (name.known_suffix) {
    add(KeyKind::zone, name, actor);
    return;
  }
  if (name.size() > 1) {
    add(KeyKind::last_labels, name, actor);
    add(KeyKind::first_label, name, actor);
  }
  add(KeyKind::no_suffix, name, actor);
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
    const std::uint64_t hash = actor_hash(actor);
    // Who opened the flow asks, whatever the message's response bit claims.
    for (std::size_t i = 0; i < std::max<std::size_t>(seen.dns_count, 1); ++i) {
      const DnsMessage& message = seen.dns[i];
      const bool asks = seen.direction == Direction::unknown
                            ? !message.response
                            : seen.direction == Direction::outgoing;
      for (const DnsQuestion& question : message.questions) {
        name_.read(question.name, &suffixes_);
        for (const Key& key : Keys(name_, hash))
          asks ? ask(key, question.type, message, {flow, actor, hash, at}, out)
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
    name_.read(flow.resolved_name, &suffixes_);
    for (const Key& key : Keys(name_, hash))
      if (Zone* zone = ledger_.find(key.hash)) ++zone->evidence.connected;
  }

  struct Asker {
    const Flow& flow;
    const Actor& actor;
    std::uint64_t hash;
    const Stamp& at;
  };

  void ask(const Key& key, std::uint16_t type, const DnsMessage& message, const Asker& by,
           std::vector<Signal>& out) {
    const std::int64_t now = by.at.boot_ns;
    Zone& zone = ledger_.row(key.hash, key.text, now);
    const std::size_t address = key.from == 0 ? std::min(reversed_address(name_), key.to) : 0;
    const Labels labels = name_.part(key.from, key.to);
    zone.bytes_out += message.size;
    zone.last_ns = now;
    if (key.kind == KeyKind::zone) {
      const std::uint32_t believed = known_.believed(key.text, labels, type);
      if (believed > 0 && ledger_.believe(zone, labels, believed, now)) return;
    }
    const std::uint32_t names_before = zone.evidence.new_names;
    ledger_.charge(zone, labels, address, type, now);
    if (zone.evidence.new_names != names_before) zone.cases.add(now, name_.case_bits * kOneBit);
    const bool flows_seen = actors_with_flows_.contains(by.hash);
    const DnsLevel level = level_of(zone, points_of(zone.evidence, flows_seen), now);
    // All names without a suffix together are a last resort, for what no other key holds.
    if (!level.reached || level.bytes < 2 * zone.told) return;
    if (key.kind == KeyKind::no_suffix && (suffixless_told_ || level.bytes < kSuffixless)) return;
    if (key.kind != KeyKind::zone) suffixless_told_ = true;
    zone.told = level.bytes;
    signal(key, zone, score_of(zone.evidence, flows_seen), level, by.flow, by.actor, by.at, out);
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
    const std::string text(key.text);
    Signal s;
    s.finding.detector = "dns_tunnel";
    s.finding.severity = score.points >= 6 ? Severity::high : Severity::medium;
    s.finding.confidence = static_cast<std::uint8_t>(std::clamp(50 + 6 * score.points, 50, 98));
    const char* window = level.week ? "7d" : "24h";
    s.finding.because.push_back({level.repeats ? "dns_repeat_bytes" : "dns_zone_bytes",
                                 {text, std::to_string(level.bytes), window}});
    if (key.kind == KeyKind::first_label)
      s.finding.because.push_back({"dns_fixed_first_label", {text}});
    if (key.kind == KeyKind::no_suffix) s.finding.because.push_back({"dns_no_suffix", {}});
    s.finding.because.insert(s.finding.because.end(), score.because.begin(), score.because.end());
    const std::uint64_t cases = zone.cases.sum(at.boot_ns) / kOneBit / 8;
    if (cases > 0) s.finding.because.push_back({"dns_case_bytes", {std::to_string(cases)}});
    s.finding.attack = score.two_way ? std::vector<std::string>{"T1071.004", "T1572", "T1048"}
                                     : std::vector<std::string>{"T1071.004", "T1048"};
    s.destination.endpoint = flow.record.key.server;
    s.destination.zone = text;
    s.destination.channel = "dns";
    s.actor = actor;
    s.socket = flow.socket;
    s.bytes_out = zone.bytes_out;
    s.bytes_in = zone.bytes_in;
    s.key = key.kind == KeyKind::no_suffix ? "names without a suffix" : text;
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
  Suffixes suffixes_;
  DnsLabels name_;  // of the question at hand
  std::unordered_set<std::uint64_t> actors_with_flows_;
  std::vector<Pending> signalled_;
  bool suffixless_told_ = false;
};

}  // namespace

std::unique_ptr<Detector> make_dns_tunnel() {
  return std::make_unique<DnsTunnel>();
}

}  // namespace weir
