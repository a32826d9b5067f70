// What was recorded replays to the same: every report, flow and usage row, byte for byte.
#include <fcntl.h>
#include <sys/stat.h>

#include "core/policy/policy.h"
#include "tests/scenarios/replayed.h"

namespace weir {
namespace {

using traffic::ip;

const Endpoint kResolver{ip("10.0.0.53"), 53};

// A desk whose every event goes into a log and into a live line.
class Recorded {
 public:
  explicit Recorded(const std::string& path)
      : file_(::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600)), log_(file_) {}
  ~Recorded() { ::close(file_); }

  void on(EventBody body, std::int64_t step_ns = 1'000'000) {
    Event event{{1'700'000'000'000'000'000 + now_ns_, 1'000'000'000 + now_ns_}, std::move(body)};
    log_.write(event);
    line_.on(event);
    now_ns_ += step_ns;
  }
  void packet(const traffic::Buffer& bytes, const SocketRef& socket, bool outgoing = true) {
    on(traffic::event_of({0, outgoing, bytes}, socket).body);
  }
  Replayed finish() {
    line_.finish();
    EXPECT_TRUE(log_.flush());
    EXPECT_EQ(log_.lost(), 0u);
    live_.lines.push_back(json_line(line_.counters()));
    return std::move(live_);
  }

 private:
  int file_;
  LogWriter log_;
  Replayed live_;
  Line line_{live_};
  std::int64_t now_ns_ = 0;
};

Policy desk_policy() {
  Policy policy;
  policy.name = "desk";
  policy.number = 12;
  policy.mode = Mode::enforce;
  policy.networks = {{"office", "tun0"}};
  policy.resolvers = {{kResolver.address, "office"}};
  Limit limit;
  limit.rule = "no-clouds";
  limit.bytes = 262'144;
  limit.per = Per::person;
  policy.limits = {limit};
  Rule clouds, tunnels;
  clouds.id = "no-clouds";
  clouds.when.kind = Condition::Kind::leaf;
  clouds.when.field = Condition::Field::upload_to;
  clouds.when.values = {"cloud_storage"};
  clouds.action = Action::limit;
  clouds.severity = Severity::high;
  clouds.limits = {0};
  tunnels.id = "tunnels";
  tunnels.when = clouds.when;
  tunnels.when.field = Condition::Field::detector;
  tunnels.when.values = {"dns_tunnel", "tunnel"};
  tunnels.action = Action::block;
  policy.rules = {clouds, tunnels};
  return policy;
}

// An upload that its limit stops, and a tunnel that is blocked, on one desk.
void work(Recorded& desk) {
  const SocketRef curl{77, 7, 1000, 11}, iodine{78, 8, 1000, 12};
  desk.on(HostStarted{"desk-1", "b0070000-0000-4000-8000-000000000001", 1});
  desk.on(PolicyChanged{std::make_shared<const Policy>(desk_policy())});
  desk.on(ProcessStarted{11, 1, 111, 7, 1000, 1000, "/usr/bin/curl"});
  desk.on(ProcessStarted{12, 1, 112, 8, 1000, 1000,
                         std::string_view("/opt/\xff"
                                          "tunnel",
                                          12)});
  desk.on(Session{Session::Kind::login, 1000, 3, "tty1", "", "utmp"});
  const Endpoint client{ip("10.0.0.5"), 40000}, server{ip("203.0.113.9"), 443};
  const FlowKey flow{client, server, Transport::tcp};
  desk.packet(traffic::udp({client.address, 40001}, kResolver,
                           traffic::dns_query(1, "content.dropboxapi.com")),
              curl);
  desk.packet(traffic::udp(kResolver, {client.address, 40001},
                           traffic::dns_answer(1, "content.dropboxapi.com", server.address)),
              curl, false);
  desk.packet(traffic::tcp(client, server, 100, 0, traffic::kSyn, {}), curl);
  desk.packet(traffic::tcp(client, server, 101, 1, traffic::kAck,
                           traffic::client_hello("content.dropboxapi.com")),
              curl);
  for (std::uint64_t sent = 65'536; sent <= 262'144; sent += 65'536)
    desk.on(FlowUsage{curl, flow, sent, 1000, 0, false});
  for (int second = 0; second < 3; ++second) {
    desk.on(AccountSpent{curl, flow, 0, 0, 262'144}, 1'000'000'000);
    desk.on(Tick{});
  }
  desk.on(FlowUsage{curl, flow, 262'144, 1200, 9000, true});
  desk.on(ProcessExited{11, 7});
  std::uint64_t state = 88172645463325252ull;
  for (unsigned query = 0; query < 400; ++query) {
    std::string label;
    for (int i = 0; i < 50; ++i) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      label += "abcdefghijklmnopqrstuvwxyz234567"[state % 32];
    }
    desk.packet(traffic::udp({client.address, 41000}, kResolver,
                             traffic::dns_query(query, label + ".t.evil.example", 16)),
                iodine);
  }
  desk.on(Gap{"events ring", 5});
  desk.on(Tick{}, 3'600'000'000'000);
  desk.on(Tick{});
}

TEST(log, recorded_desk_replays_to_the_same_lines_byte_for_byte) {
  const std::string path = scratch("events.log");
  Replayed live;
  {
    Recorded desk(path);
    work(desk);
    live = desk.finish();
  }
  const Replayed again = replay_log(path);
  EXPECT_EQ(again.trouble, "");
  EXPECT_EQ(live.lines, again.lines);
  std::size_t limits = 0, tunnels = 0;
  for (const Report& report : live.reports) {
    if (report.revision != 1) continue;
    limits += report.decision.rule == "no-clouds" && report.decision.enforced ? 1 : 0;
    tunnels += report.decision.rule == "tunnels" && report.decision.enforced ? 1 : 0;
  }
  EXPECT_EQ(limits, 1u);
  EXPECT_EQ(tunnels, 1u);
  EXPECT_GT(live.orders, 1u);
}

TEST(log, cut_log_replays_as_far_as_it_goes_and_says_where_it_ends) {
  const std::string path = scratch("events.log");
  {
    Recorded desk(path);
    work(desk);
    desk.finish();
  }
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  ASSERT_EQ(::truncate(path.c_str(), status.st_size / 2), 0);
  const Replayed out = replay_log(path);
  EXPECT_NE(out.trouble, "");
  EXPECT_FALSE(out.reports.empty());
}

}  // namespace
}  // namespace weir
