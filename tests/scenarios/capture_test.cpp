// Captures made here, written as pcap, read back by libpcap and run through the whole line.
#include "core/policy/surface/surface.h"
#include "tests/scenarios/replayed.h"

namespace weir {
namespace {

using traffic::ip;

const Endpoint kClient{ip("10.0.0.5"), 40000};
const Endpoint kServer{ip("203.0.113.9"), 443};
const Endpoint kResolver{ip("10.0.0.53"), 53};

Endpoint client(unsigned port) {
  return {kClient.address, static_cast<std::uint16_t>(port)};
}

std::string written(const traffic::Script& script) {
  const std::string path = scratch("capture.pcap");
  traffic::write_pcap(path, script.packets);
  return path;
}

void ask(traffic::Script& script, unsigned id, const std::string& name, unsigned type) {
  script.send(traffic::udp(client(41000), kResolver, traffic::dns_query(id, name, type)));
}

// Bytes as a tunnel's client writes them into names: base32, a new one each time.
void tunnel(traffic::Script& script, const std::string& zone, int queries, int length) {
  std::uint64_t state = 88172645463325252ull;
  for (int query = 0; query < queries; ++query) {
    std::string label;
    for (int i = 0; i < length; ++i) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      label += "abcdefghijklmnopqrstuvwxyz234567"[state % 32];
    }
    ask(script, static_cast<unsigned>(query), label + "." + zone, 16);
    script.now_ns += 50'000'000;
  }
}

void benign_mix(traffic::Script& script) {
  const char* names[] = {"www", "mail", "static", "img", "api", "cdn", "news", "login"};
  for (unsigned site = 0; site < 40; ++site) {
    for (unsigned host = 0; host < 8; ++host) {
      const std::string name =
          std::string(names[host]) + ".site" + std::to_string(site) + ".example";
      const Endpoint server{ip(("198.51.100." + std::to_string(site + 1)).c_str()), 443};
      script.look_up(client(50000 + site * 8 + host), kResolver, name, server.address);
      script.tcp_flow(client(42000 + site * 8 + host), server, traffic::client_hello(name), 2000,
                      60'000);
    }
  }
}

std::shared_ptr<const Policy> policy_of(const char* yaml) {
  auto policy = parse_policy(yaml, "test.yaml");
  EXPECT_TRUE(policy) << (policy ? "" : policy.error().sentence);
  return policy ? std::make_shared<const Policy>(*std::move(policy)) : nullptr;
}

TEST(capture, upload_of_a_mebibyte_to_a_cloud_is_one_report_with_its_bytes) {
  traffic::Script script;
  benign_mix(script);
  script.look_up(client(52000), kResolver, "content.dropboxapi.com", kServer.address);
  script.tcp_flow(kClient, kServer, traffic::client_hello("content.dropboxapi.com"), 1'048'576,
                  900);
  const Replayed out = replay_capture(written(script));
  ASSERT_EQ(out.different(), 1u);
  const Report& report = out.reports.back();
  EXPECT_EQ(report.finding.detector, "cloud_upload");
  EXPECT_EQ(report.destination.service, "dropbox");
  EXPECT_EQ(report.destination.name, "content.dropboxapi.com");
  EXPECT_EQ(report.actor.address, kClient.address);
  EXPECT_GE(report.bytes_out, 1'048'576u);
  EXPECT_LE(report.bytes_out, 1'048'576u + 2000);
}

TEST(capture, tunnel_is_one_report_that_names_its_zone_among_honest_traffic) {
  traffic::Script script;
  benign_mix(script);
  tunnel(script, "t.evil.example", 600, 50);
  benign_mix(script);
  const Replayed out = replay_capture(written(script));
  ASSERT_EQ(out.different(), 1u);
  EXPECT_EQ(out.reports.back().finding.detector, "dns_tunnel");
  EXPECT_EQ(out.reports.back().destination.zone, "evil.example");
  EXPECT_GT(out.reports.back().bytes_out, 600u * 30);
}

TEST(capture, honest_traffic_alone_is_no_report) {
  traffic::Script script;
  benign_mix(script);
  EXPECT_TRUE(replay_capture(written(script)).reports.empty());
}

TEST(capture, same_capture_gives_the_same_bytes_each_time) {
  traffic::Script script;
  benign_mix(script);
  tunnel(script, "t.evil.example", 300, 50);
  script.tcp_flow(kClient, kServer, traffic::client_hello("content.dropboxapi.com"), 500'000, 900);
  const std::string path = written(script);
  const Replayed one = replay_capture(path), two = replay_capture(path);
  EXPECT_GT(one.lines.size(), 600u);
  EXPECT_EQ(one.lines, two.lines);
}

TEST(capture, policy_limit_is_reported_when_it_would_have_been_spent_and_by_its_rule) {
  traffic::Script script;
  for (unsigned flow = 0; flow < 30; ++flow)
    script.tcp_flow(client(40000 + flow), kServer, traffic::client_hello("drop.nowhere.example"),
                    20'000, 300);
  const auto policy = policy_of(R"(apiVersion: weir/v1
name: desk
mode: enforce
rules:
  - id: unknown-places
    when: {trust: unknown}
    then: {limit: {bytes: 512KiB, window: 24h, per: destination}, severity: high}
)");
  const Replayed out = replay_capture(written(script), policy);
  ASSERT_GE(out.reports.size(), 1u);
  std::size_t limits = 0;
  for (const Report& report : out.reports) {
    if (report.decision.rule != "unknown-places" || report.revision != 1) continue;
    ++limits;
    EXPECT_EQ(report.decision.action, Action::limit);
    EXPECT_FALSE(report.decision.enforced);
  }
  EXPECT_EQ(limits, 1u);
  EXPECT_EQ(out.orders, 0u);
}

TEST(capture, cut_anywhere_it_still_ends_with_a_summary) {
  traffic::Script script;
  script.tcp_flow(kClient, kServer, traffic::client_hello("content.dropboxapi.com"), 100'000, 900);
  const std::string path = written(script);
  std::ifstream whole(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(whole)), {});
  for (const std::size_t size :
       {std::size_t{24}, std::size_t{30}, std::size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    const std::string cut = scratch("cut.pcap");
    std::ofstream(cut, std::ios::binary) << bytes.substr(0, size);
    const Replayed out = replay_capture(cut);
    EXPECT_EQ(out.trouble, "");
    ASSERT_FALSE(out.lines.empty());
    EXPECT_NE(out.lines.back().find("\"packets\""), std::string::npos);
  }
}

}  // namespace
}  // namespace weir
