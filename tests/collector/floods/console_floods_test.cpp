// Floods at the console's door of a running weir-collector, beside an administrator and a desk that
// mean well: both are served, memory and descriptors stay bounded, and the attacker's connections
// end.
#include <poll.h>

#include <atomic>

#include "tests/collector/floods/raw_http2.h"
#include "tests/collector/floods/running_collector.h"

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kFlood{400};
constexpr int kAttackers = 2;               // threads: as many as processors
constexpr std::int64_t kServedMs = 10'000;  // longer is somebody who was kept out
// 256 strangers of 60 KiB, twice that where they come and go; and what sessions hold together
// (Holdings::kMost), and as much again while it is read and written.
constexpr std::size_t kStrangersBytes = std::size_t{48} << 20;
constexpr std::size_t kSessionsBytes = std::size_t{112} << 20;
// Two of each that is inside, one of each that waits (console_limits()), and the program's own.
constexpr std::size_t kMaxDescriptors = 2 * 256 + 2'048 + 200;
constexpr std::size_t kOpenAtOnce = 600;  // of an attacker: more than may be inside
constexpr std::chrono::seconds kGoneWithin{30};
constexpr unsigned kElsewhere = 66;

using Open = std::vector<std::unique_ptr<RawTls>>;

std::string post(const std::string& method, const std::string& lines, const std::string& body) {
  return fmt::format(
      "POST /weir.v1.{} HTTP/1.1\r\nHost: c\r\nContent-Type: application/json\r\n{}\r\n{}", method,
      lines, body);
}

