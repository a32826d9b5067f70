// A policy that the collector hands back is signed anew only if an own key has signed it before.
#include "collector/ctl/sign.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <string>
#include <vector>

#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

struct Key {
  Key() : public_key(crypto_sign_PUBLICKEYBYTES, '\0'), secret(crypto_sign_SECRETKEYBYTES, '\0') {
    EXPECT_GE(::sodium_init(), 0);
    ::crypto_sign_keypair(reinterpret_cast<std::uint8_t*>(public_key.data()),
                          reinterpret_cast<std::uint8_t*>(secret.data()));
  }
  std::string public_key, secret;
};

v1::SignedPolicy signed_for(const std::string& group, const Key& key) {
  Policy policy;
  policy.name = "desks";
  v1::SignedPolicy out;
  EXPECT_TRUE(sign_policy(policy, {7, 1, 2'000'000'000, group}, key.secret, out));
  return out;
}

TEST(PolicyIn, is_read_if_a_key_of_ours_has_signed_it_for_the_group) {
  const Key former, present;
  const std::vector<std::string> keys = {present.public_key, former.public_key};
  for (const Key* key : {&former, &present}) {
    Result<Policy> policy = policy_in(signed_for("desks", *key), "desks", keys);
    ASSERT_TRUE(policy) << policy.error().sentence;
    EXPECT_EQ(policy->name, "desks");
  }
}

TEST(PolicyIn, is_refused_if_a_stranger_signed_it_or_it_was_for_others) {
  const Key ours, stranger;
  const std::vector<std::string> keys = {ours.public_key};
  Result<Policy> made_up = policy_in(signed_for("desks", stranger), "desks", keys);
  ASSERT_FALSE(made_up);
  EXPECT_NE(made_up.error().sentence.find("no key that admin.json has"), std::string::npos);
  Result<Policy> of_others = policy_in(signed_for("phones", ours), "desks", keys);
  ASSERT_FALSE(of_others);
  EXPECT_NE(of_others.error().sentence.find("for group phones"), std::string::npos);
  v1::SignedPolicy changed = signed_for("desks", ours);
  changed.mutable_envelope()->back() ^= 1;
  EXPECT_FALSE(policy_in(changed, "desks", keys));
  EXPECT_FALSE(
      policy_in(signed_for("desks", ours), "desks", std::vector<std::string>{"", "short"}));
}

}  // namespace
}  // namespace weir
