// Checks a signed policy as a host would, so that what hosts must refuse is refused here first.
#include "collector/rollout/rollout.h"

#include <fmt/format.h>

#include <algorithm>

#include "collector/fleet/crypto.h"
#include "collector/fleet/enrolment.h"
#include "collector/fleet/signers.h"
#include "core/policy/signature.h"
#include "proto/map/command_proto.h"
#include "proto/map/policy_proto.h"
#include "weir/v1/agent.pb.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

using Why = Refusal::Kind;

// The same text under another number: what a rollback signs anew.
std::string text_without_number(const std::string& policy) {
  v1::Policy text;
  if (!text.ParseFromString(policy)) return {};
  text.clear_number();
  return text.SerializeAsString();
}

std::string text_of(const PolicyRow& row) {
  v1::SignedPolicy signed_policy;
  v1::PolicyEnvelope envelope;
  if (!signed_policy.ParseFromString(row.signed_policy) ||
      !envelope.ParseFromString(signed_policy.envelope()))
    return {};
  return text_without_number(envelope.policy());
}

// Where it stands among the group's policies: a rollback, where its text came from.
std::uint32_t place_of(const PolicyRow& row) {
  return row.source != 0 ? row.source : row.number;
}

// The number that `policy` has the text of: `source`, or if that is 0 the newest. 0: none has it.
std::uint32_t published_as(FleetStore& store, const std::string& group, std::uint32_t source,
                           const std::string& policy) {
  const std::string wanted = text_without_number(policy);
  if (source != 0) {
    std::optional<PolicyRow> row = store.policy(group, source);
    return row && text_of(*row) == wanted ? place_of(*row) : 0;
  }
  for (const PolicyRow& row : store.policies(group))
    if (text_of(row) == wanted) return place_of(row);
  return 0;
}

Reply<v1::PolicyEnvelope> check_envelope(const std::string& bytes, const std::string& group,
                                         std::int64_t now_s) {
  v1::PolicyEnvelope envelope;
  if (!envelope.ParseFromString(bytes) ||
      !v1::PolicyEnvelope::GetReflection()->GetUnknownFields(envelope).empty())
    return refuse(Why::invalid,
                  "the envelope can't be read, or has a field that is not known here");
  if (envelope.target() != group)
    return refuse(Why::invalid, fmt::format("the policy is signed for the group {}, not for {}",
                                            envelope.target(), group));
  if (envelope.expires_wall_s() <= now_s)
    return refuse(Why::invalid, "the policy has expired: hosts would refuse it");
  if (envelope.not_before_wall_s() > now_s)
    return refuse(Why::invalid, "the policy is not valid yet: hosts would refuse it");
  if (envelope.keys_size() > 0)
    return refuse(Why::invalid, "keys don't come with a policy: hosts would refuse it");
  if (Result<Policy> policy = policy_from_bytes(bytes_of(envelope.policy())); !policy)
    return refuse(Why::invalid, policy.error().sentence);
  return envelope;
}

Desired desired_of(std::uint32_t number, std::string signed_policy) {
  Desired desired{number, nullptr, {}};
  v1::SignedPolicy read;
  v1::PolicyEnvelope envelope;
  if (read.ParseFromString(signed_policy) && envelope.ParseFromString(read.envelope()))
    desired.digest = sha256_of({bytes_of(envelope.policy())});
  desired.signed_policy = std::make_shared<const std::string>(std::move(signed_policy));
  return desired;
}

// What a host does not say does not differ.
bool is_of(const std::string& said, const std::string& group) {
  return said.empty() || said == group;
}

}  // namespace

bool runs_by(const PolicyOnHost& policy, const Desired& desired, const std::string& group) {
  return policy.number == desired.number && is_of(policy.group, group) &&
         is_of(policy.policy_group, group) &&
         (policy.digest.empty() || policy.digest == text_of(desired.digest));
}

Rollout::Rollout(FleetStore& store, Hosts& hosts) : store_(store), hosts_(hosts) {
  for (PolicyRow& row : store.newest_policies())
    desired_[row.group] = desired_of(row.number, std::move(row.signed_policy));
  for (SignedTrustRow& link : store.trust_links())
    links_.push_back(
        {link.number, std::make_shared<const std::string>(std::move(link.signed_trust))});
}

