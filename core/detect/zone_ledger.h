// The ledger of one host's DNS: for each (actor, zone) an upper bound on what was told to whoever
// serves the zone, and the evidence that tells a tunnel from honest names. A table of fixed size;
// the zone that was told least gives way, and what it was told is remembered in a sketch, so that
// flooding the table with other zones does not wash an account out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/keyed_table.h"
#include "core/detect/char_model.h"
#include "core/detect/dns_labels.h"
#include "core/detect/name_set.h"
#include "core/detect/window.h"

namespace weir {

inline constexpr std::int64_t kHour = 3600ll * 1'000'000'000;

// What the names of one zone look like, since the first of them (halved once a day).
struct ZoneEvidence {
  std::uint32_t queries = 0;
  std::uint32_t turns = 0;           // queries for another name than the one before: retries, and
                                     // A beside AAAA, count once
  std::uint32_t new_names = 0;       // not asked for within the day before
  std::uint32_t characters = 0;      // of new names, below the zone and without addresses
  std::uint64_t letter_cost = 0;     // of new names under the letter model, Cost units
  std::uint32_t longest_label = 0;   // of all, not halved
  std::uint32_t other_types = 0;     // queries for none of A, AAAA, HTTPS, SVCB, PTR, SRV, NS, SOA
  std::uint32_t binary_names = 0;    // new names with bytes that no host name has
  std::uint32_t reversed_names = 0;  // new names that begin with an address written backwards
  std::uint32_t answers = 0;
  std::uint32_t nxdomain = 0;
  std::uint64_t answer_bytes = 0;
  std::uint32_t connected = 0;  // flows opened to what its names resolved to

  void halve();
};

struct Zone {
  std::uint64_t key = 0;     // 0: free
  std::string text;          // for people
  Window<8> day{3 * kHour};  // Cost units of new names, 24 h and at most 3 h more
  Window<7> week{24 * kHour};
  Window<8> repeats{3 * kHour};   // Cost units of asking for known names in an order
  Window<8> cases{3 * kHour};     // what the case of letters could say
  Window<8> believed{3 * kHour};  // bytes of new names that fit a known grammar
  ZoneEvidence evidence;
  std::uint32_t known_labels = 0;  // size of the list that a known label is an index into
  std::uint64_t last_name = 0;
  std::int64_t halved_ns = 0;
  std::int64_t last_ns = 0;                   // of the last question
  std::uint64_t bytes_out = 0, bytes_in = 0;  // DNS messages about the zone, as on the wire
  std::uint64_t told = 0;                     // bytes when it was signalled last, 0: never
  std::uint32_t told_order = 0;               // the how-manieth zone that was signalled
};

class ZoneLedger {
 public:
  // 4,096 zones: a desk asks for some 300 in a day; about 4 MiB with their texts.
  static constexpr std::size_t kZones = 4096;

  explicit ZoneLedger(const CharModel& model) : model_(model) { zones_.reserve(kZones); }

  // The zone's row, made if need be. The reference lives until the next call.
  Zone& row(std::uint64_t key, std::string_view text, std::int64_t now_ns);
  Zone* find(std::uint64_t key);

  // Charges one question: `labels` below the zone, the first `address_labels` of them an address.
  void charge(Zone& zone, Labels labels, std::size_t address_labels, std::uint16_t type,
              std::int64_t now_ns);

  // Charges a question that fits a known grammar to its own sum instead. False, and nothing is
  // charged, if that would pass `limit` bytes of new names in a day.
  bool believe(Zone& zone, Labels labels, std::uint32_t limit, std::int64_t now_ns);

  std::size_t rows() const { return zones_.size(); }
  std::uint64_t evicted() const { return evicted_; }
  std::uint64_t names_pushed_out() const { return seen_.pushed_out(); }

 private:
  // What evicted rows were told, at least: four rows of saturating maxima, two days of them.
  struct Sketch {
    static constexpr std::size_t kRows = 4, kCells = 16384;
    std::vector<std::uint32_t> cells;  // empty until something is remembered
    void remember(std::uint64_t key, std::uint32_t cost);
    std::uint32_t recall(std::uint64_t key) const;
  };

  Zone& make(std::uint64_t key, std::int64_t now_ns);
  Cost new_name_cost(Zone& zone, Labels labels, std::size_t address_labels, std::int64_t now_ns);

  const CharModel& model_;
  NameSet seen_;
  std::vector<Zone> zones_;
  KeyIndex index_;
  std::size_t hand_ = 0;
  std::uint64_t evicted_ = 0;
  Sketch today_, yesterday_;
  std::int64_t sketch_day_ = 0;
};

}  // namespace weir
