// `weirctl policy rotate-key`: another key signs policies and commands from now on. The new key is
// on the disk, beside admin.json, before the collector hears of it; admin.json is replaced when the
// collector has it and every group's policy is signed by it. Broken off anywhere, it goes on when
// it is called again.
#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "collector/ctl/rotate.h"
#include "collector/ctl/session.h"
#include "collector/ctl/sign.h"
#include "core/base/hex.h"
#include "core/policy/signature.h"
#include "platform/files/small_file.h"
#include "proto/map/command_proto.h"
#include "weir/v1/admin.pb.h"

namespace weir {
namespace {

constexpr std::int64_t kKeyLife_s = 10ll * 365 * 86'400;  // as the first one's
constexpr std::size_t kMaxAdminFile = 64 << 10;
constexpr char kNext[] = ".next";

int failed(const std::string& sentence) {
  fmt::print(stderr, "weirctl: {}\n", sentence);
  return kExitFailed;
}

// The one that an earlier call has left, or a new one; on the disk when this returns.
Result<AdminFile> next_admin(const std::string& config, AdminFile admin) {
  const std::string path = config + kNext;
  Result<std::optional<std::string>> text = read_small_file(kWorkingFolder, path, kMaxAdminFile);
  if (!text) return tl::unexpected(text.error());
  if (*text) {
    Result<AdminFile> left = read_admin_file_text(**text);
    if (!left) return fail(fmt::format("{}: {}", path, left.error().sentence));
    return left;
  }
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> key{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  if (::sodium_init() < 0 || ::crypto_sign_keypair(key.data(), secret.data()) != 0)
    return fail("no key can be made");
  if (!admin.former_public_keys.empty()) admin.former_public_keys += ' ';
  admin.former_public_keys += admin.policy_public_key;
  admin.policy_key_id = hex_of(policy_key_id(key));
  admin.policy_public_key = hex_of(key);
  admin.policy_secret_key = hex_of(secret);
  if (Result<void> made = create_file(kWorkingFolder, path, admin_file_text(admin)); !made)
    return tl::unexpected(made.error());
  return admin;
}

bool has_key(const v1::TrustSet& trust, const std::string& public_key) {
  return std::ranges::any_of(trust.keys(),
                             [&](const auto& key) { return key.public_key() == public_key; });
}

// The same set with the one key in the place of the other, signed by both.
Result<v1::SignedTrust> signed_trust(const v1::TrustSet& now, const AdminFile& old_admin,
                                     const AdminFile& new_admin) {
  if (!has_key(now, unhex(old_admin.policy_public_key)))
    return fail("the key of admin.json is none of those that the collector knows");
  if (now.threshold() > 1)
    return fail("more than one key has to sign here, which this version of weirctl can't");
  v1::TrustSet next = now;
  next.set_number(now.number() + 1);
  for (v1::PolicyKey& key : *next.mutable_keys()) {
    if (key.public_key() != unhex(old_admin.policy_public_key)) continue;
    key.set_key_id(unhex(new_admin.policy_key_id));
    key.set_public_key(unhex(new_admin.policy_public_key));
    key.set_expires_wall_s(std::time(nullptr) + kKeyLife_s);
  }
  v1::SignedTrust out;
  out.set_trust(next.SerializeAsString());
  for (const AdminFile* admin : {&old_admin, &new_admin})
    if (auto made = sign_bytes(kTrustPurpose, out.trust(), unhex(admin->policy_secret_key),
                               *out.add_signatures());
        !made)
      return tl::unexpected(made.error());
  return out;
}

// What the group has, signed by the new key under the next number: hosts that come after the
// rotation know no other.
bool sign_again(CtlSession& session, const AdminFile& admin, const std::string& group,
                int& status) {
  v1::GetPolicyRequest wanted;
  v1::GetPolicyResponse found;
  wanted.set_group(group);
  if (!session.call("weir.v1.PolicyAdminService/GetPolicy", wanted, found, status)) return false;
  const std::string key_id = unhex(admin.policy_key_id);
  if (std::ranges::any_of(found.policy().signatures(),
                          [&](const auto& one) { return one.key_id() == key_id; }))
    return true;
  v1::PolicyEnvelope envelope;
  std::vector<std::string> keys = own_keys(admin);
  keys.push_back(unhex(session.admin().policy_public_key));
  Result<Policy> policy = policy_in(found.policy(), group, keys);
  if (!policy || !envelope.ParseFromString(found.policy().envelope())) {
    status = failed(fmt::format("policy {} of group {}: {}", found.number(), group,
                                policy ? "the envelope is damaged" : policy.error().sentence));
    return true;
  }
  const auto now_s = static_cast<std::int64_t>(std::time(nullptr));
  if (envelope.expires_wall_s() <= now_s) {
    fmt::print(stderr, "policy {} of group {} has expired: hosts keep it, publish it anew\n",
               found.number(), group);
    return true;
  }
  v1::PublishPolicyRequest request;
  v1::PublishPolicyResponse answer;
  request.set_group(group);
  EnvelopeTerms terms{found.number() + 1, now_s - kBackdated_s, envelope.expires_wall_s(), group};
  if (auto made =
          sign_policy(*policy, terms, unhex(admin.policy_secret_key), *request.mutable_policy());
      !made) {
    status = failed(made.error().sentence);
    return false;
  }
  if (!session.call("weir.v1.PolicyAdminService/PublishPolicy", request, answer, status))
    return false;
  fmt::print(stderr, "policy {} is published for group {}, with the text of {}\n", answer.number(),
             group, found.number());
  return true;
}

}  // namespace

int rotate_key(CtlSession& session, const CtlOptions& options) {
  Result<AdminFile> next = next_admin(options.config, session.admin());
  if (!next) return failed(next.error().sentence);
  v1::GetPolicyKeysResponse keys;
  int status = kExitDone;
  if (!session.call("weir.v1.PolicyAdminService/GetPolicyKeys", v1::GetPolicyKeysRequest(), keys,
                    status))
    return status;
  std::uint32_t number = keys.trust().number();
  if (!has_key(keys.trust(), unhex(next->policy_public_key))) {
    Result<v1::SignedTrust> trust = signed_trust(keys.trust(), session.admin(), *next);
    if (!trust) return failed(trust.error().sentence);
    v1::RotatePolicyKeysRequest request;
    v1::RotatePolicyKeysResponse answer;
    *request.mutable_trust() = std::move(*trust);
    if (!session.call("weir.v1.PolicyAdminService/RotatePolicyKeys", request, answer, status))
      return status;
    number = answer.number();
  }
  for (const std::string& group : keys.groups())
    if (!sign_again(session, *next, group, status)) {
      fmt::print(stderr, "weirctl: call it again: {}{} holds the key that counts now\n",
                 options.config, kNext);
      return status;
    }
  if (Result<void> put = replace_file(kWorkingFolder, options.config, admin_file_text(*next)); !put)
    return failed(put.error().sentence);
  (void)std::remove(
      (options.config + kNext).c_str());  // the same; the next call would find it used
  fmt::print(stderr, "key {} signs from now on (keys number {}); {} has it, the old key is void\n",
             next->policy_key_id, number, options.config);
  return status;
}

}  // namespace weir
