// Answers and their proofs: see answers.h.
#include "core/line/answers.h"

#include <algorithm>

#include "core/net/domain.h"
#include "core/net/names.h"

namespace weir {
namespace {

constexpr std::uint16_t kDnsPort = 53;

// The interface that an answer came by. Over TCP one that knows the connection's numbers could mix
// bytes of its own in from elsewhere: there every segment must have come the same way.
std::uint32_t arrival(const Observation& seen) {
  const Flow& flow = *seen.flow;
  return flow.record.key.transport == Transport::tcp ? flow.in.index : seen.via;
}

}  // namespace

void Answers::take(const Policy& policy) {
  resolvers_ = Resolvers(policy);
}

void Answers::on(const InterfaceSeen& seen) {
  if (indexes_.size() >= kMaxNetworks && !indexes_.contains(seen.name)) {
    ++dropped_;  // the guard tells no more than a policy may name
    return;
  }
  std::vector<std::uint32_t>& known = indexes_[std::string(seen.name)];
  std::erase(known, seen.index);
  if (known.size() >= kMaxIndexes) known.erase(known.begin());
  known.push_back(seen.index);
}

// Answers come back on the flow of their question, and only once: what a program sends itself, or
// what comes unasked, says nothing.
bool Answers::is_asked_for(const Observation& seen, const DnsMessage& message, const Stamp& at) {
  const bool outgoing = seen.direction == Direction::outgoing;
  if (!message.response) {
    if (outgoing && live_) questions_.asked(seen.flow->serial, message, at.boot_ns);
    return false;
  }
  if (outgoing) return false;
  return !live_ || questions_.answers(seen.flow->serial, message, at.boot_ns);
}

std::vector<IpAddress> Answers::learn(const Observation& seen, const DnsMessage& message,
                                      const Stamp& at) {
  std::vector<IpAddress> learnt;
  if (!is_asked_for(seen, message, at)) return learnt;
  const Endpoint& server = seen.flow->record.key.server;
  const Worth worth = resolvers_.worth(server.address);
  if (server.port != kDnsPort || worth < Worth::narrows) return learnt;
  const std::string name = normal_host(message.questions.front().name);
  for (const NamedAddress& answer : addresses_of(message)) {
    Answered* known = place_for(answer.address, name, at);
    if (known == nullptr) break;  // what is not remembered is not proven: stricter
    const std::int64_t ttl = static_cast<std::int64_t>(answer.ttl_s) * 1'000'000'000;
    const std::int64_t until = at.boot_ns + std::clamp(ttl, kAnswerGraceNs, kLongestAnswerNs);
    known->until_ns = std::max(known->until_ns, until);
    learnt.push_back(answer.address);
    const std::uint32_t via = arrival(seen);
    const bool proves =
        live_ ? interface_that_proves(server.address, via) != nullptr : worth >= Worth::proves;
    if (!proves && this->proves(*known, at)) continue;
    known->resolver = server.address;
    known->via = via;
    known->proof_until_ns = until;
  }
  return learnt;
}

Answered* Answers::place_for(const IpAddress& address, const std::string& name, const Stamp& at) {
  if (answered_.size() >= kMaxAnswered && !answered_.contains(address)) {
    forget_expired(at);
    if (answered_.size() >= kMaxAnswered) {
      ++dropped_;
      return nullptr;
    }
  }
  std::vector<Answered>& names = answered_[address];
  const auto known =
      std::find_if(names.begin(), names.end(), [&](const Answered& a) { return a.name == name; });
  if (known != names.end()) return &*known;
  if (names.size() >= kMaxNamesOfAddress) {
    ++dropped_;
    // A proven name is the last to go: anybody can make names of their own lead to an address.
    const auto oldest =
        std::find_if(names.begin(), names.end(), [&](const Answered& a) { return !proves(a, at); });
    names.erase(oldest == names.end() ? names.begin() : oldest);
  }
  names.push_back({name, 0, {}, 0, 0});
  return &names.back();
}

void Answers::forget_expired(const Stamp& at) {
  if (at.boot_ns < sweep_after_ns_) return;
  sweep_after_ns_ = at.boot_ns + kSweepEveryNs;
  std::erase_if(answered_, [&](const auto& entry) {
    return std::all_of(entry.second.begin(), entry.second.end(),
                       [&](const Answered& a) { return a.until_ns < at.boot_ns; });
  });
}

const Answered* Answers::find(const IpAddress& address, std::string_view name,
                              const Stamp& at) const {
  const auto names = answered_.find(address);
  if (name.empty() || names == answered_.end()) return nullptr;
  for (const Answered& answer : names->second)
    if (answer.name == name && answer.until_ns >= at.boot_ns) return &answer;
  return nullptr;
}

std::vector<std::string> Answers::names_at(const IpAddress& address, const Stamp& at) const {
  std::vector<std::string> names;
  const auto found = answered_.find(address);
  if (found == answered_.end()) return names;
  for (const Answered& answer : found->second)
    if (answer.until_ns >= at.boot_ns) names.push_back(answer.name);
  return names;
}

std::vector<IpAddress> Answers::addresses_within(std::string_view domain, const Stamp& at) const {
  std::vector<IpAddress> found;
  for (const auto& [address, names] : answered_)
    if (std::any_of(names.begin(), names.end(), [&](const Answered& one) {
          return one.until_ns >= at.boot_ns && within_domain(one.name, domain);
        }))
      found.push_back(address);
  std::sort(found.begin(), found.end());
  return found;
}

// The interface may have been told of after the answer, and may be another one since: an index is
// never used twice, so each that it had still says which network it was.
const std::string* Answers::interface_that_proves(const IpAddress& resolver,
                                                  std::uint32_t via) const {
  if (via == 0) return nullptr;
  for (const auto& [name, indexes] : indexes_)
    if (std::find(indexes.begin(), indexes.end(), via) != indexes.end() &&
        resolvers_.proves_over(resolver, name))
      return &name;
  return nullptr;
}

bool Answers::proves(const Answered& answer, const Stamp& at) const {
  if (answer.proof_until_ns < at.boot_ns) return false;
  if (!live_) return resolvers_.worth(answer.resolver) >= Worth::proves;
  return interface_that_proves(answer.resolver, answer.via) != nullptr;
}

std::uint32_t Answers::network_of(const Answered& answer) const {
  const std::string* name = interface_that_proves(answer.resolver, answer.via);
  return name == nullptr ? 0 : indexes_.find(*name)->second.back();
}

std::uint32_t Answers::index_of(const Policy& policy, std::string_view network) const {
  const auto known = indexes_.find(interface_of(policy, network));
  return known == indexes_.end() ? 0 : known->second.back();
}

}  // namespace weir
