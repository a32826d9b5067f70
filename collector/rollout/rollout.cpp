// Checks a signed policy as a host would, so that what hosts must refuse is refused here first.
#include "collector/rollout/rollout.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "collector/fleet/crypto.h"
#include "collector/fleet/enrolment.h"
#include "proto/map/policy_proto.h"
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

bool was_published(FleetStore& store, const std::string& group, const std::string& policy) {
  const std::string wanted = text_without_number(policy);
  for (const PolicyRow& row : store.policies(group)) {
    v1::SignedPolicy signed_policy;
    v1::PolicyEnvelope envelope;
    if (signed_policy.ParseFromString(row.signed_policy) &&
        envelope.ParseFromString(signed_policy.envelope()) &&
        text_without_number(envelope.policy()) == wanted)
      return true;
  }
  return false;
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
    return refuse(Why::not_built, "this version can't change the keys of policies");
  if (Result<Policy> policy = policy_from_bytes(bytes_of(envelope.policy())); !policy)
    return refuse(Why::invalid, policy.error().sentence);
  return envelope;
}

}  // namespace

Rollout::Rollout(FleetStore& store, Hosts& hosts) : store_(store), hosts_(hosts) {
  for (PolicyRow& row : store.newest_policies())
    desired_[row.group] = {row.number,
                           std::make_shared<const std::string>(std::move(row.signed_policy))};
}

Reply<void> Rollout::check_signatures(const std::string& bytes, std::int64_t now_s) const {
  v1::SignedPolicy policy;
  if (!policy.ParseFromString(bytes) || policy.signatures_size() > kMaxPolicySignatures)
    return refuse(Why::invalid, fmt::format("no signed policy, or more than {} signatures",
                                            kMaxPolicySignatures));
  std::set<std::string> signers;
  for (const PolicyKeyRow& key : store_.policy_keys())
    for (const v1::PolicySignature& signature : policy.signatures())
      if (signature.key_id() == key.key_id && key.expires_s > now_s &&
          verify_ed25519(key.public_key, kPolicyContext, bytes_of(policy.envelope()),
                         signature.signature()))
        signers.insert(key.key_id);
  if (signers.size() < kPolicyThreshold)
    return refuse(Why::denied, fmt::format("signed by {} known keys, {} needed", signers.size(),
                                           kPolicyThreshold));
  return {};
}

Reply<std::uint32_t> Rollout::publish(Kind kind, const std::string& group, const std::string& bytes,
                                      const std::string& by, std::int64_t now_s) {
  if (!is_group_name(group))
    return refuse(Why::invalid, "a group is named by 1 to 63 of a-z 0-9 - _ .");
  if (Reply<void> good = check_signatures(bytes, now_s); !good) return tl::unexpected(good.error());
  v1::SignedPolicy signed_policy;
  (void)signed_policy.ParseFromString(bytes);
  Reply<v1::PolicyEnvelope> envelope = check_envelope(signed_policy.envelope(), group, now_s);
  if (!envelope) return tl::unexpected(envelope.error());
  const std::uint32_t number = envelope->number();
  if (kind == Kind::rollback && !was_published(store_, group, envelope->policy()))
    return refuse(Why::conflict, fmt::format("this text was never published to {}", group));
  PolicyRow row{.group = group,
                .number = number,
                .signed_policy = bytes,
                .published_s = now_s,
                .published_by = by};
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
    if (number > newest.number)
      newest = {number, std::make_shared<const std::string>(std::move(row.signed_policy))};
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

RolloutStatus Rollout::status(const std::string& group, std::int64_t now_s) const {
  RolloutStatus status;
  std::optional<Desired> wanted = desired(group);
  status.desired = wanted ? wanted->number : 0;
  for (HostView& host : hosts_.list(group, std::nullopt, "", kMaxHosts, now_s)) {
    if (host.row.revoked) continue;
    bool answered = host.policy.state == 1 || host.policy.state == 3;  // effective, expired
    if (wanted && answered && host.policy.number == wanted->number) {
      ++status.effective;
      continue;
    }
    bool refused = wanted && host.policy.refused_number == wanted->number;
    ++(refused ? status.refused : status.pending);
    status.online_pending |= wanted && !refused && host.live;
    if (status.differing.size() < kMaxDiffering) status.differing.push_back(std::move(host));
  }
  return status;
}

}  // namespace weir
