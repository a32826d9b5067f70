// The agents' door, knocked at over real mTLS: who comes in, what is acknowledged, who is held.
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/collector/fleet/door_fixture.h"

namespace weir {
namespace {

using grpc::StatusCode;

int connect_to(std::uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return fd;
}

// ---- who comes in
// --------------------------------------------------------------------------------

TEST_F(DoorTest, a_host_is_welcomed_and_its_reports_are_acknowledged_once_they_are_stored) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  ASSERT_TRUE(client.reports(1, 3));
  ASSERT_TRUE(client.acknowledged(3));
  EXPECT_EQ(alerts_of(agent), "1:0 2:0 3:0");
  EXPECT_EQ(host(agent)->state, HostState::online);
}

TEST_F(DoorTest, a_host_that_comes_again_is_told_what_is_stored) {
  Agent agent = enrol();
  {
    Client client = knock(identity_of(agent));
    ASSERT_TRUE(client.greet());
    ASSERT_TRUE(client.reports(1, 5));
    ASSERT_TRUE(client.acknowledged(5));
  }
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.hello());
  v1::ConnectResponse response;
  ASSERT_TRUE(client.read(response));
  ASSERT_EQ(response.welcome().stored_size(), 1);
  EXPECT_EQ(response.welcome().stored(0).sequence(), 5u);
  ASSERT_TRUE(client.reports(1, 7));  // again, and two more
  EXPECT_TRUE(client.acknowledged(7));
  EXPECT_EQ(alerts_of(agent).substr(0, 20), "1:0 2:0 3:0 4:0 5:0 ");
}

