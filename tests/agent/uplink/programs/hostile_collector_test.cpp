// A collector that was taken over, or is newer, or mad: it has the agents' authority behind it and
// says what it likes. The uplink acknowledges, decides and carries out nothing by that.
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <mutex>

#include "agent/uplink/keys.h"
#include "collector/fleet/certificates.h"
#include "tests/agent/uplink/programs/desk.h"
#include "weir/v1/agent.grpc.pb.h"

namespace weir {
namespace {

constexpr char kName[] = "agents.collector.test";

using Wire = grpc::ServerReaderWriter<v1::ConnectResponse, v1::ConnectRequest>;

// Plays `script` to each stream and keeps what it hears.
class Hostile final : public v1::AgentService::Service {
 public:
  explicit Hostile(const Authority& authority) {
    const std::int64_t now = ::time(nullptr);
    PrivateKey key = PrivateKey::generate();
    grpc::SslServerCredentialsOptions tls(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = authority.certificate().pem();
    tls.pem_key_cert_pairs.push_back(
        {key.pem(), authority.issue_server(key, kName, {now - 60, now + 3'600}).pem()});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:9443", grpc::SslServerCredentials(tls), &port);
    builder.RegisterService(this);
    server = builder.BuildAndStart();
  }
  ~Hostile() override { server->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status Connect(grpc::ServerContext*, Wire* wire) override {
    ++streams;
    v1::ConnectRequest request;
    if (!wire->Read(&request)) return grpc::Status::OK;
    hear(request);
    script(*wire);
    while (wire->Read(&request)) hear(request);
    return grpc::Status::OK;
  }
  void hear(const v1::ConnectRequest& request) {
    std::lock_guard lock(mutex);
    heard.push_back(request);
  }
  std::size_t count(v1::ConnectRequest::MessageCase kind) {
    std::lock_guard lock(mutex);
    return static_cast<std::size_t>(
        std::count_if(heard.begin(), heard.end(),
                      [kind](const auto& one) { return one.message_case() == kind; }));
  }
  static void welcome(Wire& wire) {
    v1::ConnectResponse response;
    response.mutable_welcome()->set_max_batch_records(4'000'000'000u);
    response.mutable_welcome()->set_max_batch_bytes(4'000'000'000u);
    wire.Write(response);
  }

  int port = 0;
  std::function<void(Wire&)> script = [](Wire& wire) { welcome(wire); };
  std::atomic<int> streams = 0;
  std::mutex mutex;
  std::vector<v1::ConnectRequest> heard;
  std::unique_ptr<grpc::Server> server;
};

class HostileCollector : public FleetOfPrograms {
 protected:
  void SetUp() override {
    FleetOfPrograms::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::int64_t now = ::time(nullptr);
    authority.emplace(Authority::create({now - 60, now + 86'400}));
    collector.emplace(*authority);
    ASSERT_NE(collector->port, 0);
    desk.emplace(base / "desk");
    auto key = HostKey::generate();
    const std::string request = key->request();
    auto csr = CertificateRequest::from_der(bytes_of(request));
    Identity identity{
        .host = {.host_id = "11111111-2222-4333-8444-555555555555",
                 .group = "desks",
                 .agent_address = "127.0.0.1:9443",
                 .agent_server_name = kName,
                 .door_address = "127.0.0.1:8443",
                 .renew_after_s = now + 3'600},
        .key_pem = key->pem(),
        .certificate_pem =
            authority
                ->issue_host(*csr, "11111111-2222-4333-8444-555555555555", {now - 60, now + 3'600})
                .pem(),
        .ca_pem = authority->certificate().pem()};
    const fs::path dir = desk->state / "identity";
    fs::create_directory(dir);
    ASSERT_EQ(::chown(dir.c_str(), kUplinkUser, kUplinkUser), 0);
    int folder = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_TRUE(write_identity(folder, identity, kUplinkUser));
    ::close(folder);
  }
  bool ran_on() {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    return desk->uplink.runs();
  }
  std::optional<Authority> authority;
  std::optional<Hostile> collector;
  std::optional<Desk> desk;
};

TEST_F(HostileCollector, every_command_is_answered_and_none_is_carried_out) {
  collector->script = [](Wire& wire) {
    Hostile::welcome(wire);
    for (int n = 0; n < 100; ++n) {
      v1::ConnectResponse response;
      response.mutable_command()->set_id(fmt::format("command-{}", n));
      response.mutable_command()->set_body(std::string(1'000, '\xff'));
      wire.Write(response);
    }
  };
  desk->start();
  EXPECT_TRUE(soon([&] { return collector->count(v1::ConnectRequest::kCommandResult) == 100; }));
  std::lock_guard lock(collector->mutex);
  for (const v1::ConnectRequest& one : collector->heard)
    if (one.has_command_result()) {
      EXPECT_EQ(one.command_result().outcome(), v1::CommandResult::refused);
      ASSERT_EQ(one.command_result().why_size(), 1);
      EXPECT_EQ(one.command_result().why(0).code(), "command_damaged");
    }
}

TEST_F(HostileCollector, what_was_never_sent_is_not_acknowledged) {
  desk->report(SpoolLane::alert, 5);
  const std::uint64_t epoch = desk->writer->last()[0].epoch;
  collector->script = [epoch](Wire& wire) {
    Hostile::welcome(wire);
    for (std::uint64_t sequence : {std::uint64_t{1'000}, UINT64_MAX}) {
      v1::ConnectResponse response;
      auto* stored = response.mutable_acknowledgement()->add_stored();
      stored->set_lane(v1::Lane::alert);
      stored->set_epoch(epoch);
      stored->set_sequence(sequence);
      wire.Write(response);
    }
  };
  desk->start();
  EXPECT_TRUE(soon([&] { return collector->count(v1::ConnectRequest::kBatch) > 0; }));
  EXPECT_TRUE(ran_on());
  EXPECT_EQ(desk->acknowledged(SpoolLane::alert), 0u);
}

TEST_F(HostileCollector, without_a_welcome_and_with_two_of_them_nothing_goes_on) {
  desk->report(SpoolLane::alert, 25);
  collector->script = [](Wire& wire) {
    v1::ConnectResponse response;
    response.mutable_acknowledgement();
    wire.Write(response);
  };
  desk->start();
  EXPECT_TRUE(soon([&] { return collector->streams >= 2; })) << "it comes again, later";
  EXPECT_EQ(collector->count(v1::ConnectRequest::kBatch), 0u);
  collector->script = [](Wire& wire) { Hostile::welcome(wire), Hostile::welcome(wire); };
  int before = collector->streams;
  EXPECT_TRUE(soon([&] { return collector->streams >= before + 2; }));
  EXPECT_TRUE(ran_on());
}

TEST_F(HostileCollector, what_is_too_large_or_unsigned_for_a_policy_stays_here) {
  collector->script = [](Wire& wire) {
    Hostile::welcome(wire);
    v1::ConnectResponse response;
    response.mutable_policy()->set_envelope(std::string(2u << 20, 'x'));
    wire.Write(response);
    response.mutable_policy()->set_envelope("small");
    for (int n = 0; n < 20; ++n) response.mutable_policy()->add_signatures();
    wire.Write(response);
    response.mutable_policy()->set_envelope(std::string(5u << 20, 'x'));
    wire.Write(response);  // larger than a message may be: the stream ends
  };
  desk->start();
  EXPECT_TRUE(soon([&] { return collector->streams >= 2; }));
  EXPECT_TRUE(ran_on());
  std::uint8_t buffer[wire::kUplinkReceiveBuffer];
  for (ssize_t got; (got = ::recv(desk->guard, buffer, sizeof buffer, MSG_DONTWAIT)) > 0;) {
    auto message = wire::parse_from_uplink({buffer, static_cast<std::size_t>(got)});
    ASSERT_TRUE(message);
    EXPECT_TRUE(std::holds_alternative<wire::UplinkBeat>(*message));
  }
}

TEST_F(HostileCollector, a_flood_of_answers_costs_no_memory) {
  std::atomic<bool> done = false;
  collector->script = [&](Wire& wire) {
    Hostile::welcome(wire);
    v1::ConnectResponse response;
    for (int n = 0; n < 64; ++n) {
      auto* stored = response.mutable_acknowledgement()->add_stored();
      stored->set_lane(v1::Lane::alert);
      stored->set_sequence(1);
    }
    for (int n = 0; n < 20'000 && wire.Write(response); ++n) {
    }
    done = true;
  };
  desk->start();
  EXPECT_TRUE(soon([&] { return collector->streams > 0; }));
  std::size_t before = desk->rss_bytes(), most = before;
  soon([&] {
    most = std::max(most, desk->rss_bytes());
    return done.load();
  });
  fmt::print("RSS {} MiB before, {} MiB in the flood\n", before >> 20, most >> 20);
  EXPECT_LE(most, before + (32u << 20));
  EXPECT_TRUE(ran_on());
}

}  // namespace
}  // namespace weir
