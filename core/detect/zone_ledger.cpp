// Prices names and keeps the rows.
#include "core/detect/zone_ledger.h"

#define XXH_INLINE_ALL  // some calls per DNS question
#include <xxhash.h>

#include <algorithm>

namespace weir {
namespace {

constexpr std::size_t kLooked = 16;  // rows that an eviction compares
// An evicted row that was told less is not worth remembering (bytes, in Cost units).
constexpr Cost kWorthRemembering = 64 * 8 * kOneBit;
constexpr Cost kHowManyLabels = 3 * kOneBit;
constexpr Cost kAddressOrNot = kOneBit;
constexpr Cost kWhichCode = 3 * kOneBit;  // as CharModel::cheapest() counts it
// A row that was made again does not know how long its list of labels was: never below this.
constexpr std::uint32_t kListSlack = 16;

std::uint64_t fingerprint(std::uint64_t seed, Labels labels) {
  std::uint64_t hash = seed;
  for (const std::string_view label : labels)
    hash = XXH3_64bits_withSeed(label.data(), label.size(), hash);
  return hash;
}

bool is_host_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

// Types that a desk's programs ask for all day; what else there is carries data or is rare.
bool is_everyday_type(std::uint16_t type) {
  switch (type) {
    case 1:   // A
    case 2:   // NS
    case 6:   // SOA
    case 12:  // PTR
    case 28:  // AAAA
    case 33:  // SRV
    case 64:  // SVCB
    case 65:  // HTTPS
      return true;
    default:
      return false;
  }
}

}  // namespace

void ZoneEvidence::halve() {
  for (std::uint32_t* n : {&queries, &turns, &new_names, &characters, &other_types, &binary_names,
                           &reversed_names, &answers, &nxdomain, &connected})
    *n /= 2;
  letter_cost /= 2;
  answer_bytes /= 2;
}

void ZoneLedger::Sketch::remember(std::uint64_t key, std::uint32_t cost) {
  if (cells.empty()) cells.resize(kRows * kCells);
  for (std::size_t row = 0; row < kRows; ++row) {
    std::uint32_t& cell = cells[row * kCells + (key >> (row * 14)) % kCells];
    cell = std::max(cell, cost);
  }
}

std::uint32_t ZoneLedger::Sketch::recall(std::uint64_t key) const {
  if (cells.empty()) return 0;
  std::uint32_t least = 0xffffffff;
  for (std::size_t row = 0; row < kRows; ++row)
    least = std::min(least, cells[row * kCells + (key >> (row * 14)) % kCells]);
  return least;
}

Zone* ZoneLedger::find(std::uint64_t key) {
  const std::uint32_t found = index_.find(key);
  return found == KeyIndex::kNone ? nullptr : &zones_[found];
}

Zone& ZoneLedger::row(std::uint64_t key, std::string_view text, std::int64_t now_ns) {
  if (Zone* zone = find(key)) {
    if (now_ns - zone->halved_ns > 24 * kHour) {
      zone->evidence.halve();
      zone->halved_ns = now_ns;
    }
    return *zone;
  }
  Zone& zone = make(key, now_ns);
  zone.text = text;
  return zone;
}

Zone& ZoneLedger::make(std::uint64_t key, std::int64_t now_ns) {
  if (now_ns / (24 * kHour) != sketch_day_) {
    sketch_day_ = now_ns / (24 * kHour);
    std::swap(today_, yesterday_);
    today_ = Sketch();
  }
  std::size_t at = zones_.size();
  if (zones_.size() < kZones) {
    zones_.emplace_back();
  } else {
    const auto worth = [&](Zone& zone) {
      return zone.week.sum(now_ns) + (zone.told ? 1u << 30 : 0);
    };
    at = hand_ % kZones;
    for (std::size_t i = 1; i < kLooked; ++i)
      if (worth(zones_[(hand_ + i) % kZones]) < worth(zones_[at])) at = (hand_ + i) % kZones;
    hand_ = (hand_ + kLooked) % kZones;
    ++evicted_;
    const auto was_told =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(zones_[at].day.sum(now_ns), 0xffffffff));
    if (was_told >= kWorthRemembering) today_.remember(zones_[at].key, was_told);
    index_.erase(zones_[at].key);
    zones_[at] = Zone();
  }
  index_.insert(key, static_cast<std::uint32_t>(at));
  Zone& zone = zones_[at];
  zone.key = key;
  zone.halved_ns = now_ns;
  const std::uint32_t before = std::max(today_.recall(key), yesterday_.recall(key));
  if (before > 0) {
    zone.day.add(now_ns, before);
    zone.week.add(now_ns, before);
  }
  return zone;
}

