// Signed policies on their way: checked here as a host checks them, pushed to open streams.
#include "core/policy/default_policy.h"
#include "proto/map/policy_proto.h"
#include "tests/collector/fleet/door_fixture.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

using Why = Refusal::Kind;

class PolicyPush : public DoorTest {
 protected:
  void SetUp() override {
    DoorTest::SetUp();
    ASSERT_TRUE(fleet->add_policy_key(
        {.key_id = key_id(), .public_key = keys.public_key, .expires_s = now_s() + 3'600}));
  }
  std::string key_id() const {
    Digest digest = sha256_of({bytes_of(keys.public_key)});
    return {digest.begin(), digest.begin() + 8};
  }
  v1::PolicyEnvelope envelope(std::uint32_t number) const {
    v1::PolicyEnvelope envelope;
    Policy policy = *default_policy();
    policy.name = fmt::format("number {}", number);
    envelope.set_policy(policy_bytes(policy));
    envelope.set_number(number);
    envelope.set_not_before_wall_s(now_s() - 60);
    envelope.set_expires_wall_s(now_s() + 3'600);
    envelope.set_target("desks");
    return envelope;
  }
  std::string sign(const v1::PolicyEnvelope& envelope) const {
    v1::SignedPolicy policy;
    policy.set_envelope(envelope.SerializeAsString());
    v1::PolicySignature& signature = *policy.add_signatures();
    signature.set_key_id(key_id());
    signature.set_signature(
        sign_ed25519(keys.secret_key, "weir policy v1", bytes_of(policy.envelope())));
    return policy.SerializeAsString();
  }
  Reply<std::uint32_t> publish(const std::string& policy, const std::string& group = "desks") {
    return rollout->publish(group, policy, "admin", now_s());
  }
  // The same text under another number: "number N" is the name that envelope(N) gives it.
  std::string again(std::uint32_t text, std::uint32_t number) const {
    v1::PolicyEnvelope wanted = envelope(text);
    wanted.set_number(number);
    return sign(wanted);
  }
  Reply<std::uint32_t> roll_back(const std::string& policy, std::uint32_t source = 0) {
    return rollout->publish("desks", policy, "admin", now_s(), Rollout::Back{source});
  }
  // Goes back as weirctl does, under `number`; the text that is desired then.
  std::uint32_t rolled_back(std::uint32_t number) {
    Reply<PolicyRow> found = rollout->earlier("desks");
    if (!found) return 0;
    v1::SignedPolicy before;
    v1::PolicyEnvelope text;
    EXPECT_TRUE(before.ParseFromString(found->signed_policy) &&
                text.ParseFromString(before.envelope()));
    text.set_number(number);
    EXPECT_EQ(roll_back(sign(text), found->number), number);
    const Result<Policy> policy = policy_from_bytes(bytes_of(text.policy()));
    return policy ? static_cast<std::uint32_t>(std::stoul(policy->name.substr(7))) : 0;
  }
  std::uint32_t policy_read(Client& client) {
    v1::ConnectResponse response;
    v1::PolicyEnvelope envelope;
    if (!client.read(response) || !envelope.ParseFromString(response.policy().envelope())) return 0;
    return envelope.number();
  }
  void tell(Client& client, std::uint32_t number, v1::PolicyState::State state,
            std::uint32_t refused = 0) {
    v1::ConnectRequest request;
    request.mutable_policy_state()->set_number(number);
    request.mutable_policy_state()->set_state(state);
    request.mutable_policy_state()->set_refused_number(refused);
    ASSERT_TRUE(client.send(request));
  }

  Ed25519Pair keys = new_ed25519();
};

TEST_F(PolicyPush, an_open_stream_gets_what_is_published_and_its_answer_counts) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  ASSERT_EQ(publish(sign(envelope(7))), 7u);
  EXPECT_EQ(policy_read(client), 7u);
  EXPECT_EQ(rollout->status("desks", now_s()).pending, 1u);
  EXPECT_TRUE(rollout->status("desks", now_s()).online_pending);
  tell(client, 7, v1::PolicyState::effective);
  EXPECT_TRUE(soon([&] { return rollout->status("desks", now_s()).effective == 1; }));
  EXPECT_TRUE(rollout->status("desks", now_s()).differing.empty());
}

TEST_F(PolicyPush, a_host_that_connects_gets_it_unless_it_has_it) {
  Agent agent = enrol(), has_it = enrol();
  ASSERT_TRUE(publish(sign(envelope(7))));
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  EXPECT_EQ(policy_read(client), 7u);
  Client other = knock(identity_of(has_it));
  ASSERT_TRUE(other.greet("boot-1", 7));
  ASSERT_TRUE(other.reports(1, 1));
  v1::ConnectResponse response;
  ASSERT_TRUE(other.read(response));
  EXPECT_TRUE(response.has_acknowledgement()) << "no policy before it";
}

TEST_F(PolicyPush, a_refusal_is_counted_with_its_host) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  ASSERT_TRUE(publish(sign(envelope(7))));
  ASSERT_EQ(policy_read(client), 7u);
  tell(client, 3, v1::PolicyState::effective, 7);
  ASSERT_TRUE(soon([&] { return rollout->status("desks", now_s()).refused == 1; }));
  RolloutStatus status = rollout->status("desks", now_s());
  EXPECT_FALSE(status.online_pending);
  ASSERT_EQ(status.differing.size(), 1u);
  EXPECT_EQ(status.differing[0].row.id, agent.issued.host_id);
}

TEST_F(PolicyPush, what_hosts_would_refuse_is_not_published) {
  ASSERT_TRUE(publish(sign(envelope(5))));
  auto refused = [&](const std::string& policy, Why kind) {
    auto answer = publish(policy);
    EXPECT_FALSE(answer);
    if (!answer) EXPECT_EQ(answer.error().kind, kind) << answer.error().sentence;
  };
  refused("nonsense", Why::invalid);
  refused(sign(envelope(5)), Why::conflict);
  refused(sign(envelope(4)), Why::conflict);
  v1::PolicyEnvelope changed = envelope(6);
  changed.set_target("labs");
  refused(sign(changed), Why::invalid);
  changed = envelope(6);
  changed.set_expires_wall_s(now_s() - 1);
  refused(sign(changed), Why::invalid);
  changed = envelope(6);
  changed.set_not_before_wall_s(now_s() + 600);
  refused(sign(changed), Why::invalid);
  changed = envelope(6);
  changed.mutable_policy()->resize(changed.policy().size() / 2);
  refused(sign(changed), Why::invalid);
  v1::SignedPolicy forged;
  ASSERT_TRUE(forged.ParseFromString(sign(envelope(6))));
  forged.set_envelope(envelope(9).SerializeAsString());
  refused(forged.SerializeAsString(), Why::denied);
  forged.clear_signatures();
  refused(forged.SerializeAsString(), Why::denied);
  keys = new_ed25519();  // of somebody who is not known
  refused(sign(envelope(6)), Why::denied);
  EXPECT_EQ(rollout->desired("desks")->number, 5u) << "the last good one stays";
}

TEST_F(PolicyPush, a_rollback_signs_an_earlier_text_anew) {
  v1::PolicyEnvelope first = envelope(5);
  ASSERT_TRUE(publish(sign(first)));
  ASSERT_TRUE(publish(sign(envelope(6))));
  EXPECT_FALSE(roll_back(sign(first))) << "under its old number hosts refuse it";
  EXPECT_FALSE(roll_back(sign(envelope(8)))) << "a text that never was";
  EXPECT_FALSE(roll_back(again(5, 7), 6)) << "6 has another text";
  EXPECT_FALSE(roll_back(again(5, 7), 4)) << "there is no 4";
  EXPECT_EQ(roll_back(again(5, 7), 5), 7u);
}

TEST_F(PolicyPush, a_rollback_goes_to_the_newest_other_text_whatever_its_number) {
  EXPECT_FALSE(rollout->earlier("desks")) << "nothing was published";
  ASSERT_TRUE(publish(sign(envelope(1))));
  EXPECT_FALSE(rollout->earlier("desks")) << "nothing is before it";
  ASSERT_TRUE(publish(sign(envelope(2))));
  ASSERT_TRUE(publish(again(2, 40))) << "as after a rotated key, above what hosts held";
  EXPECT_EQ(rolled_back(41), 1u);
}

TEST_F(PolicyPush, a_second_rollback_goes_further_back_and_none_comes_back_to_what_was_undone) {
  for (std::uint32_t number : {1, 2, 3}) ASSERT_TRUE(publish(sign(envelope(number))));
  EXPECT_EQ(rolled_back(4), 2u);
  EXPECT_EQ(rolled_back(5), 1u);
  EXPECT_FALSE(rollout->earlier("desks")) << "2 and 3 are undone";
  ASSERT_TRUE(publish(sign(envelope(6))));
  EXPECT_EQ(rolled_back(7), 1u) << "what was desired before it";
  EXPECT_FALSE(rollout->earlier("desks"));
  EXPECT_EQ(roll_back(again(3, 8), 3), 8u) << "by its number anything is taken";
  EXPECT_EQ(rolled_back(9), 2u) << "what came before it";
  Rollout restarted(*fleet, *hosts);
  EXPECT_EQ(restarted.earlier("desks")->number, 1u) << "also after a restart";
}

TEST_F(PolicyPush, an_old_text_published_on_purpose_is_no_rollback) {
  for (std::uint32_t number : {1, 2}) ASSERT_TRUE(publish(sign(envelope(number))));
  ASSERT_TRUE(publish(again(1, 3)));
  EXPECT_EQ(rolled_back(4), 2u);
  EXPECT_EQ(rolled_back(5), 1u);
  ASSERT_TRUE(publish(again(1, 6))) << "a rotated key";
  EXPECT_FALSE(rollout->earlier("desks"));
}

TEST_F(PolicyPush, a_refusal_of_what_a_host_has_gone_past_is_none) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  ASSERT_TRUE(publish(sign(envelope(7))));
  ASSERT_EQ(policy_read(client), 7u);
  tell(client, 3, v1::PolicyState::effective, 7);
  ASSERT_TRUE(soon([&] { return rollout->status("desks", now_s()).refused == 1; }));
  tell(client, 9, v1::PolicyState::effective, 7);
  EXPECT_TRUE(soon([&] { return rollout->status("desks", now_s()).highest == 9; }));
  EXPECT_EQ(rollout->status("desks", now_s()).refused, 0u);
  EXPECT_EQ(rollout->status("desks", now_s()).pending, 1u);
}

TEST_F(PolicyPush, what_is_desired_outlives_a_restart) {
  ASSERT_TRUE(publish(sign(envelope(5))));
  Rollout again(*fleet, *hosts);
  EXPECT_EQ(again.desired("desks")->number, 5u);
  EXPECT_FALSE(again.desired("labs").has_value());
}

}  // namespace
}  // namespace weir
