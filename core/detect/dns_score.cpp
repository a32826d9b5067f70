// Points, levels and their reasons. Every number here is from measured traffic: 150,000 honest
// lookups, eleven tunnels and five slow senders; none is a zone's or a tool's name.
#include "core/detect/dns_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace weir {
namespace {

// Fewer new names than this are no habit: a retry, a typing error, one long link.
constexpr std::uint32_t kEnoughNames = 6;

// Bytes told within 24 hours, and the points from which that is a finding. A zone that passes the
// last level is one whatever its names look like: nothing honest on a desk tells one zone so much.
struct Level {
  std::uint64_t bytes;
  int points;
};
constexpr Level kDay[] = {{512, 8}, {1024, 4}, {4096, 3}, {65536, -100}};
constexpr Level kWeek = {8192, 4};
constexpr std::uint64_t kRepeats = 16384;  // one bit a question: 131,072 questions in a day

std::uint32_t percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<std::uint32_t>(part * 100 / whole);
}

// A score in the making. Every question is scored, few are told: a reason's words are made only
// where somebody wants them.
struct Card {
  DnsScore score;
  bool reasons;

  template <class Words>
  void add(int points, const char* code, Words words) {
    score.points += points;
    if (reasons) score.because.push_back({code, words()});
  }
};

using Args = std::vector<std::string>;

void score_names(const ZoneEvidence& e, Card& card) {
  const double bits = static_cast<double>(e.letter_cost) / kOneBit / std::max(1u, e.characters);
  // Names that people give cost 2.5 to 6 bits a letter under the model, encoded bytes 8 to 14.
  if (bits >= 6.0)
    card.add(2, "dns_encoded_names", [&] { return Args{fmt::format("{:.1f}", bits)}; });
  const std::uint32_t length = e.characters / std::max(1u, e.new_names);
  if (length >= 24 || e.longest_label > 48)
    card.add(length >= 48 ? 2 : 1, "dns_long_names", [&] {
      return Args{std::to_string(length), std::to_string(e.longest_label)};
    });
  if (percent(e.binary_names, e.new_names) >= 10)
    card.add(2, "dns_binary_names", [&] { return Args{std::to_string(e.binary_names)}; });
  // An address written backwards: block lists and reverse DNS. Four bytes each, no more.
  if (percent(e.reversed_names, e.new_names) >= 90) card.score.points -= 3;
}

DnsScore scored(const ZoneEvidence& e, bool flows_seen, bool reasons) {
  Card card{{}, reasons};
  const std::uint32_t unique = std::min(100u, percent(e.new_names, e.turns));
  if (unique >= 80)
    card.add(2, "dns_unique_names", [&] {
      return Args{std::to_string(e.new_names), std::to_string(unique)};
    });
  score_names(e, card);
  const std::uint32_t other = percent(e.other_types, e.queries);
  if (other >= 50) card.add(2, "dns_unusual_types", [&] { return Args{std::to_string(other)}; });
  const std::uint64_t answer = e.answers == 0 ? 0 : e.answer_bytes / e.answers;
  if (answer >= 150) {
    card.add(1, "dns_long_answers", [&] { return Args{std::to_string(answer)}; });
    card.score.two_way = true;
  }
  const std::uint32_t nxdomain = percent(e.nxdomain, e.answers);
  if (nxdomain >= 80) card.add(1, "dns_nxdomain", [&] { return Args{std::to_string(nxdomain)}; });
  // What is connected to afterwards was a real name. A tunnel can pay for that with a flow a name.
  if (percent(e.connected, e.new_names) >= 50) card.score.points -= 3;
  if (flows_seen && e.connected == 0 && e.answers > 0)
    card.add(1, "dns_never_connected", [] { return Args{}; });
  return std::move(card.score);
}

}  // namespace

DnsScore score_of(const ZoneEvidence& e, bool flows_seen) {
  return scored(e, flows_seen, true);
}

int points_of(const ZoneEvidence& e, bool flows_seen) {
  return scored(e, flows_seen, false).points;
}

DnsLevel level_of(Zone& zone, int points, std::int64_t now_ns) {
  DnsLevel level;
  const std::uint64_t bits = kOneBit * 8;
  level.bytes = zone.day.sum(now_ns) / bits;
  for (const Level& step : kDay)
    if (level.bytes >= step.bytes && points >= step.points &&
        zone.evidence.new_names >= kEnoughNames)
      level.reached = true;
  if (level.reached) return level;
  const std::uint64_t week = zone.week.sum(now_ns) / bits;
  const std::uint64_t repeats = zone.repeats.sum(now_ns) / bits;
  if (week >= kWeek.bytes && points >= kWeek.points) return {true, true, false, week};
  if (repeats >= kRepeats) return {true, false, true, repeats};
  return level;
}

}  // namespace weir
