// Walks what a host has told, record by record, and tells where one does not follow the one before:
// changed, taken out or put in after it was stored. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "collector/store/watermarks.h"

namespace weir {

// Told, of each kind; the walk goes on and counts.
inline constexpr std::size_t kMaxBreaks = 100;

struct EvidenceBreak {
  StoreLane lane = StoreLane::alert;
  std::uint64_t epoch = 0, sequence = 0;
  std::string sentence;
};

struct EvidenceGap {
  StoreLane lane = StoreLane::alert;
  std::uint64_t epoch = 0, first = 0, last = 0;
  int why = 0;  // LostRange.Why
  std::int64_t told_ms = 0;
};

struct Evidence {
  std::uint64_t records = 0, gaps = 0;  // gaps: that were told
  std::vector<EvidenceGap> missing;     // these gaps
  std::vector<EvidenceBreak> breaks;
};

// Hash of a record, as the next names it.
using ChainHash =
    std::function<Digest(Bytes previous_hash, Bytes ciphertext, Bytes key_id, Bytes nonce)>;

// Of what came from from_ms on and before to_ms. The first record of a lane in that time is
// believed.
Result<Evidence> walk_evidence(FleetStore& fleet, const std::string& folder, std::uint32_t host,
                               std::int64_t from_ms, std::int64_t to_ms, const ChainHash& hash);

}  // namespace weir
