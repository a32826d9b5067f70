// Who is let in when many knock, and how long who is inside may stay.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/collector/fleet/door_fixture.h"

namespace weir {
namespace {

using grpc::StatusCode;

class DoormanTest : public DoorTest {
 protected:
  int connect() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(door->port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return fd;
  }
  DoormanCounters seen() const { return door->counters().doorman; }
  void open_again(const std::function<void(AgentDoorOptions&)>& change) {
    door.reset();
    change(options);
    open_door();
  }
};

TEST_F(DoormanTest, a_connection_that_is_old_ends_and_the_host_comes_back) {
  open_again([](AgentDoorOptions& o) { o.connection_age_ms = 500; });
  Agent agent = enrol();
  const auto began = std::chrono::steady_clock::now();
  {
    Client client = knock(identity_of(agent));
    ASSERT_TRUE(client.greet());
    ASSERT_TRUE(client.reports(1, 1) && client.acknowledged(1));
    EXPECT_EQ(client.end().error_code(), StatusCode::UNAVAILABLE);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  Client again = knock(identity_of(agent));
  ASSERT_TRUE(again.greet());
  ASSERT_TRUE(again.reports(1, 2));
  EXPECT_TRUE(again.acknowledged(2));
}

TEST_F(DoormanTest, few_that_have_shown_nothing_are_inside_and_the_rest_waits_its_turn) {
  open_again([](AgentDoorOptions& o) {
    o.doorman.unproven_of_address = 8;
    o.doorman.prove_within_ms = o.doorman.pressed_within_ms = 3'000;
  });
  std::vector<int> mute;
  for (int n = 0; n < 50; ++n) mute.push_back(connect());
  ASSERT_TRUE(soon([&] { return seen().waiting == 42; }));
  EXPECT_EQ(seen().unproven, 8u);
  // Those inside and those before it in the queue are gone after their time; then it is let in.
  Agent agent = enrol();
  std::optional<Client> client;
  ASSERT_TRUE(soon(
      [&] {
        client.emplace(door->port(), options.ca, identity_of(agent));
        return client->greet();
      },
      30'000));
  EXPECT_TRUE(soon([&] { return seen().inside == 1 && seen().waiting == 0; }));
  EXPECT_EQ(seen().unproven, 0u);
  EXPECT_GE(seen().silent + seen().turned_away, 50u);
  for (int fd : mute) ::close(fd);
}

TEST_F(DoormanTest, who_waits_too_many_is_turned_away_at_once) {
  open_again([](AgentDoorOptions& o) {
    o.doorman.unproven_of_address = 1;
    o.doorman.waiting_of_address = 10;
  });
  std::vector<int> mute;
  for (int n = 0; n < 30; ++n) mute.push_back(connect());
  EXPECT_TRUE(soon([&] { return seen().turned_away >= 19; }));
  EXPECT_LE(seen().waiting, 10u);
  for (int fd : mute) ::close(fd);
  EXPECT_TRUE(soon([&] { return seen().inside == 0 && seen().waiting == 0; }));
}

TEST_F(DoormanTest, of_too_many_connections_of_a_host_the_silent_one_goes) {
  open_again([](AgentDoorOptions& o) {
    o.clone_proof_ms = 60'000;
    o.doorman.spoke_within_ms = 1'000;
  });
  Agent agent = enrol();
  std::vector<std::unique_ptr<Client>> clients;
  const auto come = [&] {
    clients.push_back(std::make_unique<Client>(door->port(), options.ca, identity_of(agent)));
    return clients.back()->greet();
  };
  for (int n = 0; n < 4; ++n) ASSERT_TRUE(come());
  std::this_thread::sleep_for(std::chrono::milliseconds(1'100));
  for (std::uint64_t n : {0u, 1u, 3u}) ASSERT_TRUE(clients[n]->reports(n + 1, n + 1));
  ASSERT_TRUE(come());
  EXPECT_EQ(seen().replaced, 1u);
  const auto began = std::chrono::steady_clock::now();
  EXPECT_FALSE(clients[2]->end().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
  EXPECT_TRUE(soon([&] { return seen().inside <= 4; }));
}

// An image of which many were started: who was driven out comes back.
TEST_F(DoormanTest, copies_of_a_machine_do_not_drive_each_other_out_before_they_are_noticed) {
  open_again([](AgentDoorOptions& o) { o.clone_proof_ms = 2'000; });
  Agent agent = enrol();
  std::vector<std::unique_ptr<Client>> copies;
  const auto began = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - began < std::chrono::milliseconds(4'000)) {
    copies.push_back(std::make_unique<Client>(door->port(), options.ca, identity_of(agent)));
    copies.back()->hello(fmt::format("boot-{}", copies.size()));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  EXPECT_EQ(host(agent)->state, HostState::cloned);
  EXPECT_EQ(door->counters().clones, 1u);
  EXPECT_GT(copies.size(), 5u);
}

TEST_F(DoormanTest, a_host_that_opens_stream_after_stream_is_cut_off_and_waits_another_is_not) {
  open_again([](AgentDoorOptions& o) { o.doorman.flooder_waits_ms = 1'500; });
  Agent agent = enrol(), other = enrol();
  Client good = knock(identity_of(other));
  ASSERT_TRUE(good.greet());
  const Identity identity = identity_of(agent);
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(kAgentServerName);
  auto channel = grpc::CreateCustomChannel(
      fmt::format("127.0.0.1:{}", door->port()),
      grpc::SslCredentials({options.ca, identity.key, identity.certificate}), arguments);
  auto stub = v1::AgentService::NewStub(channel);
  for (int n = 0; n < 60 && seen().floods == 0; ++n) {
    grpc::ClientContext context;
    auto stream = stub->Connect(&context);
    v1::ConnectRequest request;
    request.mutable_hello();
    stream->Write(request);
    v1::ConnectResponse response;
    (void)stream->Read(&response);  // Welcome
    context.TryCancel();
    while (stream->Read(&response)) {
    }
    (void)stream->Finish();
  }
  EXPECT_EQ(seen().floods, 1u);
  Client waits = knock(identity);
  waits.hello();
  EXPECT_FALSE(waits.end().ok());
  ASSERT_TRUE(good.reports(1, 1));
  EXPECT_TRUE(good.acknowledged(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(2'000));
  Client again = knock(identity);
  EXPECT_TRUE(again.greet()) << "its time is over";
}

}  // namespace
}  // namespace weir
