// Hosts of the fleet that read nothing, say nothing, or send what unfolds, at a running collector:
// many of them, while a large policy is due to all. A desk beside them is served, memory stays
// bounded, and their connections end.
#include <atomic>
#include <cstdlib>

#include "tests/collector/floods/raw_http2.h"
#include "tests/collector/floods/running_collector.h"

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kHosts = 40;
// A connection: 120 KiB of TLS and HTTP/2, and what it lets nobody write or does not read itself.
// In all 300 KiB; a sanitized collector, which keeps what it has freed for a while, takes 540. With
// a copy of the policy for each it would be 400 more.
constexpr std::size_t kBytesOfHost = 704 << 10;

constexpr std::size_t kBombers = 8;
constexpr std::size_t kUnfoldedBytes = std::size_t{48} << 20;
constexpr std::size_t kSendersBytes = std::size_t{64} << 20;
constexpr std::chrono::milliseconds kSending{1'000};
constexpr std::chrono::seconds kServed{10};

class AgentReaders : public RunningCollector {
 protected:
  std::string message_of(const v1::ConnectRequest& request) const {
    const std::string message = request.SerializeAsString();
    std::string body(1, '\0');
    for (int shift : {24, 16, 8, 0}) body += static_cast<char>(message.size() >> shift);
    return body + message;
  }
  std::string hello() const {
    v1::ConnectRequest request;
    request.mutable_hello()->set_boot_id("b");
    return message_of(request);
  }
  // In frames of what HTTP/2 takes without being asked.
  std::string data(const std::string& bytes) const {
    std::string frames;
    for (std::size_t at = 0; at < bytes.size(); at += 16'384)
      frames += frame(kData, 0, 1, bytes.substr(at, 16'384));
    return frames;
  }
  std::unique_ptr<RawTls> host(const Member& member, const std::string& settings) {
    auto tls =
        std::make_unique<RawTls>(member.port, member.identity.certificate, member.identity.key);
    tls->send(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + frame(kSettings, 0, 0, settings) +
              frame(kHeaders, kEndHeaders, 1, call_headers()) + data(hello()));
    return tls;
  }
  // Some 600 KB when it is signed.
  void publish() {
    const std::string path = folder.path() + "/large.yaml";
    std::ofstream file(path);
    file << "apiVersion: weir/v1\nname: large\nmode: observe\nrules:\n";
    for (int n = 0; n < 480; ++n) {
      file << "  - id: rule-" << n << "\n    when: {destination: {domain: [";
      for (int name = 0; name < 40; ++name)
        file << (name == 0 ? "" : ", ") << "a" << n << "-" << name << ".example.com";
      file << "]}}\n    then: log\n";
    }
    file.close();
    ASSERT_EQ(std::system(fmt::format("{} policy publish --config {}/data/admin.json {} --group "
                                      "desks > {}/published 2>&1",
                                      WEIRCTL, folder.path(), path, folder.path())
                              .c_str()),
              0)
        << content(folder.path() + "/published").substr(0, 2'000);
  }
  void begin() {
    before_ = memory("VmRSS");
    std::ofstream(fmt::format("/proc/{}/clear_refs", program->pid())) << "5";  // VmHWM anew
  }
  void end(const char* name, std::size_t most) {
    const std::size_t peak = memory("VmHWM");
    std::printf("%s: memory %.1f MiB, at most %+.1f\n", name,
                static_cast<double>(before_) / 1048576.0,
                (static_cast<double>(peak) - static_cast<double>(before_)) / 1048576.0);
    EXPECT_LE(peak, before_ + most);
  }
  std::size_t before_ = 0;
};

TEST_F(AgentReaders, of_hosts_that_read_nothing_while_a_policy_is_due) {
  std::vector<Member> hosts;
  for (std::size_t n = 0; n < kHosts; ++n) hosts.push_back(enrol());
  Client client(desk.port, desk.ca, desk.identity);
  ASSERT_TRUE(client.greet());
  begin();
  std::vector<std::unique_ptr<RawTls>> open;
  for (std::size_t n = 0; n < kHosts; ++n)  // windows of nothing, or none at all that is read
    open.push_back(host(hosts[n], n % 2 == 0 ? std::string("\0\x04\0\0\0\0", 6) : ""));
  publish();
  v1::ConnectResponse response;
  const auto pushed = Clock::now();
  ASSERT_TRUE(client.read(response));
  EXPECT_TRUE(response.has_policy());
  std::printf("policy of %zu bytes\n", response.ByteSizeLong());
  EXPECT_LE(Clock::now() - pushed, kServed);
  for (std::uint64_t n = 1; n <= 20; ++n)
    ASSERT_TRUE(client.reports(n, 1) && client.acknowledged(n));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  end("hosts that read nothing", kHosts * kBytesOfHost);
}

// A megabyte of records of two bytes each is 40 MB once it is read.
TEST_F(AgentReaders, of_messages_that_unfold) {
  std::vector<Member> hosts;
  for (std::size_t n = 0; n < kBombers; ++n) hosts.push_back(enrol());
  Client client(desk.port, desk.ca, desk.identity);
  ASSERT_TRUE(client.greet());
  std::string batch = "\x08\x01";  // of lane 1
  for (int n = 0; n < 500'000; ++n) batch += std::string("\x22\0", 2);
  std::string message = "\x12";
  for (std::size_t size = batch.size(); size != 0; size >>= 7)
    message += static_cast<char>((size & 127) | (size >> 7 != 0 ? 128 : 0));
  message += batch;
  std::string body(1, '\0');
  for (int shift : {24, 16, 8, 0}) body += static_cast<char>(message.size() >> shift);
  const std::string bomb = data(body + message);
  begin();
  std::atomic<std::size_t> thrown = 0;
  std::vector<std::thread> threads;
  for (const Member& member : hosts)
    threads.emplace_back([&] {
      for (int n = 0; n < 3; ++n) {
        auto tls = host(member, std::string("\0\x05\0\0\x40\0", 6));
        thrown += tls->send(bomb) ? 1 : 0;
        std::this_thread::sleep_for(std::chrono::milliseconds(300));  // until it was read
      }
    });
  for (std::uint64_t n = 1; n <= 20; ++n)
    ASSERT_TRUE(client.reports(n, 1) && client.acknowledged(n));
  for (std::thread& thread : threads) thread.join();
  std::printf("%zu messages\n", thrown.load());
  EXPECT_GE(thrown, kBombers);
  end("messages that unfold", kUnfoldedBytes);
}

// Batches as fast as they are taken, and no acknowledgement is read.
TEST_F(AgentReaders, of_hosts_that_send_and_never_read) {
  Client client(desk.port, desk.ca, desk.identity);
  ASSERT_TRUE(client.greet());
  std::vector<Member> hosts;
  for (std::size_t n = 0; n < kBombers; ++n) hosts.push_back(enrol());
  begin();
  std::vector<std::thread> threads;
  std::atomic<std::size_t> sent = 0;
  for (const Member& member : hosts)
    threads.emplace_back([&] {
      auto tls = host(member, std::string("\0\x04\0\0\0\0", 6));
      const auto start = Clock::now();
      for (std::uint64_t sequence = 1; Clock::now() - start < kSending; ++sequence) {
        v1::ConnectRequest request;
        v1::Batch& batch = *request.mutable_batch();
        batch.set_lane(v1::Lane::telemetry);
        batch.set_epoch(1);
        batch.set_first_sequence(sequence);
        v1::SealedRecord& record = *batch.add_records();
        record.set_previous_hash(std::string(32, '\0'));
        record.set_ciphertext(std::string(8'000, 'x'));
        if (!tls->send(data(message_of(request)))) break;
        sent += 8'000;
      }
    });
  std::uint64_t n = 0;
  for (const auto start = Clock::now(); Clock::now() - start < kSending;) {
    ++n;
    ASSERT_TRUE(client.reports(n, 1) && client.acknowledged(n));
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%.1f MB sent; desk: %zu batches\n", static_cast<double>(sent) / 1e6,
              static_cast<std::size_t>(n));
  EXPECT_GE(n, 3u);
  end("hosts that send and never read", kSendersBytes);
}

}  // namespace
}  // namespace weir
