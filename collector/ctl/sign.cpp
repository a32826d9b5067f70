// Policies, commands and sets of keys, signed: see sign.h.
#include "collector/ctl/sign.h"

#include <sodium.h>

#include <vector>

#include "core/policy/signature.h"
#include "proto/map/command_proto.h"
#include "proto/map/policy_proto.h"
#include "weir/v1/agent.pb.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

constexpr std::size_t kPublicKey = crypto_sign_PUBLICKEYBYTES;

bool is_signed(const std::vector<std::uint8_t>& covered, const v1::SignedPolicy& published,
               std::span<const std::string> public_keys) {
  if (::sodium_init() < 0) return false;
  for (const std::string& key : public_keys)
    for (const v1::PolicySignature& one : published.signatures())
      if (key.size() == kPublicKey && one.signature().size() == crypto_sign_BYTES &&
          ::crypto_sign_verify_detached(
              reinterpret_cast<const std::uint8_t*>(one.signature().data()), covered.data(),
              covered.size(), reinterpret_cast<const std::uint8_t*>(key.data())) == 0)
        return true;
  return false;
}

}  // namespace

Result<void> sign_bytes(std::string_view purpose, const std::string& bytes,
                        const std::string& secret_key, v1::PolicySignature& out) {
  if (::sodium_init() < 0 || secret_key.size() != crypto_sign_SECRETKEYBYTES)
    return fail("the signing key is no Ed25519 key");
  const std::vector<std::uint8_t> covered = signed_bytes_of(purpose, bytes_of(bytes));
  std::string signature(crypto_sign_BYTES, '\0');
  const auto* key = reinterpret_cast<const std::uint8_t*>(secret_key.data());
  ::crypto_sign_detached(reinterpret_cast<std::uint8_t*>(signature.data()), nullptr, covered.data(),
                         covered.size(), key);
  // libsodium's secret key ends with the public one.
  const PolicyKeyId id = policy_key_id(bytes_of(secret_key).last(kPublicKey));
  out.set_key_id(id.data(), id.size());
  out.set_signature(signature);
  return {};
}

Result<void> sign_policy(Policy policy, const EnvelopeTerms& terms, const std::string& secret_key,
                         v1::SignedPolicy& out) {
  policy.number = terms.number;
  v1::PolicyEnvelope envelope;
  envelope.set_policy(policy_bytes(policy));
  envelope.set_number(terms.number);
  envelope.set_not_before_wall_s(terms.not_before_wall_s);
  envelope.set_expires_wall_s(terms.expires_wall_s);
  envelope.set_target(terms.group);
  out.set_envelope(envelope.SerializeAsString());
  return sign_bytes(kPolicyPurpose, out.envelope(), secret_key, *out.add_signatures());
}

std::string new_id() {
  CommandIdBytes id{};
  ::randombytes_buf(id.data(), id.size());
  return text_of_command_id(id);
}

Result<void> sign_command(v1::CommandBody body, const std::string& secret_key, v1::Command& out) {
  if (::sodium_init() < 0) return fail("libsodium can't be started");
  body.set_id(new_id());
  out.set_id(body.id());
  out.set_body(body.SerializeAsString());
  return sign_bytes(kCommandPurpose, out.body(), secret_key, *out.add_signatures());
}

Result<Policy> policy_in(const v1::SignedPolicy& published, const std::string& group,
                         std::span<const std::string> public_keys) {
  v1::PolicyEnvelope envelope;
  const std::vector<std::uint8_t> covered =
      signed_bytes_of(kPolicyPurpose, bytes_of(published.envelope()));
  if (!is_signed(covered, published, public_keys))
    return fail(
        "it is signed by no key that admin.json has or had, so that the collector could have made "
        "it up: publish the file itself");
  if (!envelope.ParseFromString(published.envelope())) return fail("the envelope is damaged");
  if (envelope.target() != group)
    return fail("it was signed for group " + envelope.target() + ": publish the file itself");
  return policy_from_bytes(bytes_of(envelope.policy()));
}

}  // namespace weir