TEST_F(DoorTest, nobody_without_a_valid_certificate_of_ours_gets_as_far_as_a_call) {
  Agent agent = enrol();
  const std::string& id = agent.issued.host_id;
  const std::int64_t now = now_s();
  Authority foreign = Authority::create({now - 60, now + 3'600});
  PrivateKey key = PrivateKey::generate();
  X509Certificate alone = *self_signed(key, "desk", {now - 60, now + 3'600});
  std::map<std::string, Identity> strangers{
      {"no certificate", {}},
      {"a foreign authority's", identity_by(foreign, id, {now - 60, now + 60})},
      {"expired", identity_by(authority, id, {now - 60, now - 1})},
      {"not valid yet", identity_by(authority, id, {now + 60, now + 120})},
      {"self-signed", {alone.pem(), key.pem()}},
      {"the door's own", {options.certificate, options.key}},
  };
  for (const auto& [name, identity] : strangers) {
    Client client = knock(identity);
    client.hello();
    EXPECT_EQ(client.end().error_code(), StatusCode::UNAVAILABLE) << name;
  }
  EXPECT_EQ(door->counters().opened + door->counters().refused, 0u);
  Client client = knock(identity_of(agent));
  EXPECT_TRUE(client.greet()) << "the host itself is unaffected";
}

TEST_F(DoorTest, a_certificate_of_a_host_that_is_not_known_is_refused) {
  Client client = knock(
      identity_by(authority, "00000000-0000-4000-8000-000000000000", {now_s() - 60, now_s() + 60}));
  client.hello();
  EXPECT_EQ(client.end().error_code(), StatusCode::UNAUTHENTICATED);
}

TEST_F(DoorTest, only_tls_1_3_is_spoken) {
  Agent agent = enrol();
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL* tls = SSL_new(context);
    int fd = connect_to(door->port());
    SSL_set_fd(tls, fd);
    const unsigned char h2[] = {2, 'h', '2'};
    SSL_set_alpn_protos(tls, h2, sizeof h2);
    EXPECT_EQ(SSL_connect(tls) == 1, version == TLS1_3_VERSION) << version;
    SSL_free(tls);
    SSL_CTX_free(context);
    ::close(fd);
  }
}

TEST_F(DoorTest, a_revoked_host_is_refused_and_its_open_stream_ends) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(hosts->revoke(agent.issued.host_id, "lost"));
  door->close_host(host(agent)->row.number, "the host is revoked");
  EXPECT_EQ(client.end().error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  Client again = knock(identity_of(agent));
  again.hello();
  EXPECT_EQ(again.end().error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(host(agent)->state, HostState::revoked);
}

TEST_F(DoorTest, a_stream_ends_with_its_certificate) {
  Agent agent = enrol();
  Client client = knock(identity_by(authority, agent.issued.host_id, {now_s() - 60, now_s() + 2}));
  ASSERT_TRUE(client.greet());
  EXPECT_EQ(client.end().error_code(), StatusCode::UNAUTHENTICATED);
}

// ---- what comes in
// --------------------------------------------------------------------------------

TEST_F(DoorTest, another_hosts_id_in_a_report_does_not_change_whose_it_is) {
  Agent agent = enrol(), victim = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  ASSERT_TRUE(client.reports(1, 1, 0, victim.issued.host_id));
  ASSERT_TRUE(client.acknowledged(1));
  auto report = reader->newest("r1");
  ASSERT_TRUE(report && *report);
  EXPECT_EQ((*report)->host, host(agent)->row.number);
  EXPECT_EQ(alerts_of(agent), "1:2") << "kOtherHost";
  EXPECT_EQ(alerts_of(victim), "");
}

TEST_F(DoorTest, what_is_no_hello_first_or_malformed_later_ends_the_stream) {
  Agent agent = enrol();
  Client early = knock(identity_of(agent));
  early.reports(1, 1);
  EXPECT_EQ(early.end().error_code(), StatusCode::INVALID_ARGUMENT);
  Client malformed = knock(identity_of(agent));
  ASSERT_TRUE(malformed.greet());
  malformed.reports(0, 1);
  EXPECT_EQ(malformed.end().error_code(), StatusCode::INVALID_ARGUMENT);
  Client twice = knock(identity_of(agent));
  ASSERT_TRUE(twice.greet());
  twice.hello();
  EXPECT_EQ(twice.end().error_code(), StatusCode::INVALID_ARGUMENT);
  Client silent = knock(identity_of(agent));
  EXPECT_EQ(silent.end().error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(alerts_of(agent), "");
}

TEST_F(DoorTest, a_huge_message_ends_its_stream_and_no_other) {
  Agent agent = enrol(), other = enrol();
  Client good = knock(identity_of(other));
  ASSERT_TRUE(good.greet());
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  client.reports(1, 1, kMaxMessageBytes);
  EXPECT_FALSE(client.end().ok());
  EXPECT_EQ(alerts_of(agent), "");
  ASSERT_TRUE(good.reports(1, 1));
  EXPECT_TRUE(good.acknowledged(1));
}

TEST_F(DoorTest, a_hole_is_answered_with_what_is_stored) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  ASSERT_TRUE(client.reports(5, 1));
  v1::ConnectResponse response;
  ASSERT_TRUE(client.read(response));
  ASSERT_EQ(response.acknowledgement().stored_size(), 1);
  EXPECT_EQ(response.acknowledgement().stored(0).sequence(), 0u);
  EXPECT_EQ(alerts_of(agent), "");
}

TEST_F(DoorTest, who_sends_and_never_reads_is_stored_and_costs_no_queue) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  for (std::uint64_t n = 0; n < 300; ++n) ASSERT_TRUE(client.reports(n * 10 + 1, 10));
  std::uint32_t number = host(agent)->row.number;
  ASSERT_TRUE(soon([&] {
    auto positions = records->positions(number);
    return !positions.empty() && positions[0].sequence == 3'000;
  }));
  EXPECT_TRUE(client.acknowledged(3'000));
}

TEST_F(DoorTest, a_store_that_lags_throttles_and_takes_the_batch_when_there_is_room) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  LaneKey filler{9'999, StoreLane::telemetry};
  StandingWriter writer(*records, filler);
  std::uint64_t next = 2;
  for (std::size_t size : {std::size_t{1} << 20, std::size_t{64} << 10, std::size_t{1} << 10}) {
    for (bool taken = true; taken; next += taken ? 1 : 0) {
      Append append = batch_of(filler, 1, next, 1);
      append.records[0].ciphertext.assign(size, 'x');
      taken = records->append(append);
    }
  }
  ASSERT_TRUE(client.reports(1, 20, 20'000));
  v1::ConnectResponse response;
  ASSERT_TRUE(client.read(response));
  EXPECT_EQ(response.throttle().lane(), v1::Lane::alert);
  EXPECT_GT(response.throttle().wait_ms(), 0u);
  EXPECT_TRUE(records->positions(host(agent)->row.number).empty()) << "and nothing is acknowledged";
  writer.let_go();
  EXPECT_TRUE(client.acknowledged(20));
}

// ---- twins, reconnects, dead peers
// ----------------------------------------------------------------

// Copied before it was started, or while it ran: then the copies have one boot id as well.
TEST_F(DoorTest, two_machines_with_one_key_are_noticed_and_both_held) {
  for (const char* boot_of_copy : {"boot-2", "boot-1"}) {
    Agent agent = enrol();
    Client one = knock(identity_of(agent)), two = knock(identity_of(agent));
    ASSERT_TRUE(one.greet("boot-1"));
    ASSERT_TRUE(two.greet(boot_of_copy));
    EXPECT_EQ(one.end().error_code(), StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(two.end().error_code(), StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(host(agent)->state, HostState::cloned);
    Client again = knock(identity_of(agent));
    again.hello("boot-1");
    EXPECT_EQ(again.end().error_code(), StatusCode::FAILED_PRECONDITION);
  }
}

TEST_F(DoorTest, a_machine_that_was_cut_off_and_came_back_is_no_clone) {
  for (const char* boot_after : {"boot-2", "boot-1"}) {
    Agent agent = enrol();
    auto one = std::make_unique<Client>(door->port(), options.ca, identity_of(agent));
    ASSERT_TRUE(one->greet("boot-1"));
    Client two = knock(identity_of(agent));
    ASSERT_TRUE(two.greet(boot_after));
    one.reset();  // what keepalive finds of a dead peer
    std::this_thread::sleep_for(std::chrono::milliseconds(600));
    ASSERT_TRUE(two.reports(1, 1));
    EXPECT_TRUE(two.acknowledged(1));
    EXPECT_EQ(host(agent)->state, HostState::online);
  }
}

// Each time before its last stream could be found dead, and longer than a copy needs to be noticed.
TEST_F(DoorTest, a_machine_that_comes_back_again_and_again_is_no_clone) {
  options.clone_proof_ms = 2'000;
  door.reset();
  open_door();
  Agent agent = enrol();
  auto last = std::make_unique<Client>(door->port(), options.ca, identity_of(agent));
  ASSERT_TRUE(last->greet("boot-1"));
  for (int n = 0; n < 6; ++n) {
    auto next = std::make_unique<Client>(door->port(), options.ca, identity_of(agent));
    ASSERT_TRUE(next->greet("boot-1"));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    last = std::move(next);
  }
  ASSERT_TRUE(last->reports(1, 1));
  EXPECT_TRUE(last->acknowledged(1));
  EXPECT_EQ(host(agent)->state, HostState::online);
}

// Passes bytes both ways until it is told to swallow them: a peer behind a dead link.
class Link {
 public:
  explicit Link(std::uint16_t to) : to_(to) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at);
    ::listen(listener_, 1);
    socklen_t size = sizeof at;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Link() {
    ending = true;
    thread_.join();
    ::close(listener_);
  }
  std::uint16_t port = 0;
  std::atomic<bool> dead = false, ending = false;

 private:
  void run() {
    int client = ::accept(listener_, nullptr, nullptr), server = connect_to(to_);
    while (!ending) {
      pollfd both[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (dead || ::poll(both, 2, 50) <= 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(dead ? 50 : 0));
        continue;
      }
      for (int from : {0, 1}) {
        char bytes[4096];
        if ((both[from].revents & (POLLIN | POLLHUP)) == 0) continue;
        ssize_t got = ::recv(both[from].fd, bytes, sizeof bytes, 0);
        if (got <= 0 || ::send(both[1 - from].fd, bytes, got, MSG_NOSIGNAL) != got) ending = true;
      }
    }
    ::close(client);
    ::close(server);
  }
  std::uint16_t to_;
  int listener_ = -1;
  std::thread thread_;
};

TEST_F(DoorTest, a_dead_link_is_found_within_30_s) {
  Agent agent = enrol();
  Link link(door->port());
  Client client(link.port, options.ca, identity_of(agent));
  ASSERT_TRUE(client.greet());
  ASSERT_TRUE(host(agent)->live);
  link.dead = true;
  EXPECT_TRUE(soon([&] { return !host(agent)->live; }, 30'000));
}

TEST_F(DoorTest, connections_that_say_nothing_keep_nobody_out) {
  std::vector<int> idle;
  for (int n = 0; n < 300; ++n) idle.push_back(connect_to(door->port()));
  Agent agent = enrol();
  // They are of its own address: it waits its turn, and comes again as a desk does.
  std::optional<Client> client;
  ASSERT_TRUE(soon(
      [&] {
        client.emplace(door->port(), options.ca, identity_of(agent));
        return client->greet();
      },
      30'000));
  ASSERT_TRUE(client->reports(1, 1));
  EXPECT_TRUE(client->acknowledged(1));
  // The handshake's time is over: they are gone.
  EXPECT_TRUE(soon(
      [&] {
        char byte = 0;
        return ::recv(idle[0], &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
      },
      10'000));
  for (int fd : idle) ::close(fd);
}

TEST_F(DoorTest, the_door_closes_with_streams_open) {
  Agent agent = enrol();
  Client client = knock(identity_of(agent));
  ASSERT_TRUE(client.greet());
  door->stop();
  EXPECT_EQ(client.end().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_FALSE(host(agent)->live);
}

}  // namespace
}  // namespace weir
