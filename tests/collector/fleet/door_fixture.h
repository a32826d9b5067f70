// An open agents' door on loopback and real gRPC clients that knock at it.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <functional>
#include <thread>

#include "collector/fleet/agent_door.h"
#include "collector/fleet/batch_reader.h"
#include "collector/fleet/crypto.h"
#include "tests/collector/fleet/fleet_fixture.h"
#include "weir/v1/agent.grpc.pb.h"

namespace weir {

inline bool soon(const std::function<bool()>& holds, int within_ms = 10'000) {
  for (int waited = 0; waited < within_ms; waited += 10) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return holds();
}

struct Identity {  // PEM; empty: none is shown
  std::string certificate, key;
};

// A host's end of the stream. `ca`: what it verifies the door by.
class Client {
 public:
  Client(std::uint16_t port, const std::string& ca, const Identity& identity) {
    grpc::SslCredentialsOptions tls{ca, identity.key, identity.certificate};
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride(kAgentServerName);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(fmt::format("127.0.0.1:{}", port),
                                         grpc::SslCredentials(tls), arguments);
    stub_ = v1::AgentService::NewStub(channel_);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    stream_ = stub_->Connect(&context_);
  }
  ~Client() {
    context_.TryCancel();
    if (!ended_) (void)end();
  }

  bool send(const v1::ConnectRequest& request) { return stream_->Write(request); }
  bool hello(const std::string& boot_id = "boot-1", std::uint32_t policy = 0) {
    v1::ConnectRequest request;
    request.mutable_hello()->set_boot_id(boot_id);
    request.mutable_hello()->set_version("1.0");
    request.mutable_hello()->mutable_policy()->set_number(policy);
    return send(request);
  }
  // What this host remembers of an earlier stream, in the alert lane.
  bool greet_remembering(std::uint64_t acknowledged, std::uint32_t policy) {
    v1::ConnectRequest request;
    request.mutable_hello()->set_boot_id("boot-1");
    request.mutable_hello()->mutable_policy()->set_number(policy);
    v1::LanePosition& known = *request.mutable_hello()->add_acknowledged();
    known.set_lane(v1::Lane::alert);
    known.set_epoch(1);
    known.set_sequence(acknowledged);
    v1::ConnectResponse response;
    return send(request) && read(response) && response.has_welcome();
  }
  bool lost(std::uint64_t first, std::uint64_t last) {
    v1::ConnectRequest request;
    v1::Batch& batch = *request.mutable_batch();
    batch.set_lane(v1::Lane::alert);
    batch.set_epoch(1);
    batch.set_first_sequence(first);
    batch.mutable_lost()->set_last_sequence(last);
    batch.mutable_lost()->set_why(v1::LostRange::evicted);
    return send(request);
  }
  bool read(v1::ConnectResponse& response) { return stream_->Read(&response); }
  // Hello, and the Welcome that it gets.
  bool greet(const std::string& boot_id = "boot-1", std::uint32_t policy = 0) {
    v1::ConnectResponse response;
    return hello(boot_id, policy) && read(response) && response.has_welcome();
  }
  // Sends reports first … first + count - 1 of the alert lane, chained as a spool does.
  bool reports(std::uint64_t first, int count, std::size_t padding = 0,
               const std::string& host_id = "") {
    std::vector<v1::Record> records;
    for (int n = 0; n < count; ++n) {
      v1::Report& report = *records.emplace_back().mutable_report();
      report.set_id(fmt::format("r{}", first + static_cast<std::uint64_t>(n)));
      report.mutable_time()->set_seconds(1'800'000'000);
      report.mutable_host()->set_id(host_id);
      report.set_capture(std::string(padding, 'x'));
    }
    return send_records(v1::Lane::alert, first, records);
  }
  // Of one lane in a test: there is one chain.
  bool send_records(v1::Lane::Value lane, std::uint64_t first,
                    const std::vector<v1::Record>& records) {
    v1::ConnectRequest request;
    v1::Batch& batch = *request.mutable_batch();
    batch.set_lane(lane);
    batch.set_epoch(1);
    batch.set_first_sequence(first);
    for (const v1::Record& record : records) {
      v1::SealedRecord& sealed = *batch.add_records();
      sealed.set_previous_hash(chain_);
      sealed.set_ciphertext(record.SerializeAsString());
      Digest next = chain_hash(bytes_of(chain_), bytes_of(sealed.ciphertext()), {}, {});
      chain_.assign(next.begin(), next.end());
    }
    return send(request);
  }
  // Reads on until the lane is acknowledged up to `sequence`.
  bool acknowledged(std::uint64_t sequence, v1::Lane::Value lane = v1::Lane::alert) {
    v1::ConnectResponse response;
    while (read(response)) {
      throttles += response.has_throttle() ? 1 : 0;
      for (const v1::LanePosition& stored : response.acknowledgement().stored())
        if (stored.lane() == lane && stored.sequence() >= sequence) return true;
    }
    return false;
  }
  grpc::Status end() {  // reads to the end
    v1::ConnectResponse response;
    while (stream_->Read(&response)) {
    }
    ended_ = true;
    return stream_->Finish();
  }
  int throttles = 0;

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::AgentService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ConnectRequest, v1::ConnectResponse>> stream_;
  std::string chain_ = std::string(32, '\0');
  bool ended_ = false;
};

class DoorTest : public FleetTest {
 protected:
  void SetUp() override {
    FleetTest::SetUp();
    rollout = std::make_unique<Rollout>(*fleet, *hosts);
    commands = std::make_unique<HostCommands>(*fleet, now_s());
    options.address = "127.0.0.1:0";
    options.ca = authority.certificate().pem();
    PrivateKey key = PrivateKey::generate();
    options.key = key.pem();
    options.certificate =
        authority.issue_server(key, kAgentServerName, {now_s() - 60, now_s() + 3'600}).pem();
    options.clone_proof_ms = 300;
    options.hello_within_ms = 2'000;
    open_door();
  }
  void open_door() {
    auto started = AgentDoor::start(options, {*hosts, *records, *rollout, *commands});
    ASSERT_TRUE(started) << started.error().sentence;
    door = std::move(*started);
    rollout->rotated = [this] { door->push_trust(); };
    commands->sent = [this](std::uint32_t host) { door->push_commands(host); };
    rollout->published = [this](const std::string& group) { door->push_policy(group); };
  }
  void TearDown() override { door.reset(); }
  std::int64_t now_s() const override {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }

  Identity identity_of(const Agent& agent) {
    auto certificate = X509Certificate::from_der(bytes_of(agent.issued.chain[0]));
    return {certificate->pem(), agent.key.pem()};
  }
  // A certificate that was made by `by` as no enrolment would.
  Identity identity_by(const Authority& by, const std::string& host_id, Validity validity) {
    PrivateKey key = PrivateKey::generate();
    auto csr = CertificateRequest::from_der(bytes_of(new_request(key)));
    return {by.issue_host(*csr, host_id, validity).pem(), key.pem()};
  }
  Client knock(const Identity& identity) {
    return {door->port(), authority.certificate().pem(), identity};
  }
  std::optional<HostView> host(const Agent& agent) {
    return hosts->find(agent.issued.host_id, now_s());
  }
  std::string alerts_of(const Agent& agent) {
    return rows({host(agent)->row.number, StoreLane::alert}, 1);
  }

  AgentDoorOptions options;
  std::unique_ptr<Rollout> rollout;
  std::unique_ptr<HostCommands> commands;
  std::unique_ptr<AgentDoor> door;
};

}  // namespace weir
