// Places that an administrator blocked: which flows go to such a name. The kernel refuses what goes
// there by the destination key that they get here, and an address by itself.
#include <algorithm>
#include <utility>

#include "core/line/state.h"
#include "core/net/domain.h"

namespace weir {
namespace {

// Before the lease of an address ends, while an answer still leads there.
constexpr std::int64_t kRenewNs = kAnswerGraceNs / 2;

}  // namespace

// The narrowest that is about this name and person; without an actor, about anybody.
const Exception* Line::State::shut_by(const std::string& name, const Actor* actor) const {
  const Exception* found = nullptr;
  for (const Exception& shut : shuts) {
    if (shut.domain.empty() || !within_domain(name, shut.domain)) continue;
    if (actor != nullptr && shut.person != kNoPerson && shut.person != actor->person) continue;
    if (found == nullptr || shut.domain.size() > found->domain.size()) found = &shut;
  }
  return found;
}

// By the name that the flow says. Where no resolver answered that name for its address, or it says
// none, those that were answered count as well: as judge_place() has it.
std::uint64_t Line::State::shut_of(const JudgedFlow& flow, const Flow& told_flow) {
  if (shuts.empty()) return 0;
  const std::string sni = normal_host(told_flow.record.server_name);
  const std::string said = !sni.empty() ? sni : normal_host(told_flow.http_host);
  const Exception* found = said.empty() ? nullptr : shut_by(said, &flow.actor);
  if (found != nullptr) return destination_key(found->domain);
  const std::vector<std::string> answered =
      destinations.answers().names_at(flow.key.server.address, at);
  if (!said.empty() && std::find(answered.begin(), answered.end(), said) != answered.end())
    return 0;
  for (const std::string& name : answered)
    if ((found = shut_by(name, &flow.actor)) != nullptr) return destination_key(found->domain);
  for (const std::string& name : names_seen_at(flow.key.server.address))
    if ((found = shut_by(name, &flow.actor)) != nullptr) return destination_key(found->domain);
  return 0;
}

// By answers that a former engine had, of which the guard has kept these.
std::vector<std::string> Line::State::names_seen_at(const IpAddress& address) const {
  std::vector<std::string> names;
  const auto [first, last] = shut_places.equal_range(address);
  for (auto at_it = first; at_it != last; ++at_it) names.push_back(at_it->second);
  return names;
}

std::uint64_t Line::State::shut_at(const IpAddress& address) {
  if (shuts.empty()) return 0;
  for (const std::string& name : destinations.answers().names_at(address, at))
    if (const Exception* found = shut_by(name, nullptr)) return destination_key(found->domain);
  for (const std::string& name : names_seen_at(address))
    if (const Exception* found = shut_by(name, nullptr)) return destination_key(found->domain);
  return 0;
}

// What is open is judged by them at once, in the order in which it was opened, and so are the
// addresses that such a name, or one of before, led to.
void Line::State::take_shuts(std::vector<Exception> next) {
  if (next.size() > kMaxShuts) next.resize(kMaxShuts);
  if (next.empty() && shuts.empty()) return;
  const std::vector<Exception> before = std::exchange(shuts, std::move(next));
  std::vector<std::uint64_t> order = judged.keys();
  std::sort(order.begin(), order.end());
  for (std::uint64_t serial : order) {
    JudgedFlow& flow = judged.at(serial);
    if (!flow.judged || flow.copy == nullptr) continue;
    const std::uint64_t key = shut_of(flow, *flow.copy);
    if (std::exchange(flow.shut, key) != key) classify(flow);
  }
  for (const Exception& one : before)
    if (live && !one.domain.empty())
      for (const IpAddress& address : destinations.answers().addresses_within(one.domain, at))
        judge_address(address);
  renew_shuts();
}

void Line::State::renew_shuts() {
  renew_shuts_ns = at.boot_ns + kRenewNs;
  for (const Exception& shut : shuts)
    if (live && !shut.domain.empty())
      for (const IpAddress& address : destinations.answers().addresses_within(shut.domain, at))
        judge_address(address);
}

// Whoever tried hears why nothing arrives.
void Line::State::tell_shut(const AccountSpent& spent) {
  const auto shut = std::find_if(shuts.begin(), shuts.end(), [&](const Exception& one) {
    return one.number == spent.destination + 1;
  });
  if (shut == shuts.end()) return;  // it has ended
  Told one = refusal_beside_rules(spent, kShutRule, Action::block);
  one.finding.detector = "policy";
  one.finding.because = one.decision.because = {{"place_blocked", {where_of(*shut)}}};
  told.push_back(std::move(one));
}

}  // namespace weir
