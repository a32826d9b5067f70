// Tunnels of the kernel's own, and SCTP: what goes in is charged to who sends it, what carries it
// is bounded unless the policy declares it. They run where the kernel has them: Debian's, in the
// emulator.
#include <net/if.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/kernel/kernel_test.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kLimit = 200'003;
constexpr std::uint64_t kSlack = 3'000;  // two packets that no longer fit
constexpr const char *kInner4 = "10.99.0.2", *kInner6 = "fd99::2";

std::string failed;  // the last command that did

bool run(const std::string& command) {
  const bool good = std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0;
  if (!good) failed = command;
  return good;
}

std::string output_of(const std::string& command) {
  std::string all;
  FILE* pipe = popen(command.c_str(), "r");
  char part[256];
  while (pipe != nullptr && fgets(part, sizeof part, pipe) != nullptr) all += part;
  if (pipe != nullptr) pclose(pipe);
  return all.substr(0, all.find('\n'));
}

// In the emulator nothing is.
#define WEIR_MISSING(what)                                         \
  {                                                                \
    if (std::getenv("WEIR_KERNEL_MUST_RUN"))                       \
      FAIL() << "this kernel has no " << (what) << ": " << failed; \
    GTEST_SKIP() << "this kernel has no " << (what);               \
  }

// How to make one: {local}, {remote}: addresses of the wire, {peer}: what runs a command there.
struct Kind {
  const char* name;
  const char* device;  // arguments of `ip link add tunnel0`
  bool wire6;          // carried by IPv6
  const char* inner;   // address of the peer in it
};
std::ostream& operator<<(std::ostream& out, const Kind& kind) {  // in the name of a test
  return out << kind.name;
}