class ConsoleFloods : public RunningCollector {
 protected:
  RawTls stranger(unsigned from = kElsewhere) {
    return {console_port, "", "", TLS1_3_VERSION, from};
  }
  std::unique_ptr<RawTls> open_stranger(unsigned from = kElsewhere) {
    return std::make_unique<RawTls>(console_port, "", "", TLS1_3_VERSION, from);
  }
  std::string bearer() const { return fmt::format("Authorization: Bearer {}\r\n", admin.secret); }
  std::size_t descriptors() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& one :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", program->pid())))
      ++count;
    return count;
  }
  // `tokens list`, as weirctl asks for it.
  std::int64_t administrator_ms() {
    const auto asking = Clock::now();
    const auto listed = ask<v1::ListTokensResponse>("TokenAdminService/ListTokens",
                                                    v1::ListTokensRequest(), admin.secret);
    EXPECT_EQ(listed.tokens_size(), 2);
    return since_ms(asking);
  }
  static std::int64_t since_ms(Clock::time_point from) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - from).count();
  }

  // `attack` in threads, again and again; it leaves the connections open that it returns.
  void beside(const char* name, std::size_t most_bytes, const std::function<Open(unsigned)>& attack,
              bool end_by_themselves = true) {
    Client client(desk.port, desk.ca, desk.identity);
    ASSERT_TRUE(client.greet());
    std::uint64_t sequence = 0;
    ASSERT_TRUE(client.reports(++sequence, 1) && client.acknowledged(sequence));
    administrator_ms();
    const std::size_t before = memory("VmRSS");
    std::ofstream(fmt::format("/proc/{}/clear_refs", program->pid())) << "5";  // VmHWM anew
    std::atomic<bool> over = false;
    std::atomic<std::size_t> rounds = 0;
    std::vector<Open> open(kAttackers);
    std::vector<std::thread> threads;
    for (unsigned n = 0; n < kAttackers; ++n)
      threads.emplace_back([&, n] {
        while (!over && open[n].size() < kOpenAtOnce) {
          for (auto& one : attack(static_cast<unsigned>(++rounds)))
            open[n].push_back(std::move(one));
        }
      });
    std::int64_t worst_ms = 0, desk_ms = 0;
    std::size_t most_descriptors = 0;
    int asked = 0;
    const auto start = Clock::now();
    do {
      worst_ms = std::max(worst_ms, administrator_ms());
      ++asked;
      const auto sending = Clock::now();
      ASSERT_TRUE(client.reports(++sequence, 1) && client.acknowledged(sequence));
      desk_ms = std::max(desk_ms, since_ms(sending));
      most_descriptors = std::max(most_descriptors, descriptors());
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    } while (Clock::now() - start < kFlood || asked < 3);
    over = true;
    for (std::thread& thread : threads) thread.join();
    const auto waiting = Clock::now();
    std::size_t left = 0;
    for (Open& of_one : open)
      for (auto& tls : of_one)
        left += !end_by_themselves || tls->ends(waiting + kGoneWithin) ? 0 : 1;
    open.clear();
    const std::size_t peak = memory("VmHWM");
    std::printf(
        "%s: %zu rounds; administrator: %d answers, worst %ld ms; desk: worst %ld ms; memory %.1f "
        "MiB, at most %+.1f; %zu descriptors; the last was gone after %ld ms\n",
        name, rounds.load(), asked, worst_ms, desk_ms, static_cast<double>(before) / 1048576.0,
        (static_cast<double>(peak) - static_cast<double>(before)) / 1048576.0, most_descriptors,
        since_ms(waiting));
    EXPECT_LE(worst_ms, kServedMs);
    EXPECT_LE(desk_ms, kServedMs);
    EXPECT_GT(peak, 0u);
    EXPECT_LE(peak, before + most_bytes);
    EXPECT_LE(most_descriptors, kMaxDescriptors);
    EXPECT_EQ(left, 0u) << "connections of the attacker's are still open";
    EXPECT_GE(rounds.load(), 1u) << "it was a flood";
    for (int fd : std::exchange(mute_, {})) ::close(fd);
    EXPECT_TRUE(soon([&] { return descriptors() < 200; }));
  }
  // A connection over which nothing is said, or `word`.
  Open mute(unsigned from, const std::string& word = "") {
    const int fd = tcp_connect(console_port, from);
    if (fd < 0) return {};
    if (!word.empty()) (void)::send(fd, word.data(), word.size(), MSG_NOSIGNAL);
    std::lock_guard lock(mutex_);
    mute_.push_back(fd);
    if (mute_.size() > 3'000)  // this process has a limit too
      for (int old : std::exchange(mute_, {})) ::close(old);
    return {};
  }
  // What is said once, over each of many connections.
  void each_says(const char* name, const std::string& what, std::size_t most_bytes) {
    beside(
        name, most_bytes,
        [&](unsigned) {
          Open open;
          open.push_back(open_stranger());
          open.back()->send(what);
          return open;
        },
        false);
  }
  // Again and again over one connection until it is cut.
  void goes_on(const char* name, const std::string& first, const std::string& again,
               std::size_t most_bytes = kStrangersBytes) {
    std::atomic<std::size_t> most = 0;
    beside(name, most_bytes, [&](unsigned) {
      RawTls tls = stranger();
      tls.send(first);
      for (const auto start = Clock::now(); Clock::now() - start < kFlood && tls.send(again);) {
      }
      most = std::max(most.load(), tls.sent);
      return Open{};
    });
    std::printf("  at most %.1f MB by one connection\n", static_cast<double>(most) / 1e6);
    EXPECT_LT(most, 64u << 20);
  }

 private:
  std::mutex mutex_;
  std::vector<int> mute_;
};

// ---- who says too little ------------------------------------------------------------------------

