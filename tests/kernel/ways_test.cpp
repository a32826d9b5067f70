// The bound holds however the bytes are handed to the kernel: received ≤ charged ≤ limit.
#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kLimit = 300'007;
constexpr std::uint64_t kSlack = 64 << 10;  // one super-packet that no longer fits
constexpr int kNotHere = 77;                // exit status: this kernel does not have that way

struct Case {
  const char* way;
  bool udp;
  const char* to = kPeer4;
};
std::string name_of(const Case& one) {
  return std::string(one.way) + (one.udp ? "_udp" : "_tcp") + (one.to == kPeer6 ? "_ipv6" : "");
}
std::ostream& operator<<(std::ostream& out, const Case& one) {  // in the name of a test
  return out << name_of(one);
}

// Of this desk's connections, those whose first bytes the peer took with the SYN.
std::uint64_t fast_opened() {
  std::ifstream file("/proc/net/netstat");
  for (std::string names, values; std::getline(file, names) && std::getline(file, values);) {
    std::istringstream name(names), value(values);
    for (std::string n, v; name >> n && value >> v;)
      if (n == "TCPFastOpenActive") return std::stoull(v);
  }
  return 0;
}

class Ways : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    WEIR_NEEDS_KERNEL();
    k.emplace();
  }
  std::optional<KernelDesk> k;
};

INSTANTIATE_TEST_SUITE_P(
    kernel, Ways,
    testing::Values(Case{"sendfile", false}, Case{"sendfile", true}, Case{"splice", false},
                    Case{"splice", true}, Case{"zerocopy", false}, Case{"zerocopy", true},
                    Case{"shared_port", false}, Case{"shared_port", true}, Case{"ring", false},
                    Case{"ring", true}, Case{"ring_polled", false}, Case{"ring_polled", true},
                    Case{"ring_polled", false, kPeer6}, Case{"ring_polled", true, kPeer6},
                    Case{"fast_open", false}, Case{"fast_open", false, kPeer6},
                    Case{"connected_again", false}, Case{"repair", false}),
    [](const auto& info) { return name_of(info.param); });

TEST_P(Ways, stay_within_the_limit) {
  k->load({limit_row(kLimit, 0, WEIR_PER_HOST)});
  ASSERT_EQ(std::system("echo 1543 > /proc/sys/net/ipv4/tcp_fastopen"), 0);  // no cookie asked for
  std::vector<std::string> a = {"--to", GetParam().to, "--ms", std::to_string(8000 * scale())};
  if (GetParam().udp) a.push_back("--udp");
  a.insert(a.end(), {"--shape", "way", "--", GetParam().way});
  const std::uint64_t opened = fast_opened();
  pid_t pid = k->desk.start(a);
  await([&] { return k->desk.received() >= kLimit - kSlack; }, milliseconds(5000) * scale());
  // TCP tries what was refused again after 0.2 s, 0.6 s and 1.4 s.
  k->desk.settled(milliseconds(800), milliseconds(1600));
  kill(pid, SIGTERM);
  Outcome o = k->desk.finish(pid);
  if (o.status == kNotHere) GTEST_SKIP() << "this kernel has no " << GetParam().way;
  EXPECT_EQ(o.status, 0) << o.output;
  std::uint64_t received = k->desk.settled(milliseconds(100), milliseconds(500));
  std::uint64_t charged = k->charged(0);
  fmt::print("{}: limit {} charged {} received {}\n", GetParam().way, kLimit, charged, received);
  EXPECT_LE(received, charged);
  EXPECT_LE(charged, kLimit);
  EXPECT_GE(charged, kLimit - kSlack) << "it did send";
  if (GetParam().way == std::string("fast_open")) {
    EXPECT_GE(fast_opened() - opened, (kLimit - kSlack) / 1000) << "all with their SYN";
  }
}

}  // namespace
}  // namespace weir::test
