// Floods at the agents' door of a running weir-collector, with a desk beside them that means well:
// what it sends is acknowledged in time, and the collector's memory stays bounded.
#include <atomic>

#include "tests/collector/floods/raw_http2.h"
#include "tests/collector/floods/running_collector.h"

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kFlood{3};
constexpr int kFlooders = 2;  // as many as processors: the desk gets what is left
constexpr std::int64_t kAcknowledgedMs = 10'000;  // longer is a desk that was kept out
constexpr std::size_t kMoreBytes = std::size_t{128} << 20;
// 1.5 MiB and what comes between two looks; the rest stands in socket buffers.
constexpr std::size_t kMostOfConnection = std::size_t{16} << 20;
constexpr unsigned kElsewhere = 66;  // where strangers are
constexpr int kAtLeast = 5;          // batches of the desk that went through meanwhile

class Floods : public RunningCollector {
 protected:
  // Runs `flood` in kFlooders threads, again and again, while the desk reports.
  void under(const char* name, const std::function<std::size_t()>& flood) {
    Client client(desk.port, desk.ca, desk.identity);
    ASSERT_TRUE(client.greet());
    ASSERT_TRUE(client.reports(1, 1) && client.acknowledged(1));
    const std::size_t before = memory("VmRSS");
    std::ofstream(fmt::format("/proc/{}/clear_refs", program->pid())) << "5";  // VmHWM anew
    std::atomic<bool> over = false;
    std::atomic<std::size_t> sent = 0, rounds = 0;
    std::vector<std::thread> flooders;
    for (int n = 0; n < kFlooders; ++n)
      flooders.emplace_back([&] {
        while (!over) {
          sent += flood();
          ++rounds;
        }
      });
    std::vector<std::int64_t> took;
    bool acknowledged = true;
    std::uint64_t sequence = 1;
    for (const auto start = Clock::now(); acknowledged && Clock::now() - start < kFlood;) {
      const auto sending = Clock::now();
      acknowledged = client.reports(++sequence, 1) && client.acknowledged(sequence);
      took.push_back(
          std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - sending).count());
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    // Another desk gets in beside them.
    const auto knocking = Clock::now();
    Client late(late_.port, late_.ca, late_.identity);
    const bool came_in = late_.port == 0 || late.greet();
    const auto in_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - knocking).count();
    over = true;
    for (std::thread& flooder : flooders) flooder.join();
    std::sort(took.begin(), took.end());
    const std::size_t peak = memory("VmHWM");
    std::printf(
        "%s: %zu rounds, %.1f MB sent; desk: %zu batches, median %ld ms, worst %ld ms; next desk "
        "in "
        "after %ld ms; memory %.1f MiB, at most %+.1f\n",
        name, rounds.load(), static_cast<double>(sent) / 1e6, took.size(), took[took.size() / 2],
        took.back(), in_ms, static_cast<double>(before) / 1048576.0,
        (static_cast<double>(peak) - static_cast<double>(before)) / 1048576.0);
    EXPECT_TRUE(acknowledged && came_in);
    EXPECT_GE(took.size(), static_cast<std::size_t>(kAtLeast));
    EXPECT_LE(took.back(), kAcknowledgedMs);
    EXPECT_LE(in_ms, 2 * kAcknowledgedMs);
    EXPECT_GT(peak, 0u);
    EXPECT_LE(peak, before + kMoreBytes);
    EXPECT_GT(rounds + (sent >> 20), 1u) << "it was a flood";
  }

  // A connection of the bad host, with a stream of it open; then `each` until it is cut.
  void as_a_host(const char* name, const std::function<std::string(std::uint32_t)>& each) {
    std::atomic<std::size_t> most = 0;
    late_ = enrol();
    under(name, [&] {
      RawTls tls(bad.port, bad.identity.certificate, bad.identity.key);
      tls.send(kPreface + frame(kHeaders, kEndHeaders, 1, call_headers()));
      const auto start = Clock::now();
      for (std::uint32_t n = 0; Clock::now() - start < kFlood; ++n) {
        std::string many;
        while (many.size() < 16'000) many += each(n++);
        if (!tls.send(many)) break;
      }
      most = std::max(most.load(), tls.sent);
      return tls.sent;
    });
    std::printf("  at most %.1f MB by one connection\n", static_cast<double>(most) / 1e6);
    EXPECT_LT(most, kMostOfConnection);
  }

  Member late_;
};

// ---- before HTTP/2 is read --------------------------------------------------------------------