TEST_F(ConsoleFloods, of_who_says_nothing_half_a_handshake_half_a_head_or_half_a_body) {
  std::mutex mutex;
  std::atomic<bool> dripping = true;
  Open slow;
  std::thread dripper([&] {  // slowloris: each gets a byte of a head that never ends
    while (dripping) {
      {
        std::lock_guard lock(mutex);
        for (auto& tls : slow) tls->send("x");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  const std::string hello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  beside("slow", kStrangersBytes, [&](unsigned round) {
    if (round % 6 < 2) return mute(kElsewhere, round % 6 == 0 ? hello : "");
    Open open;
    open.push_back(open_stranger(kElsewhere + round % 2));
    if (round % 6 == 2) return open;  // idle after the handshake
    if (round % 6 < 5) {
      open.back()->send(post("EnrolService/Enrol", "Content-Length: 16000\r\n", "{"));
      return open;
    }
    open.back()->send("POST /weir.v1.EnrolService/Enrol HTTP/1.1\r\nX: ");
    std::lock_guard lock(mutex);
    slow.push_back(std::move(open.back()));
    return Open{};
  });
  for (auto& tls : slow) {
    std::lock_guard lock(mutex);
    EXPECT_TRUE(tls->ends(Clock::now() + kGoneWithin)) << "a head that never ends";
  }
  EXPECT_FALSE(slow.empty());
  dripping = false;
  dripper.join();
}

// ---- who says too much --------------------------------------------------------------------------

TEST_F(ConsoleFloods, of_heads_and_chunks_without_end) {
  const std::string begin = "POST /weir.v1.EnrolService/Enrol HTTP/1.1\r\n";
  const std::string chunked = post("EnrolService/Enrol", "Transfer-Encoding: chunked\r\n", "");
  goes_on("many headers", begin, "a:b\r\nc:d\r\n");
  goes_on("one header", begin + "X: ", std::string(16'000, 'x'));
  goes_on("long URI", "POST /", std::string(16'000, 'x'));
  goes_on("chunk that has no end of its head", chunked + "1;", std::string(16'000, 'x'));
  goes_on("trailer", chunked + "0\r\n", "a:" + std::string(16'000, 'x') + "\r\n");
  goes_on("chunks", chunked, "1\r\nx\r\n");
}

TEST_F(ConsoleFloods, of_bodies_that_are_larger_than_they_may_be) {
  for (const char* lines :
       {"Content-Length: 99999999999\r\n", "Content-Length: 18446744073709551615\r\n",
        "Content-Encoding: gzip\r\nContent-Length: 100\r\n"}) {
    RawTls tls = stranger();
    tls.send(post("EnrolService/Enrol", lines, std::string(100, '\x1f')));
    const std::string answer = tls.read();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 4") || answer.empty()) << answer;
    EXPECT_TRUE(tls.ends(Clock::now() + kGoneWithin));
  }
  // Of who has a session: bodies of 4 MiB but for the last byte.
  const std::string body(4'194'303, ' ');
  each_says("large bodies",
            post("TokenAdminService/CreateToken", bearer() + "Content-Length: 4194304\r\n", body),
            kSessionsBytes);
}

TEST_F(ConsoleFloods, of_pipelined_requests) {
  std::string many;
  for (int n = 0; n < 1'000; ++n)
    many += post("TokenAdminService/ListTokens", bearer() + "Content-Length: 2\r\n", "{}");
  goes_on("pipelined, of a session", "", many, kSessionsBytes);
  goes_on("pipelined, of nobody", "",
          post("TokenAdminService/ListTokens", "Content-Length: 2\r\n", "{}"));
}

TEST_F(ConsoleFloods, of_requests_that_can_be_read_in_two_ways) {
  const std::string inner =
      post("TokenAdminService/ListTokens", bearer() + "Content-Length: 2\r\n", "{}");
  for (const std::string& lines :
       {std::string("Content-Length: 2\r\nContent-Length: 40\r\n"),
        std::string("Content-Length: 2, 40\r\n"), std::string("Content-Length: +2\r\n"),
        std::string("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
        std::string("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"),
        std::string("Transfer-Encoding: xchunked\r\n"),
        std::string("Transfer-Encoding: chunked, identity\r\n"),
        std::string("Transfer-Encoding : chunked\r\n"), std::string("X: a\nContent-Length: 2\r\n"),
        std::string("X: a\r\n Content-Length: 2\r\n"), std::string()}) {
    RawTls tls = stranger();
    ASSERT_TRUE(tls.send(post("TokenAdminService/ListTokens", bearer() + lines, "{}" + inner)));
    std::string all;
    for (std::string piece = tls.read(); !piece.empty(); piece = tls.read()) all += piece;
    std::size_t answers = 0;
    for (std::size_t at = all.find("HTTP/1.1 2"); at != std::string::npos;
         at = all.find("HTTP/1.1 2", at + 1))
      ++answers;
    EXPECT_EQ(answers, 0u) << lines << all;
    EXPECT_TRUE(tls.ends(Clock::now() + kGoneWithin)) << lines;
  }
}

// Records that carry no byte of a request: the answer to each would be another one.
TEST_F(ConsoleFloods, of_key_updates) {
  beside("key updates", kStrangersBytes, [&](unsigned) {
    RawTls tls = stranger();
    for (const auto start = Clock::now(); tls.open && Clock::now() - start < kFlood;)
      tls.update_keys();
    return Open{};
  });
}

TEST_F(ConsoleFloods, of_guessed_tokens) {
  const std::string guess = R"({"secret":"AAAAAAAAAAAAAAAAAAAAAA==","csr":""})";
  std::atomic<unsigned> refused = 0, slowed = 0;
  beside("guesses", kStrangersBytes, [&](unsigned) {
    Open open;
    open.push_back(open_stranger(1));  // of the administrator's address: an office has one
    open.back()->send(
        post("EnrolService/Enrol", fmt::format("Content-Length: {}\r\n", guess.size()), guess));
    const std::string answer = open.back()->read();
    refused += answer.starts_with("HTTP/1.1 403") ? 1 : 0;
    slowed += answer.starts_with("HTTP/1.1 429") ? 1 : 0;
    return open;
  });
  EXPECT_GE(refused, 1u);
  EXPECT_LE(refused, 40u);  // of two minutes, if one ended meanwhile
  EXPECT_GE(slowed, 1u);
}

// ---- too many -----------------------------------------------------------------------------------

TEST_F(ConsoleFloods, of_connections_from_one_address) {
  beside("one address", kStrangersBytes, [&](unsigned) { return mute(kElsewhere); });
}

TEST_F(ConsoleFloods, of_connections_from_many_addresses) {
  beside("many addresses", kStrangersBytes,
         [&](unsigned round) { return mute(0x10000 + round % 1'000); });
}

TEST_F(ConsoleFloods, of_handshakes) {
  beside("handshakes", kStrangersBytes, [&](unsigned round) {
    (void)stranger(kElsewhere + round % 8);
    return Open{};
  });
}

// ---- who reads nothing --------------------------------------------------------------------------

TEST_F(ConsoleFloods, of_answers_and_watches_that_nobody_reads) {
  Client client(bad.port, bad.ca, bad.identity);  // a host that fills the reports
  ASSERT_TRUE(client.greet());
  for (std::uint64_t n = 0; n < 20; ++n)
    ASSERT_TRUE(client.reports(1 + 10 * n, 10, 20'000) && client.acknowledged(10 * n + 10));
  each_says("answers",
            post("ReportAdminService/ListReports", bearer() + "Content-Length: 13\r\n",
                 R"({"limit":500})"),
            kSessionsBytes);
  std::uint64_t sequence = 200;
  std::atomic<bool> over = false;
  std::thread reporting([&] {
    while (!over && client.reports(sequence + 1, 10, 20'000) && client.acknowledged(sequence + 10))
      sequence += 10;
  });
  const std::string body("\0\0\0\0\2{}", 7);
  each_says("watches",
            fmt::format("POST /weir.v1.ReportAdminService/WatchReports HTTP/1.1\r\nHost: c\r\n"
                        "Content-Type: application/connect+json\r\n{}Content-Length: 7\r\n\r\n{}",
                        bearer(), body),
            kSessionsBytes);
  over = true;
  reporting.join();
}

}  // namespace
}  // namespace weir
