// The services behind their in-process channel, before an open agents' door.
#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "collector/api/principal.h"
#include "collector/services/services.h"
#include "core/policy/default_policy.h"
#include "proto/map/policy_proto.h"
#include "tests/collector/fleet/door_fixture.h"
#include "weir/v1/admin.grpc.pb.h"

namespace weir {

class ServicesTest : public DoorTest {
 protected:
  void SetUp() override {
    DoorTest::SetUp();
    auto started = Services::start(
        {.store = *fleet,
         .hosts = *hosts,
         .enrolment = *enrolment,
         .rollout = *rollout,
         .commands = *commands,
         .reports = *reader,
         .folder = folder.path(),
         .close_host = [this](std::uint32_t h, const std::string& s) { door->close_host(h, s); },
         .push_policy = [this](const std::string& group) { door->push_policy(group); },
         .console_host = "collector.example",
         .console_key_sha256 = std::string(32, 'k'),
         .console_port = console_port,
         .agent_address = fmt::format("127.0.0.1:{}", door->port()),
         .agent_ca = authority.certificate().der()});
    ASSERT_TRUE(started) << started.error().sentence;
    services = std::move(*started);
    hosts->changed = [this] { services->poke(); };
    commands->changed = [this] { services->poke(); };
    Digest digest = sha256_of({bytes_of(keys.public_key)});
    key_id.assign(digest.begin(), digest.begin() + 8);
    ASSERT_TRUE(fleet->add_policy_key({key_id, keys.public_key, now_s() + 3'600}));
    channel = services->server().InProcessChannel(grpc::ChannelArguments());
  }
  void TearDown() override {
    channel.reset();
    services->stop();
    DoorTest::TearDown();
    records.reset();
  }

  // Calls METHOD of SERVICE's stub as "admin".
  template <class Stub, class Request, class Response>
  grpc::Status call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    Stub& stub, const Request& request, Response& response) {
    grpc::ClientContext context;
    context.AddMetadata(kPrincipalKey, "admin");
    return (stub.*method)(&context, request, &response);
  }
  template <class Service>
  std::unique_ptr<typename Service::Stub> stub() {
    return Service::NewStub(channel);
  }

  v1::SignedPolicy policy(std::uint32_t number, const std::string& group = "desks") {
    v1::PolicyEnvelope envelope;
    envelope.set_policy(policy_bytes(*default_policy()));
    envelope.set_number(number);
    envelope.set_expires_wall_s(now_s() + 3'600);
    envelope.set_target(group);
    v1::SignedPolicy policy;
    policy.set_envelope(envelope.SerializeAsString());
    v1::PolicySignature& signature = *policy.add_signatures();
    signature.set_key_id(key_id);
    signature.set_signature(
        sign_ed25519(keys.secret_key, "weir policy v1", bytes_of(policy.envelope())));
    return policy;
  }

  std::atomic<std::uint16_t> console_port = 8443;
  Ed25519Pair keys = new_ed25519();
  std::string key_id;
  std::unique_ptr<Services> services;
  std::shared_ptr<grpc::Channel> channel;
};

}  // namespace weir