TEST_F(Floods, older_tls_and_no_certificate_are_refused_before_a_frame_is_read) {
  RawTls old(bad.port, bad.identity.certificate, bad.identity.key, TLS1_2_VERSION);
  EXPECT_FALSE(old.open);
  RawTls nobody(bad.port, "", "");  // of TLS 1.3 the client's side is done before it is refused
  nobody.send(kPreface + frame(kPing, 0, 0, "12345678"));
  EXPECT_EQ(nobody.read(), "") << "not even settings";
  RawTls host(bad.port, bad.identity.certificate, bad.identity.key);
  ASSERT_TRUE(host.send(kPreface));
  EXPECT_NE(host.read(), "");
}

TEST_F(Floods, of_handshakes) {
  late_ = enrol();
  under("handshakes", [&] {
    RawTls tls(desk.port, "", "", TLS1_3_VERSION, kElsewhere);
    return std::size_t{1};
  });
}

TEST_F(Floods, of_connections_that_say_nothing_or_half_a_word) {
  const std::string hello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  std::vector<int> open;
  std::mutex mutex;
  late_ = enrol();
  under("half-open", [&] {
    const int fd = tcp_connect(desk.port, kElsewhere);
    std::lock_guard lock(mutex);
    if (fd >= 0 && open.size() % 2 == 0) (void)::send(fd, hello.data(), hello.size(), MSG_NOSIGNAL);
    if (fd >= 0) open.push_back(fd);
    if (open.size() > 3'000) {  // this process has a limit too
      for (int old : open) ::close(old);
      open.clear();
    }
    return std::size_t{1};
  });
  for (int fd : open) ::close(fd);
}

// ---- of a host of the fleet -------------------------------------------------------------------

TEST_F(Floods, of_streams_that_are_reset_at_once) {
  as_a_host("rapid reset", [](std::uint32_t n) {
    const std::uint32_t stream = 3 + 2 * n;
    return frame(kHeaders, kEndHeaders, stream, call_headers()) +
           frame(kReset, 0, stream, std::string("\0\0\0\x08", 4));
  });
}

TEST_F(Floods, of_pings) {
  as_a_host("pings", [](std::uint32_t) { return frame(kPing, 0, 0, "12345678"); });
}

TEST_F(Floods, of_settings) {
  as_a_host("settings", [](std::uint32_t n) {
    return frame(kSettings, 0, 0,
                 std::string("\0\x04\0\0", 4) + static_cast<char>(n >> 8) + static_cast<char>(n));
  });
}

TEST_F(Floods, of_empty_data) {
  as_a_host("empty data", [](std::uint32_t) { return frame(kData, 0, 1, ""); });
}

TEST_F(Floods, of_window_updates) {
  as_a_host("window updates",
            [](std::uint32_t) { return frame(kWindow, 0, 1, std::string("\0\0\0\x01", 4)); });
}

TEST_F(Floods, of_headers_without_end) {
  std::atomic<std::uint32_t> stream = 3;
  as_a_host("continuation", [&](std::uint32_t n) {
    const std::string some = header("x", std::string(100, 'x')) + header("y", "y");
    return n == 0 ? frame(kHeaders, 0, stream, call_headers())
                  : frame(kContinuation, 0, stream, some);
  });
}

// One entry of the table, named again and again: 4 KiB for a byte.
TEST_F(Floods, of_headers_that_grow) {
  as_a_host("hpack bomb", [](std::uint32_t n) {
    const std::uint32_t stream = 3 + 2 * n;
    std::string entry("\x40\x01x\x7f\xe1\x1e", 6);  // value of 4,000 bytes, indexed
    entry += std::string(4'000, 'v');
    return frame(kHeaders, kEndHeaders, stream,
                 call_headers() + entry + std::string(8'000, '\xbe'));
  });
}

// Windows of no bytes, and nothing is read: the collector can't answer anything.
TEST_F(Floods, of_connections_that_let_nothing_down) {
  late_ = enrol();
  std::mutex mutex;
  std::vector<std::unique_ptr<RawTls>> open;
  under("stalled windows", [&] {
    auto tls = std::make_unique<RawTls>(bad.port, bad.identity.certificate, bad.identity.key);
    v1::ConnectRequest hello;
    hello.mutable_hello()->set_boot_id("b");
    const std::string message = hello.SerializeAsString();
    std::string body("\0\0\0\0", 4);
    body += static_cast<char>(message.size());
    tls->send(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") +
              frame(kSettings, 0, 0, std::string("\0\x04\0\0\0\0", 6)) +
              frame(kHeaders, kEndHeaders, 1, call_headers()) + frame(kData, 0, 1, body + message));
    std::lock_guard lock(mutex);
    open.push_back(std::move(tls));
    if (open.size() > 1'000) open.clear();
    return std::size_t{200};
  });
}

}  // namespace
}  // namespace weir