Reply<void> Rollout::check_signatures(const std::string& bytes, std::int64_t now_s) const {
  v1::SignedPolicy policy;
  if (!policy.ParseFromString(bytes) ||
      policy.signatures_size() > static_cast<int>(kMaxPolicySignatures))
    return refuse(Why::invalid, fmt::format("no signed policy, or more than {} signatures",
                                            kMaxPolicySignatures));
  const PolicyTrustRow trust = store_.policy_trust();
  const std::size_t signers =
      signers_of(trust, kPolicyPurpose.data(), policy.envelope(), policy.signatures(), now_s);
  if (signers < trust.threshold)
    return refuse(Why::denied,
                  fmt::format("signed by {} known keys, {} needed", signers, trust.threshold));
  return {};
}

Reply<std::uint32_t> Rollout::rotate(const std::string& bytes, const std::string& by,
                                     std::int64_t now_s) {
  v1::SignedTrust signed_trust;
  if (!signed_trust.ParseFromString(bytes) ||
      signed_trust.signatures_size() > static_cast<int>(kMaxPolicySignatures))
    return refuse(Why::invalid, "no signed set of keys");
  Result<TrustSetTerms> terms = trust_set_from_bytes(bytes_of(signed_trust.trust()));
  if (!terms) return refuse(Why::invalid, "hosts would refuse the keys: " + terms.error().sentence);
  {
    std::lock_guard lock(mutex_);
    for (const TrustLink& link : links_)
      if (link.number == terms->number && *link.signed_trust == bytes) return link.number;
  }
  const PolicyTrustRow before = store_.policy_trust();
  if (terms->number != before.number + 1)
    return refuse(Why::conflict,
                  fmt::format("the fleet's keys have number {}: {} follows, this is {}",
                              before.number, before.number + 1, terms->number));
  PolicyTrustRow after{terms->number, terms->threshold, {}};
  for (const TrustSetKey& key : terms->keys)
    after.keys.push_back(
        {{key.id.begin(), key.id.end()}, {key.key.begin(), key.key.end()}, key.expires_wall_s});
  for (const PolicyTrustRow* trust :
       std::initializer_list<const PolicyTrustRow*>{&before, &after}) {
    const std::size_t signers = signers_of(*trust, kTrustPurpose.data(), signed_trust.trust(),
                                           signed_trust.signatures(), now_s);
    if (signers < trust->threshold)
      return refuse(Why::denied,
                    fmt::format("signed by {} of the {} keys, {} needed", signers,
                                trust == &before ? "present" : "new", trust->threshold));
  }
  if (!store_.add_trust(after, bytes, by, now_s)) {
    const std::string sentence = store_.sentence();
    if (!sentence.empty()) return refuse(Why::unavailable, sentence);
    return refuse(Why::conflict, "another set of keys was faster");
  }
  {
    std::lock_guard lock(mutex_);
    links_.push_back({terms->number, std::make_shared<const std::string>(bytes)});
  }
  rotated();
  return terms->number;
}

std::vector<TrustLink> Rollout::trust_after(std::uint32_t number) const {
  std::lock_guard lock(mutex_);
  std::vector<TrustLink> links;
  for (const TrustLink& link : links_)
    if (link.number > number) links.push_back(link);
  return links;
}

std::vector<std::string> Rollout::groups() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> groups;
  for (const auto& [group, desired] : desired_) groups.push_back(group);
  return groups;
}

