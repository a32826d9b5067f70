// A policy as the kernel part's rows: see flatten.h.
#include "agent/run/flatten.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <limits>

#include "agent/guard/flat_policy.h"
#include "core/policy/evaluate.h"
#include "core/policy/limit_table.h"
#include "core/policy/resolvers.h"
#include "platform/linux/kernel_part.h"

namespace weir {
namespace {

// How long a flow that has used its first flight waits for the engine. It answers within 4 ms (p99,
// measured); a machine that is busy for a second is not a reason to charge everything to every row.
constexpr std::uint64_t kVerdictWaitNs = 2'000'000'000;

// Small datagrams that answer (CONTRACT, "What is counted"). 200 MB over HTTP/3 were acknowledged
// with 474 kB: this is enough for 13 GB a day, and bounds what could be hidden in acknowledgements.
constexpr std::uint64_t kAcknowledgementBytes = 32u << 20;
constexpr std::uint64_t kAcknowledgementName = 0x61636b;  // in every policy the same row
constexpr std::uint64_t kAnswersName = 0x616e73;
constexpr std::int64_t kDayNs = 24ll * 3600 * 1'000'000'000;

weir_per per_of(Per per) {
  switch (per) {
    case Per::process_tree:
      return WEIR_PER_TREE;
    case Per::host:
      return WEIR_PER_HOST;
    case Per::destination:
      return WEIR_PER_PERSON_DEST;
    case Per::process_tree_destination:
      return WEIR_PER_TREE_DEST;
    case Per::host_destination:
      return WEIR_PER_HOST_DEST;
    case Per::flow:
      return WEIR_PER_FLOW;
    case Per::person:
    case Per::unspecified:
      break;
  }
  return WEIR_PER_PERSON;
}

weir_limit row_of(const Limit& limit, Mode mode) {
  if (is_hold(limit)) {
    weir_limit row = hold_row();
    if (mode == Mode::observe) row.flags |= WEIR_LIMIT_OBSERVE;
    row.labels = limit.labels;
    return row;
  }
  std::uint32_t flags = limit.liftable ? 0 : WEIR_LIMIT_FIXED;
  // Counted in customers only: this version can't refuse by it, so it counts (enforce was refused).
  if (mode == Mode::observe || !limit.bytes) flags |= WEIR_LIMIT_OBSERVE;
  std::uint64_t bytes = limit.bytes.value_or(std::numeric_limits<std::int64_t>::max());
  return limit_row(bytes, limit.bytes ? limit.window_ns : 0, per_of(limit.per), flags,
                   limit.labels);
}

void put_holds(const Policy& policy, FlatHeader& header) {
  for (const Rule& rule : policy.rules) {
    if (!rule.hold || rule.limits.size() != 1 || rule.limits[0] >= policy.limits.size()) continue;
    FlatHold& hold = header.hold[rule.limits[0]];
    hold.for_ns = static_cast<std::uint64_t>(rule.hold->for_ns);
    hold.allows = rule.hold->otherwise == Action::allow ? 1 : 0;
    hold.asks = rule.hold->ask == "justification" ? 1 : 0;
    if (hold.allows != 0) header.table[rule.limits[0]].goes_on_ns = hold.for_ns;
  }
}

std::uint64_t rows_without_hold(const Policy& policy) {
  std::uint64_t rows = 0;
  for (const Rule& rule : policy.rules)
    if (rule.action == Action::limit && !rule.hold)
      for (std::uint32_t row : rule.limits) rows |= row < kMaxLimits ? 1ull << row : 0;
  return rows;
}

// Not final: what goes to other ports of that address gets a verdict like any flow.
FlatPrefix prefix_of(const Policy& policy, const KnownResolver& resolver) {
  FlatPrefix prefix;
  prefix.key.length = 128;
  std::copy(resolver.address.bytes.begin(), resolver.address.bytes.end(), prefix.key.address);
  prefix.value.limits = limits_of_questions(policy, resolver.address, resolver.worth);
  return prefix;
}

// What makes a row the same one in the next policy, wherever it stands and whatever its number is:
// its rule, its account's key, its window, and which of that rule's rows of this kind it is. The
// labels are compared by the kernel part.
std::uint64_t name_of(const Policy& policy, std::size_t index) {
  const Limit& limit = policy.limits[index];
  std::uint64_t ordinal = 0;
  for (std::size_t n = 0; n < index; ++n) {
    const Limit& other = policy.limits[n];
    if (other.rule == limit.rule && other.per == limit.per && other.window_ns == limit.window_ns)
      ++ordinal;
  }
  std::string text = fmt::format("{}\n{}\n{}\n{}", static_cast<int>(limit.per), limit.window_ns,
                                 ordinal, limit.rule);
  return std::max<std::uint64_t>(XXH3_64bits(text.data(), text.size()), 1);  // 0: none
}

void name_interfaces(const Policy& policy, FlatHeader& header) {
  for (const Network& network : policy.networks) {
    FlatInterface name{};
    if (network.interface.empty() || network.interface.size() >= name.size() ||
        header.interfaces == kFlatInterfaces)
      continue;  // check_policy refuses those
    std::copy(network.interface.begin(), network.interface.end(), name.begin());
    FlatInterface* const end = header.interface + header.interfaces;
    if (std::find(header.interface, end, name) == end) header.interface[header.interfaces++] = name;
  }
}

// check_policy keeps the policy's number of both well below the room.
void add_refuge(FlatHeader& header, const Prefix& prefix, std::uint32_t what) {
  if (header.refuges < kFlatRefuges)
    header.refuge[header.refuges++] = {prefix.address.bytes, prefix.length, what};
}

}  // namespace

std::vector<std::uint8_t> flatten(const Policy& policy, const std::vector<IpAddress>& resolvers) {
  FlatHeader header;
  header.keep = policy.on_exit == OnExit::keep ? 1 : 0;
  header.enforce = policy.mode == Mode::enforce ? 1 : 0;
  header.policy_number = policy.number;
  for (std::size_t n = 0; n < policy.limits.size(); ++n) {
    weir_limit& row = header.table[header.limits++] = row_of(policy.limits[n], policy.mode);
    row.name = name_of(policy, n);
  }
  put_holds(policy, header);
  header.state.unclassified = possible_limits(policy, Facts{});
  header.no_hold_rows = header.enforce != 0 ? rows_without_hold(policy) : 0;
  header.state.first_flight = policy.defaults.first_flight;
  header.state.verdict_wait_ns = kVerdictWaitNs;
  if (header.enforce != 0 && policy.defaults.other_families == OtherFamilies::prevent)
    header.state.charged_only = 1;
  if (header.limits > 0 && header.limits < WEIR_POLICY_LIMITS) {
    std::uint32_t flags = WEIR_LIMIT_FIXED | (header.enforce != 0 ? 0 : WEIR_LIMIT_OBSERVE);
    header.table[header.limits] =
        limit_row(kAcknowledgementBytes, kDayNs, WEIR_PER_PERSON, flags, 0);
    header.table[header.limits].name = kAcknowledgementName;
    header.state.acknowledgements = 1ull << header.limits++;
  }
  // After the one above: its number says which row it is (answers_row).
  if (header.state.acknowledgements != 0 && header.limits < WEIR_POLICY_LIMITS &&
      policy.defaults.answers > 0) {
    weir_limit& row = header.table[header.limits] = row_of(answers_limit(policy), policy.mode);
    row.name = kAnswersName;
    header.state.answers = 1ull << header.limits++;
  }
  for (const Rule& rule : policy.rules)
    if (header.rules < kFlatRules) header.rule[header.rules++] = flat_rule(rule.id);
  std::vector<FlatPrefix> prefixes;
  name_interfaces(policy, header);
  const Resolvers known(policy, resolvers);
  header.proves_names = known.any_proves() ? 1 : 0;
  for (const KnownResolver& resolver : known.all()) prefixes.push_back(prefix_of(policy, resolver));
  for (const Prefix& prefix : policy.never_block) add_refuge(header, prefix, WEIR_REFUGE_ALL);
  for (const KnownResolver& resolver : known.all())
    add_refuge(header, {resolver.address, 128}, WEIR_REFUGE_DNS);
  for (const Network& network : policy.networks)
    for (const IpAddress& gateway : network.gateways)
      add_refuge(header, {gateway, 128}, WEIR_REFUGE_GATEWAY);
  return write_flat_policy(header, prefixes);
}

}  // namespace weir
