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
  // Of the policies that the guard was offered so far.
  std::vector<std::string> offered_envelopes() {
    std::vector<std::string> envelopes;
    for (;;) {
      std::uint8_t buffer[wire::kUplinkReceiveBuffer];
      iovec part{buffer, sizeof buffer};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
      msghdr header{};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      const ssize_t got = ::recvmsg(desk->guard, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (got <= 0) return envelopes;
      auto message = wire::parse_from_uplink({buffer, static_cast<std::size_t>(got)});
      const auto* offer = message ? std::get_if<wire::OfferPolicy>(&*message) : nullptr;
      const cmsghdr* head = CMSG_FIRSTHDR(&header);
      if (offer == nullptr || head == nullptr) continue;
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
      std::string envelope(offer->envelope_size, '\0');
      EXPECT_EQ(::pread(fd, envelope.data(), envelope.size(), 0),
                static_cast<ssize_t>(envelope.size()));
      envelopes.push_back(envelope);
      ::close(fd);
    }
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

// Something that this version has no name for, in each kind of message.
template <class Message>
Message& with_news(Message& message) {
  message.GetReflection()->MutableUnknownFields(&message)->AddLengthDelimited(1'000, "news");
  return message;
}

constexpr auto kNewLane = static_cast<v1::Lane::Value>(9);

void add_position(google::protobuf::RepeatedPtrField<v1::LanePosition>& to, v1::Lane::Value lane,
                  std::uint64_t epoch, std::uint64_t sequence) {
  v1::LanePosition& position = with_news(*to.Add());
  position.set_lane(lane);
  position.set_epoch(epoch);
  position.set_sequence(sequence);
}

TEST_F(HostileCollector, a_newer_one_is_understood_in_what_is_known_and_its_news_change_nothing) {
  desk->report(SpoolLane::alert, 5);
  const std::uint64_t epoch = desk->writer->last()[0].epoch;
  collector->script = [&](Wire& wire) {
    auto say = [&wire](auto fill) {
      v1::ConnectResponse response;
      fill(response);
      wire.Write(response);
    };
    auto news = [](v1::ConnectResponse& response) { with_news(response); };
    say(news);  // before the Welcome, too: a message that is none of those known
    say([&](v1::ConnectResponse& response) {
      v1::Welcome& welcome = with_news(*response.mutable_welcome());
      welcome.set_max_batch_records(3);
      welcome.set_max_batch_bytes(1u << 20);
      add_position(*welcome.mutable_stored(), kNewLane, epoch, 1'000);
    });
    say(news);
    say([](v1::ConnectResponse& response) {
      v1::Throttle& throttle = with_news(*response.mutable_throttle());
      throttle.set_lane(kNewLane);
      throttle.set_wait_ms(60'000);
    });
    v1::ConnectRequest request;
    while (!request.has_batch() && wire.Read(&request)) collector->hear(request);
    say([&](v1::ConnectResponse& response) {
      auto& stored = *with_news(*response.mutable_acknowledgement()).mutable_stored();
      add_position(stored, kNewLane, epoch, 5);
      add_position(stored, v1::Lane::alert, epoch, 3);
    });
    say([](v1::ConnectResponse& response) {  // a command's own words are the guard's to refuse
      v1::Command& command = with_news(*response.mutable_command());
      command.set_id("new-fashioned");
      command.set_body("undo");
    });
    say([](v1::ConnectResponse& response) {
      with_news(*response.mutable_policy()).set_envelope("an envelope");
    });
  };
  desk->start();
  EXPECT_TRUE(soon([&] { return desk->acknowledged(SpoolLane::alert) == 3; }))
      << content(desk->log());
  EXPECT_TRUE(soon([&] { return collector->count(v1::ConnectRequest::kCommandResult) == 1; }));
  EXPECT_TRUE(soon([&] { return collector->count(v1::ConnectRequest::kBatch) == 2; }))
      << "what is beyond is still sent, three at a time";
  desk->report(SpoolLane::audit, 1);
  EXPECT_TRUE(soon([&] { return collector->count(v1::ConnectRequest::kBatch) == 3; }));
  EXPECT_EQ(desk->acknowledged(SpoolLane::alert), 3u);
  EXPECT_EQ(desk->acknowledged(SpoolLane::audit), 0u);
  EXPECT_EQ(desk->acknowledged(SpoolLane::telemetry), 0u);
  EXPECT_EQ(collector->streams, 1) << "the stream lives on";
  EXPECT_EQ(offered_envelopes(), std::vector<std::string>{"an envelope"}) << "as it came";
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