Cost ZoneLedger::new_name_cost(Zone& zone, Labels labels, std::size_t address_labels,
                               std::int64_t now_ns) {
  const Cost index = kWhichCode + log2_cost(zone.known_labels + kListSlack);
  Cost sum = kHowManyLabels + kAddressOrNot;
  if (address_labels > 0) sum += (address_labels == 4 ? 32 : 128) * kOneBit;
  Cost plain = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::string_view label = labels[i];
    plain += static_cast<Cost>(label.size() + 1) * 8 * kOneBit;
    if (i < address_labels) continue;
    const std::uint64_t print =
        XXH3_64bits_withSeed(label.data(), label.size(), zone.key ^ 0x6c6162656cULL);
    const bool known = !seen_.add(print, now_ns);
    if (!known) ++zone.known_labels;
    const Cost spelled = model_.cheapest(label);
    sum += known ? std::min(spelled, index) : spelled;
  }
  return std::min(sum, plain + kAddressOrNot);
}

bool ZoneLedger::believe(Zone& zone, Labels labels, std::uint32_t limit, std::int64_t now_ns) {
  std::uint64_t bytes = 0;
  for (const std::string_view label : labels) bytes += label.size() + 1;
  if (zone.believed.sum(now_ns) + bytes > limit) return false;
  if (seen_.add(fingerprint(zone.key, labels), now_ns)) zone.believed.add(now_ns, bytes);
  return true;
}

void ZoneLedger::charge(Zone& zone, Labels labels, std::size_t address_labels, std::uint16_t type,
                        std::int64_t now_ns) {
  ZoneEvidence& evidence = zone.evidence;
  ++evidence.queries;
  if (!is_everyday_type(type)) ++evidence.other_types;
  const std::uint64_t name = fingerprint(zone.key, labels);
  const std::uint64_t typed = name ^ (std::uint64_t{type} << 48 | 0x74797065);
  seen_.prepare(typed);
  seen_.prepare(name);
  const bool new_type = seen_.add(typed, now_ns);
  const bool new_name = seen_.add(name, now_ns);
  const bool again = name == zone.last_name;
  zone.last_name = name;
  if (!again) ++evidence.turns;
  if (!new_name) {
    // Choosing among names that the zone knows: log2 of their number; the same name again says
    // nothing (retries, A beside AAAA, polling).
    if (!again) zone.repeats.add(now_ns, log2_cost(evidence.new_names));
    if (new_type) zone.day.add(now_ns, kOneBit);
    return;
  }
  if (labels.empty()) return;  // the zone itself: it was named once, that tells nothing below it
  ++evidence.new_names;
  if (address_labels > 0) ++evidence.reversed_names;
  const Cost cost = new_name_cost(zone, labels, address_labels, now_ns);
  zone.day.add(now_ns, cost);
  zone.week.add(now_ns, cost);
  bool binary = false;
  for (std::size_t i = address_labels; i < labels.size(); ++i) {
    const std::string_view label = labels[i];
    evidence.characters += static_cast<std::uint32_t>(label.size() + 1);
    evidence.letter_cost += model_.letters(label);
    evidence.longest_label =
        std::max(evidence.longest_label, static_cast<std::uint32_t>(label.size()));
    binary = binary || !std::all_of(label.begin(), label.end(), is_host_byte);
  }
  if (binary) ++evidence.binary_names;
}

}  // namespace weir
