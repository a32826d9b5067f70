// Commands on their way to hosts, and sets of policy keys: checked here as a host checks them, kept
// until there is an answer, sent in order.
#include <map>

#include "core/policy/signature.h"
#include "proto/map/command_proto.h"
#include "tests/collector/fleet/door_fixture.h"
#include "weir/v1/policy.pb.h"

namespace weir {
namespace {

using Why = Refusal::Kind;
using Body = v1::CommandBody;

std::string key_id_of(const Ed25519Pair& pair) {
  Digest digest = sha256_of({bytes_of(pair.public_key)});
  return {digest.begin(), digest.begin() + 8};
}

class CommandsOfHosts : public DoorTest {
 protected:
  void SetUp() override {
    DoorTest::SetUp();
    ASSERT_TRUE(fleet->add_policy_key(
        {.key_id = key_id_of(keys), .public_key = keys.public_key, .expires_s = now_s() + 3'600}));
  }
  template <class Signed>
  void sign(Signed& message, const char* purpose, const std::string& bytes,
            const Ed25519Pair& by) const {
    v1::PolicySignature& signature = *message.add_signatures();
    signature.set_key_id(key_id_of(by));
    signature.set_signature(sign_ed25519(by.secret_key, purpose, bytes_of(bytes)));
  }
  Body body(const Agent& agent, int id, std::int64_t lifetime_s = 600) const {
    Body body;
    body.set_verb(Body::send_health);
    body.set_host_id(agent.issued.host_id);
    body.set_expires_wall_s(now_s() + lifetime_s);
    body.set_id(fmt::format("{:032x}", id));
    return body;
  }
  v1::Command signed_by(const Ed25519Pair& by, const Body& body) const {
    v1::Command command;
    command.set_id(body.id());
    command.set_body(body.SerializeAsString());
    sign(command, "weir command v1", command.body(), by);
    return command;
  }
  Reply<CommandRow> send(const Agent& agent, const v1::Command& command) {
    return commands->send({host(agent)->row.number, agent.issued.host_id}, command, "admin",
                          now_s());
  }
  std::string command_read(Client& client) {
    v1::ConnectResponse response;
    return client.read(response) ? response.command().id() : "";
  }
  bool answer(Client& client, const std::string& id) {
    v1::ConnectRequest request;
    request.mutable_command_result()->set_id(id);
    request.mutable_command_result()->set_outcome(v1::CommandResult::done);
    return client.send(request);
  }
  bool is_answered(const std::string& id) {
    auto row = commands->find(id, now_s());
    return row && !row->result.empty();
  }
  // As a collector that was killed comes back.
  void open_again() {
    door.reset();
    commands = std::make_unique<HostCommands>(*fleet, now_s());
    rollout = std::make_unique<Rollout>(*fleet, *hosts);
    open_door();
  }

  // The next set: these keys, signed by those.
  std::string keys_of(std::uint32_t number, const std::vector<Ed25519Pair>& set,
                      const std::vector<Ed25519Pair>& signers, std::uint32_t threshold = 1) {
    v1::TrustSet trust;
    trust.set_number(number);
    trust.set_threshold(threshold);
    for (const Ed25519Pair& one : set) {
      v1::PolicyKey& key = *trust.add_keys();
      key.set_key_id(key_id_of(one));
      key.set_public_key(one.public_key);
      key.set_expires_wall_s(now_s() + 3'600);
    }
    v1::SignedTrust out;
    out.set_trust(trust.SerializeAsString());
    for (const Ed25519Pair& one : signers) sign(out, "weir trust v1", out.trust(), one);
    return out.SerializeAsString();
  }
  Reply<std::uint32_t> rotate(const std::string& set) {
    return rollout->rotate(set, "admin", now_s());
  }
  bool greet_with_keys(Client& client, std::uint32_t number) {
    v1::ConnectRequest request;
    request.mutable_hello()->set_boot_id("boot-1");
    request.mutable_hello()->mutable_policy()->set_trust_number(number);
    v1::ConnectResponse response;
    return client.send(request) && client.read(response) && response.has_welcome();
  }
  std::uint32_t keys_read(Client& client) {
    v1::ConnectResponse response;
    v1::TrustSet trust;
    return client.read(response) && trust.ParseFromString(response.trust().trust()) ? trust.number()
                                                                                    : 0;
  }

  Ed25519Pair keys = new_ed25519(), second = new_ed25519(), third = new_ed25519();
};

TEST_F(CommandsOfHosts, one_reaches_the_open_stream_and_its_answer_is_kept) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  const v1::Command command = signed_by(keys, body(agent, 1));
  ASSERT_TRUE(send(agent, command));
  EXPECT_EQ(command_read(client), command.id());
  EXPECT_FALSE(is_answered(command.id()));
  ASSERT_TRUE(answer(client, command.id()));
  EXPECT_TRUE(soon([&] { return is_answered(command.id()); }));
  auto again = send(agent, command);
  ASSERT_TRUE(again) << "the same again asks what became of it";
  EXPECT_FALSE(again->result.empty());
}

TEST_F(CommandsOfHosts, a_host_that_is_away_gets_it_at_its_return_also_from_a_new_collector) {
  Agent agent = enrol();
  const v1::Command command = signed_by(keys, body(agent, 1));
  ASSERT_TRUE(send(agent, command));
  open_again();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  EXPECT_EQ(command_read(client), command.id());
  ASSERT_TRUE(answer(client, command.id()));
  EXPECT_TRUE(soon([&] { return is_answered(command.id()); }));
  open_again();
  EXPECT_TRUE(commands->open_of(host(agent)->row.number, now_s()).empty());
  EXPECT_TRUE(is_answered(command.id()));
}

TEST_F(CommandsOfHosts, another_hosts_answer_counts_for_nothing) {
  Agent agent = enrol(), other = enrol();
  const v1::Command command = signed_by(keys, body(agent, 1));
  ASSERT_TRUE(send(agent, command));
  Client client = knock(identity_of(other));
  ASSERT_TRUE(client.greet());
  ASSERT_TRUE(answer(client, command.id()));
  ASSERT_TRUE(client.reports(1, 1));
  ASSERT_TRUE(client.acknowledged(1)) << "what came before it was handled";
  EXPECT_FALSE(is_answered(command.id()));
}

TEST_F(CommandsOfHosts, what_the_host_would_refuse_is_refused_here) {
  Agent agent = enrol(), other = enrol();
  EXPECT_EQ(send(agent, signed_by(second, body(agent, 1))).error().kind, Why::denied);
  EXPECT_EQ(send(agent, signed_by(keys, body(other, 1))).error().kind, Why::invalid);
  EXPECT_EQ(send(agent, signed_by(keys, body(agent, 1, -1))).error().kind, Why::invalid);
  EXPECT_EQ(send(agent, signed_by(keys, body(agent, 1, 8 * 86'400))).error().kind, Why::invalid);
  Body unknown = body(agent, 1);
  unknown.set_verb(static_cast<Body::Verb>(77));
  EXPECT_EQ(send(agent, signed_by(keys, unknown)).error().kind, Why::invalid);
  v1::Command renamed = signed_by(keys, body(agent, 1));
  renamed.set_id(fmt::format("{:032x}", 2));
  EXPECT_EQ(send(agent, renamed).error().kind, Why::invalid);
  v1::Command changed = signed_by(keys, body(agent, 1));
  changed.set_body(body(agent, 1, 601).SerializeAsString());
  EXPECT_EQ(send(agent, changed).error().kind, Why::denied);
  ASSERT_TRUE(send(agent, signed_by(keys, body(agent, 1))));
  EXPECT_EQ(send(agent, signed_by(keys, body(agent, 1, 601))).error().kind, Why::conflict);
}

TEST_F(CommandsOfHosts, few_wait_for_one_host_and_those_that_expired_make_room) {
  Agent agent = enrol();
  int id = 0;
  for (std::size_t n = 0; n < HostCommands::kMaxOpen; ++n)
    ASSERT_TRUE(send(agent, signed_by(keys, body(agent, ++id))));
  EXPECT_EQ(send(agent, signed_by(keys, body(agent, ++id))).error().kind, Why::full);
  const std::uint32_t number = host(agent)->row.number;
  EXPECT_EQ(commands->open_of(number, now_s()).size(), HostCommands::kMaxOpen);
  EXPECT_TRUE(commands->open_of(number, now_s() + 601).empty());
  auto expired = commands->find(fmt::format("{:032x}", 1), now_s() + 601);
  v1::CommandResult result;
  ASSERT_TRUE(expired && result.ParseFromString(expired->result));
  EXPECT_EQ(result.outcome(), v1::CommandResult::expired);
  EXPECT_TRUE(send(agent, signed_by(keys, body(agent, ++id))));
}

TEST_F(CommandsOfHosts, keys_follow_keys_and_a_host_that_missed_two_gets_both_in_order) {
  EXPECT_EQ(rotate(keys_of(2, {second}, {keys})).error().kind, Why::denied) << "the new one too";
  EXPECT_EQ(rotate(keys_of(2, {second}, {second})).error().kind, Why::denied) << "the old one too";
  EXPECT_EQ(rotate(keys_of(3, {second}, {keys, second})).error().kind, Why::conflict);
  EXPECT_EQ(rotate(keys_of(2, {second, third}, {keys, second}, 2)).error().kind, Why::denied);
  const std::string first_set = keys_of(2, {second}, {keys, second});
  ASSERT_TRUE(rotate(first_set));
  EXPECT_EQ(rotate(first_set).value_or(0), 2u) << "the same again is found";
  EXPECT_EQ(rotate(keys_of(3, {keys}, {keys})).error().kind, Why::denied) << "it is void";

  Agent agent = enrol();
  EXPECT_EQ(send(agent, signed_by(keys, body(agent, 1))).error().kind, Why::denied);
  EXPECT_TRUE(send(agent, signed_by(second, body(agent, 1))));
  ASSERT_TRUE(rotate(keys_of(3, {third}, {second, third})));
  open_again();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(greet_with_keys(client, 1));
  EXPECT_EQ(keys_read(client), 2u);
  EXPECT_EQ(keys_read(client), 3u);
  EXPECT_EQ(command_read(client), fmt::format("{:032x}", 1));
  ASSERT_TRUE(rotate(keys_of(4, {keys}, {third, keys})));
  EXPECT_EQ(keys_read(client), 4u) << "while the stream is open";
}

TEST_F(CommandsOfHosts, a_host_of_an_earlier_release_is_sent_no_keys) {
  ASSERT_TRUE(rotate(keys_of(2, {second}, {keys, second})));
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  ASSERT_TRUE(send(agent, signed_by(second, body(agent, 1))));
  EXPECT_EQ(command_read(client), fmt::format("{:032x}", 1));
}

}  // namespace
}  // namespace weir