class Tunnel : public KernelTest, public testing::WithParamInterface<Kind> {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    k->load({limit_row(kLimit, 0, WEIR_PER_PERSON)}, {}, {});
    auto laid = k->part->set_floor(std::vector<Device>{{if_nametoindex("desk0"), "desk0", true}});
    ASSERT_TRUE(laid) << laid.error().sentence;
    failed.clear();
    const bool made = std::string(kind().name).starts_with("wireguard") ? make_wireguard()
                      : std::string(kind().name).starts_with("ipsec")   ? make_ipsec()
                                                                        : make_plain();
    if (!made) WEIR_MISSING(kind().name)
  }
  void TearDown() override {
    if (!k) return;
    for (const std::string& at : {std::string(), k->desk.at_peer()}) {
      run(at + "ip link del tunnel0");
      run(at + "ip xfrm state flush; " + at + "ip xfrm policy flush");
    }
    run("ip addr del 10.99.0.1/32 dev desk0");
    run(k->desk.at_peer() + "ip addr del 10.99.0.2/32 dev peer0");
  }
  const Kind& kind() const { return GetParam(); }
  std::string wire(bool peer) const {
    return kind().wire6 ? (peer ? "fd77::2" : "fd77::1") : (peer ? "10.77.0.2" : "10.77.0.1");
  }
  bool address() {
    return run("ip addr add 10.99.0.1/24 dev tunnel0; ip addr add fd99::1/64 dev tunnel0 nodad; "
               "ip link set tunnel0 up") &&
           run(k->desk.at_peer() + "ip addr add 10.99.0.2/24 dev tunnel0; " + k->desk.at_peer() +
               "ip addr add fd99::2/64 dev tunnel0 nodad; " + k->desk.at_peer() +
               "ip link set tunnel0 up");
  }
  bool make_plain() {
    const std::string add = fmt::format("ip link add tunnel0 type {} ", kind().device);
    return run(add + "local " + wire(false) + " remote " + wire(true)) &&
           run(k->desk.at_peer() + add + "local " + wire(true) + " remote " + wire(false)) &&
           address();
  }
  bool make_wireguard() {
    const std::string key = output_of("wg genkey"), other = output_of("wg genkey");
    const auto lay = [&](const std::string& at, const std::string& own, const std::string& far,
                         const std::string& to) {
      const std::string file = fmt::format("/tmp/weir-wg-{}", getpid());
      std::ofstream(file) << own << '\n';
      const bool good =
          run(at + "ip link add tunnel0 type wireguard") &&
          run(fmt::format("{}wg set tunnel0 private-key {} listen-port 51820 peer {} allowed-ips "
                          "0.0.0.0/0,::/0 endpoint {}:51820",
                          at, file, output_of("echo " + far + " | wg pubkey"),
                          kind().wire6 ? "[" + to + "]" : to));
      std::remove(file.c_str());
      return good;
    };
    return !key.empty() && lay("", key, other, wire(true)) &&
           lay(k->desk.at_peer(), other, key, wire(false)) && address();
  }
  // Static keys; `xfrm`: by an interface of its own, else by a policy for the peer's address.
  bool make_ipsec() {
    const bool by_device = std::string(kind().device) == "xfrm";
    const auto lay = [&](const std::string& at, bool peer) {
      bool good = !by_device || run(at + "ip link add tunnel0 type xfrm if_id 7");
      for (const bool out : {true, false}) {
        const bool from_peer = peer == out;
        const std::string ends = fmt::format("src {} dst {}", wire(from_peer), wire(!from_peer));
        const std::string spi = from_peer ? "0x202" : "0x101";
        const std::string id = by_device ? " if_id 7" : "";
        good = good &&
               run(fmt::format("{}ip xfrm state add {} proto esp spi {} reqid 7 mode tunnel enc "
                               "'cbc(aes)' 0x{:032x} auth-trunc 'hmac(sha256)' 0x{:064x} 128{}",
                               at, ends, spi, 1, 2, id));
        for (const char* any : {"0.0.0.0/0", "::/0"}) {
          const std::string of = by_device   ? fmt::format("src {0} dst {0}", any)
                                 : from_peer ? fmt::format("src {} dst 10.99.0.1/32", kInner4)
                                             : fmt::format("src 10.99.0.1/32 dst {}", kInner4);
          good = run(fmt::format("{}ip xfrm policy add {} dir {} tmpl {} proto esp reqid 7 mode "
                                 "tunnel{}",
                                 at, of, out ? "out" : "in", ends, id)) &&
                 good;
          if (!by_device) break;
        }
      }
      return good;
    };
    if (!lay("", false) || !lay(k->desk.at_peer(), true)) return false;
    if (by_device) return address();
    // The inner addresses are the wire's own as well: they leave by it, encrypted.
    const std::string peer = k->desk.at_peer();
    return run("ip addr add 10.99.0.1/32 dev desk0 && ip route add 10.99.0.2/32 dev desk0 src "
               "10.99.0.1 && ip neigh replace 10.99.0.2 lladdr 02:00:00:00:77:02 dev desk0") &&
           run(peer + "ip addr add 10.99.0.2/32 dev peer0") &&
           run(peer + "ip route add 10.99.0.1/32 dev peer0 src 10.99.0.2") &&
           run(peer + "ip neigh replace 10.99.0.1 lladdr 02:00:00:00:77:01 dev peer0");
  }
  void declare() {
    const std::vector<std::pair<Prefix, std::uint32_t>> far = {
        {{*IpAddress::parse(wire(true)), 128}, WEIR_REFUGE_GATEWAY}};
    ASSERT_TRUE(k->part->set_refuges(far));
  }
  std::uint64_t received() { return k->desk.settled(milliseconds(200), milliseconds(1000)); }
  void say(const char* what) {
    fmt::print("{} {}: limit {} charged {} received {}\n", kind().name, what, kLimit, k->charged(0),
               k->desk.received());
  }
  Outcome send(std::vector<std::string> more, int ms = 1000) {
    std::vector<std::string> a = {"--to", kind().inner, "--ms", std::to_string(ms * scale())};
    a.insert(a.end(), more.begin(), more.end());
    return k->desk.finish(k->desk.start(a));
  }
  // What is in a tunnel is approved; what carries it is told from it by the address alone.
  void approve_inner() {
    for (const char* range : {"10.99.0.0/16", "fd99::/64"}) {
      weir_prefix free{};
      free.final = 1;
      ASSERT_TRUE(k->part->put_prefix(*Prefix::parse(range), free));
    }
  }
};

class DeviceTunnel : public Tunnel {};
class CostlyTunnel : public Tunnel {};

