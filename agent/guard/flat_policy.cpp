// The policy as the guard gets it: see flat_policy.h.
#include "agent/guard/flat_policy.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "core/policy/policy.h"

namespace weir {
namespace {

constexpr std::uint32_t kTrusts = 7;                 // values of weir::Trust
constexpr std::uint64_t kMaxFirstFlight = 1u << 20;  // 1 MiB; the policy's default is 16 KiB
constexpr std::uint64_t kMaxVerdictWaitNs = 60'000'000'000ull;  // a server gives up after 60 s

// As a policy may name them (core/policy/policy.h); a resolver is one address.
std::uint32_t shortest_refuge(const FlatRefuge& refuge) {
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (refuge.what != WEIR_REFUGE_ALL) return 128;
  return std::equal(kMapped.begin(), kMapped.end(), refuge.address.begin())
             ? 96 + kShortestNeverBlockV4
             : kShortestNeverBlockV6;
}

const char* damage_of(const weir_limit& row, const FlatHold& hold, bool enforce) {
  const bool holds = (row.flags & WEIR_LIMIT_HOLD) != 0;
  if (hold.allows > 1 || hold.asks > 1) return "a flag is neither 0 nor 1";
  if (!holds) return hold.for_ns != 0 ? "a row that charges has the time of a hold" : nullptr;
  if (row.per != WEIR_PER_TREE_DEST) return "a hold has another key";
  if (row.goes_on_ns != (hold.allows != 0 ? hold.for_ns : 0))
    return "a hold goes on at another time than its rule says";
  const auto for_ns = static_cast<std::int64_t>(hold.for_ns & INT64_MAX);
  if (enforce && (for_ns < kShortestHold_ns || for_ns > kLongestHold_ns))
    return "a hold is shorter than 1 s, or longer than 45 s";
  return nullptr;
}

const char* damage_of(const FlatHeader& h) {
  std::uint64_t rows = h.limits >= 64 ? ~0ull : (1ull << h.limits) - 1;
  if (h.keep > 1 || h.enforce > 1 || h.proves_names > 1) return "a flag is neither 0 nor 1";
  if (h.state.charged_only > h.enforce) return "it would refuse sockets although it only observes";
  if ((h.state.unclassified & ~rows) != 0 || (h.state.acknowledgements & ~rows) != 0 ||
      (h.state.answers & ~rows) != 0 || (h.no_hold_rows & ~rows) != 0)
    return "a row is named that the table does not have";
  if (h.state.first_flight > kMaxFirstFlight) return "first_flight is above 1 MiB";
  if (h.state.verdict_wait_ns > kMaxVerdictWaitNs) return "the wait for a verdict is above 60 s";
  if (h.rules > kFlatRules) return "more rules are named than there is room for";
  if (h.refuges > kFlatRefuges || h.pad != 0) return "more refuges than there is room for";
  for (std::uint32_t n = 0; n < h.refuges; ++n)
    if (h.refuge[n].length > 128 || h.refuge[n].length < shortest_refuge(h.refuge[n]) ||
        (h.refuge[n].what != WEIR_REFUGE_ALL && h.refuge[n].what != WEIR_REFUGE_DNS &&
         h.refuge[n].what != WEIR_REFUGE_GATEWAY))
      return "a refuge is none";
  if (h.interfaces > kFlatInterfaces) return "more interfaces are named than there is room for";
  for (std::uint32_t n = 0; n < h.interfaces; ++n)
    if (h.interface[n].front() == '\0' || h.interface[n].back() != '\0')
      return "an interface has no name, or one that does not end";
  for (std::uint32_t n = 0; n < WEIR_LIMITS; ++n) {
    const weir_limit& row = h.table[n];
    bool used = n < h.limits;
    if (used != (row.per != WEIR_PER_NONE)) return "the rows in use do not match their number";
    if (row.per > WEIR_PER_FLOW) return "a row has an unknown key";
    if (row.per != WEIR_PER_FLOW && row.flow_bytes != 0)
      return "a row that is not per flow has the number of one";
    if ((row.flags & ~(WEIR_LIMIT_OBSERVE | WEIR_LIMIT_FIXED | WEIR_LIMIT_HOLD)) != 0 ||
        row.account != 0)
      return "a row has an unknown flag";
    if (const char* damage = damage_of(row, h.hold[n], h.enforce != 0)) return damage;
    if (used && h.enforce == 0 && (row.flags & WEIR_LIMIT_OBSERVE) == 0)
      return "a row would refuse although the mode is observe";
  }
  return nullptr;
}

const char* damage_of(const FlatHeader& h, const FlatPrefix& p) {
  std::uint64_t rows = h.limits >= 64 ? ~0ull : (1ull << h.limits) - 1;
  if (p.key.length > 128 || p.pad != 0) return "a prefix is longer than 128 bits";
  if ((p.value.limits & ~rows) != 0) return "a prefix names a row that the table does not have";
  if (p.value.trust >= kTrusts || p.value.final > 1) return "a prefix has an unknown trust";
  return nullptr;
}

}  // namespace

std::uint64_t FlatPolicy::rows() const {
  return header->limits >= 64 ? ~0ull : (1ull << header->limits) - 1;
}

std::uint64_t FlatPolicy::fixed_rows() const {
  std::uint64_t rows = 0;
  for (std::uint32_t n = 0; n < header->limits; ++n)
    if ((header->table[n].flags & WEIR_LIMIT_FIXED) != 0) rows |= 1ull << n;
  return rows;
}

std::uint64_t flat_rule(std::string_view id) {
  return XXH3_64bits(id.data(), id.size());
}

bool FlatPolicy::has_rule(std::string_view id) const {
  const std::uint64_t* const end = header->rule + header->rules;
  return std::find(header->rule, end, flat_rule(id)) != end;
}

const FlatHold* FlatPolicy::hold_of(std::uint32_t row) const {
  const bool holds = row < header->limits && (header->table[row].flags & WEIR_LIMIT_HOLD) != 0;
  return holds ? &header->hold[row] : nullptr;
}

Result<FlatPolicy> read_flat_policy(Bytes bytes) {
  if (bytes.size() < sizeof(FlatHeader)) return fail("flat policy: shorter than its header");
  const auto* header = reinterpret_cast<const FlatHeader*>(bytes.data());
  if (header->magic != kFlatMagic) return fail("flat policy: not a flat policy");
  if (header->layout != WEIR_LAYOUT)
    return fail(
        fmt::format("flat policy: layout {}, this guard has {}", header->layout, WEIR_LAYOUT));
  if (header->limits > WEIR_POLICY_LIMITS || header->prefixes > WEIR_PREFIXES)
    return fail("flat policy: more rows than the kernel part holds");
  std::size_t size = sizeof(FlatHeader) + header->prefixes * sizeof(FlatPrefix);
  if (header->size != size || bytes.size() != size)
    return fail(fmt::format("flat policy: {} bytes instead of {}", bytes.size(), size));
  if (const char* damage = damage_of(*header)) return fail(fmt::format("flat policy: {}", damage));
  FlatPolicy policy{header, {reinterpret_cast<const FlatPrefix*>(header + 1), header->prefixes}};
  for (const FlatPrefix& prefix : policy.prefixes)
    if (const char* damage = damage_of(*header, prefix))
      return fail(fmt::format("flat policy: {}", damage));
  return policy;
}

std::vector<std::uint8_t> write_flat_policy(FlatHeader header,
                                            std::span<const FlatPrefix> prefixes) {
  WEIR_CHECK(prefixes.size() <= WEIR_PREFIXES);
  header.magic = kFlatMagic;
  header.layout = WEIR_LAYOUT;
  header.prefixes = static_cast<std::uint32_t>(prefixes.size());
  header.size = sizeof header + prefixes.size_bytes();
  std::vector<std::uint8_t> bytes(header.size);
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!prefixes.empty())
    std::memcpy(bytes.data() + sizeof header, prefixes.data(), prefixes.size_bytes());
  return bytes;
}

std::vector<std::pair<Prefix, std::uint32_t>> refuges_of(const FlatPolicy& policy) {
  std::vector<std::pair<Prefix, std::uint32_t>> all;
  for (const FlatRefuge& one : policy.refuges())
    all.emplace_back(Prefix{IpAddress{one.address}, static_cast<std::uint8_t>(one.length)},
                     one.what);
  return all;
}

std::uint64_t allowed_limits(const FlatPolicy& policy, std::uint64_t asked) {
  std::uint64_t floor = policy.fixed_rows() & policy.header->state.unclassified;
  return (asked & policy.rows()) | floor;
}

}  // namespace weir