Reply<std::uint32_t> Rollout::publish(const std::string& group, const std::string& bytes,
                                      const std::string& by, std::int64_t now_s,
                                      std::optional<Back> back) {
  if (!is_group_name(group))
    return refuse(Why::invalid, "a group is named by 1 to 63 of a-z 0-9 - _ .");
  if (Reply<void> good = check_signatures(bytes, now_s); !good) return tl::unexpected(good.error());
  v1::SignedPolicy signed_policy;
  (void)signed_policy.ParseFromString(bytes);
  Reply<v1::PolicyEnvelope> envelope = check_envelope(signed_policy.envelope(), group, now_s);
  if (!envelope) return tl::unexpected(envelope.error());
  const std::uint32_t number = envelope->number();
  PolicyRow row{.group = group,
                .number = number,
                .signed_policy = bytes,
                .published_s = now_s,
                .published_by = by};
  if (back) {
    row.source = published_as(store_, group, back->source, envelope->policy());
    if (row.source == 0 || row.source >= number)
      return refuse(Why::conflict, fmt::format("this text was never published to {}", group));
  }
  if (!store_.add_policy(row)) {
    const std::string sentence = store_.sentence();
    if (!sentence.empty()) return refuse(Why::unavailable, sentence);
    std::optional<Desired> now = desired(group);
    return refuse(Why::conflict, fmt::format("the group {} has number {}: a policy needs a higher "
                                             "one, this has {}",
                                             group, now ? now->number : 0, number));
  }
  {
    std::lock_guard lock(mutex_);
    Desired& newest = desired_[group];
    if (number > newest.number) newest = desired_of(number, std::move(row.signed_policy));
  }
  published(group);
  return number;
}

std::optional<Desired> Rollout::desired(const std::string& group) const {
  std::lock_guard lock(mutex_);
  auto found = desired_.find(group);
  if (found == desired_.end()) return std::nullopt;
  return found->second;
}

Reply<PolicyRow> Rollout::earlier(const std::string& group) const {
  std::optional<PolicyRow> now = store_.policy(group, 0);
  std::optional<PolicyRow> row = now;
  for (std::uint32_t seen = 0; row && seen < kMostLookedBack; ++seen) {
    row = store_.policy_before(group, place_of(*row));
    if (!row || text_of(*row) == text_of(*now)) continue;
    if (row->source != 0) row = store_.policy(group, row->source);
    if (row) return *row;
  }
  return refuse(Why::not_found,
                fmt::format("the group {} has no policy to go back to: none before the present "
                            "one has another text. What was rolled back from is taken by its "
                            "number alone",
                            group));
}

void Rollout::settle_group(std::uint32_t number, std::int64_t now_s) {
  std::optional<HostView> host = hosts_.find(number, now_s);
  if (!host || is_of(host->policy.group, host->row.group)) return;
  std::optional<CommandRow> newest = store_.newest_command(number, v1::CommandBody::join_group);
  v1::Command command;
  if (!newest || !command.ParseFromString(newest->command)) return;
  auto terms = command_from_bytes(bytes_of(command.body()));
  if (!terms || !terms->join || terms->join->group != host->policy.group) return;
  (void)hosts_.set_group(host->row.id, terms->join->group);  // a disk that refuses: the next time
}

RolloutStatus Rollout::status(const std::string& group, std::int64_t now_s) const {
  RolloutStatus status;
  std::optional<Desired> wanted = desired(group);
  status.desired = wanted ? wanted->number : 0;
  for (HostView& host : hosts_.list(group, std::nullopt, "", kMaxHosts, now_s)) {
    if (host.row.revoked) continue;
    const bool of_group = is_of(host.policy.group, group) && is_of(host.policy.policy_group, group);
    if (of_group && host.policy.number <= status.desired + kMostForgotten)
      status.highest = std::max(status.highest, host.policy.number);
    // What is refused later does not put it out of force.
    const bool has_one = host.policy.state != 0 && host.policy.state != v1::PolicyState::built_in;
    if (wanted && has_one && runs_by(host.policy, *wanted, group)) {
      ++status.effective;
      continue;
    }
    const bool joined = is_of(host.policy.group, group);
    bool refused = wanted && joined && host.policy.refused_number == wanted->number &&
                   (host.policy.number <= wanted->number ||  // else it has gone on since
                    !is_of(host.policy.policy_group, group));
    ++(refused ? status.refused : status.pending);
    status.online_pending |= wanted && joined && !refused && host.live;
    if (status.differing.size() < kMaxDiffering) status.differing.push_back(std::move(host));
  }
  return status;
}

}  // namespace weir