TEST_P(DeviceTunnel, what_goes_in_is_named_and_charged_and_a_declared_one_costs_nothing_more) {
  declare();
  Outcome o = send({"--bytes", "100000"}, 5000);
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_EQ(received(), 100'000U);
  say("declared, a stream");
  EXPECT_EQ(k->charged(0), 100'000U);
  bool named = false;
  for (const weir_usage& u : k->records<weir_usage>(WEIR_REC_USAGE))
    named |=
        IpAddress::v6(Bytes(u.tuple.remote, 16)).text() == kind().inner && u.bytes_out == 100'000;
  EXPECT_TRUE(named) << "no record says that it went to " << kind().inner;
  send({"--bytes", "1000000", "--udp", "--size", "1000"});
  say("declared, datagrams");
  EXPECT_LE(received(), k->charged(0));
  EXPECT_LE(k->charged(0), kLimit);
  EXPECT_GE(k->charged(0), kLimit - kSlack);
}

// What WireGuard keeps until it has a key is nobody's afterwards: it is on the account of what is
// forwarded. So there are two accounts, each within its number.
TEST_P(Tunnel, an_undeclared_one_is_bounded_whatever_is_in_it) {
  approve_inner();
  send({"--bytes", "600000", "--udp", "--size", "1000"});
  const std::uint64_t datagrams = received();
  say("undeclared, approved within, datagrams");
  EXPECT_GT(datagrams, kLimit / 2) << "it did send";
  send({"--bytes", "600000"});
  say("undeclared, approved within, a stream too");
  EXPECT_LE(received(), k->charged(0));
  const std::size_t most = std::string(kind().name).starts_with("wireguard") ? 2 : 1;
  std::size_t accounts = 0;
  for (const KernelAccount& a : k->accounts_of(0)) {
    EXPECT_LE(a.value.charged, kLimit);
    accounts += a.value.charged > kSlack ? 1 : 0;
  }
  EXPECT_LE(accounts, most);
}

TEST_P(CostlyTunnel, an_undeclared_one_costs_what_is_in_it_and_what_carries_it) {
  Outcome o = send({"--bytes", "50000"}, 5000);
  EXPECT_EQ(received(), 50'000U) << o.output;
  say("undeclared, a stream");
  EXPECT_GE(k->charged(0), 100'000U);
}

// Two families outside, two inside.
constexpr Kind kWireguard{"wireguard", "", false, kInner4},
    kWireguard6{"wireguard6", "", true, kInner6};
constexpr Kind kSit{"sit", "sit", false, kInner6}, kGre{"gre", "gre", false, kInner4},
    kGre6{"ip6gre", "ip6gre", true, kInner6};
constexpr Kind kIpsec{"ipsec_device", "xfrm", false, kInner4},
    kIpsec6{"ipsec_device6", "xfrm", true, kInner6},
    kIpsecPolicy{"ipsec_policy", "", false, kInner4};
std::string name_of(const testing::TestParamInfo<Kind>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Kernel, DeviceTunnel,
                         testing::Values(kWireguard, kWireguard6, kSit, kGre6, kIpsec), name_of);
INSTANTIATE_TEST_SUITE_P(Kernel, CostlyTunnel, testing::Values(kWireguard, kIpsec6), name_of);
INSTANTIATE_TEST_SUITE_P(Kernel, Tunnel,
                         testing::Values(kWireguard, kWireguard6, kSit, kGre, kGre6, kIpsec6,
                                         kIpsecPolicy),
                         name_of);

class Sctp : public KernelTest, public testing::WithParamInterface<const char*> {};

TEST_P(Sctp, an_association_gets_no_more_than_its_account) {
  k->load({limit_row(kLimit, 0, WEIR_PER_PERSON)}, {}, {});
  const int ms = 2000 * scale();
  FILE* sink = popen(fmt::format("{}{} --to 10.77.0.2 --port {} --ms {} --shape way -- sink_sctp",
                                 k->desk.at_peer(), traffic_program(), k->desk.port(), ms * 2)
                         .c_str(),
                     "r");
  ASSERT_NE(sink, nullptr);
  char line[64] = "";
  if (fgets(line, sizeof line, sink) == nullptr) {
    pclose(sink);
    WEIR_MISSING("SCTP")
  }
  const std::vector<std::string> how = {"--to",    GetParam(), "--ms", std::to_string(ms),
                                        "--shape", "way",      "--",   "sctp"};
  Outcome o = k->desk.finish(k->desk.start(how));
  EXPECT_EQ(o.status, 0) << o.output;
  ASSERT_NE(fgets(line, sizeof line, sink), nullptr);
  pclose(sink);
  const auto received = std::strtoul(line + sizeof "received", nullptr, 10);
  fmt::print("SCTP to {}: limit {} charged {} received {}\n", GetParam(), kLimit, k->charged(0),
             received);
  EXPECT_GT(received, kLimit / 2) << "it did send";
  EXPECT_LE(received, k->charged(0));
  EXPECT_LE(k->charged(0), kLimit);
}

INSTANTIATE_TEST_SUITE_P(Kernel, Sctp, testing::Values(kPeer4, kPeer6),
                         [](const auto& info) { return info.index == 0 ? "IPv4" : "IPv6"; });

}  // namespace
}  // namespace weir::test
