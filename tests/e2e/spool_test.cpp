// weir-engine with a spool, started as the guard's spawner starts it: descriptors at their numbers,
// packets by a socket, and what the collector would get read from the other side.
#include "agent/spool/spool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "agent/engine/seal.h"
#include "agent/guard/descriptors.h"
#include "core/policy/default_policy.h"
#include "proto/map/policy_proto.h"
#include "tests/scenarios/traffic.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

namespace fs = std::filesystem;
using traffic::ip;

constexpr auto kPatience = std::chrono::seconds(60);  // a sanitized engine on a busy machine

class EngineWithSpool : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: the engine gives up its rights";
    std::string pattern = (fs::temp_directory_path() / "weir-e2e-spool-XXXXXX").string();
    base_ = ::mkdtemp(pattern.data());
    fs::permissions(base_, fs::perms::owner_all | fs::perms::others_exec);
    fs::create_directory(base_ / "spool");
    ASSERT_EQ(::chown((base_ / "spool").c_str(), kEngineUser, kEngineUser), 0);
    folder_ = ::open((base_ / "spool").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    acknowledged_ = ::open((base_ / "acknowledged").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    news_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  }
  void TearDown() override {
    end(SIGKILL);
    std::error_code ignored;
    if (!base_.empty()) fs::remove_all(base_, ignored);
  }

  void start() {
    int guard[2], packets[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, guard), 0);
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, packets), 0);
    int policy = ::memfd_create("policy", MFD_CLOEXEC);
    std::string bytes = policy_bytes(*default_policy());
    ASSERT_EQ(::write(policy, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    int output =
        ::open((base_ / "output").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    std::array<int, fds::kLast + 1> wanted{};
    wanted.fill(null);
    wanted[STDOUT_FILENO] = wanted[STDERR_FILENO] = output;
    wanted[fds::kGuard] = guard[1];
    wanted[fds::kPolicy] = policy;
    wanted[fds::kSource] = packets[1];
    wanted[fds::kSpool] = folder_;
    wanted[fds::kAcknowledged] = ::open((base_ / "acknowledged").c_str(), O_RDONLY | O_CLOEXEC);
    wanted[fds::kNews] = news_;
    engine_ = ::fork();
    if (engine_ == 0) {
      std::array<int, wanted.size()> moved{};
      for (std::size_t n = 0; n < wanted.size(); ++n) moved[n] = ::fcntl(wanted[n], F_DUPFD, 100);
      for (std::size_t n = 0; n < wanted.size(); ++n) ::dup2(moved[n], static_cast<int>(n));
      ::syscall(SYS_close_range, fds::kLast + 1, ~0u, 0);
      ::execl(WEIR_ENGINE, "weir-engine", nullptr);
      ::_exit(127);
    }
    for (int fd : {guard[1], packets[1], policy, null, output, wanted[fds::kAcknowledged]})
      ::close(fd);
    guard_ = guard[0];
    packets_ = packets[0];
  }

  int end(int signal) {
    if (engine_ <= 0) return -1;
    ::close(guard_);  // the guard is gone: the engine ends
    if (signal != 0) ::kill(engine_, signal);
    int status = 0;
    ::waitpid(engine_, &status, 0);
    ::close(packets_);
    engine_ = -1;
    return status;
  }

  // Records of a lane after `after`, once there are `count` or patience has an end.
  std::vector<v1::Record> records(SpoolLane lane, std::uint64_t after, std::size_t count) {
    auto until = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      std::vector<v1::Record> found;
      auto reader = SpoolReader::open(folder_);
      for (std::uint64_t last = after; reader;) {
        auto piece = reader->read(lane, last, 100, 1 << 20);
        if (!piece || piece->records.empty()) break;
        for (const SpoolRecord& record : piece->records) {
          EXPECT_TRUE(found.emplace_back().ParseFromArray(record.bytes.data(),
                                                          static_cast<int>(record.bytes.size())));
          last = record.sequence;
        }
      }
      if (found.size() >= count || std::chrono::steady_clock::now() > until) return found;
      pollfd news{news_, POLLIN, 0};
      ::poll(&news, 1, 200);
      std::uint64_t commits = 0;
      (void)!::read(news_, &commits, sizeof commits);
    }
  }

  void tunnel() {
    std::uint64_t state = 88172645463325252ull;
    for (unsigned query = 0; query < 600; ++query) {
      std::string label;
      for (int n = 0; n < 50; ++n) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        label += "abcdefghijklmnopqrstuvwxyz234567"[state % 32];
      }
      traffic::Buffer packet =
          traffic::udp({ip("10.0.0.5"), 41000}, {ip("192.0.2.53"), 53},
                       traffic::dns_query(query, label + ".t.evil.example", 16));
      ASSERT_EQ(::send(packets_, packet.data(), packet.size(), 0),
                static_cast<ssize_t>(packet.size()));
    }
  }

  fs::path base_;
  int folder_ = -1, acknowledged_ = -1, news_ = -1, guard_ = -1, packets_ = -1;
  pid_t engine_ = -1;
};

TEST_F(EngineWithSpool, its_start_its_policy_and_its_reports_are_in_the_spool) {
  start();
  auto audit = records(SpoolLane::audit, 0, 2);
  ASSERT_GE(audit.size(), 2u);
  EXPECT_TRUE(audit[0].event().has_host_started());
  EXPECT_TRUE(audit[1].event().has_policy_changed());
  tunnel();
  auto alerts = records(SpoolLane::alert, 0, 1);
  ASSERT_GE(alerts.size(), 1u);
  EXPECT_EQ(alerts[0].report().finding().detector(), "dns_tunnel");
  EXPECT_TRUE(alerts[0].report().destination().zone().ends_with("evil.example"));
  int status = end(0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(EngineWithSpool, one_that_was_killed_goes_on_where_it_was) {
  start();
  tunnel();
  std::size_t alerts = records(SpoolLane::alert, 0, 1).size();
  ASSERT_GE(alerts, 1u);
  std::size_t audit = records(SpoolLane::audit, 0, 2).size();
  end(SIGKILL);
  start();
  EXPECT_GE(records(SpoolLane::audit, 0, audit + 2).size(), audit + 2);
  EXPECT_GE(records(SpoolLane::alert, 0, alerts).size(), alerts);
  auto reader = SpoolReader::open(folder_);
  ASSERT_TRUE(reader);
  auto spooled = reader->spooled();
  ASSERT_TRUE(spooled);
  EXPECT_NE((*spooled)[0].epoch, 0u);
}

TEST_F(EngineWithSpool, a_second_engine_says_that_the_spool_is_taken) {
  start();
  ASSERT_GE(records(SpoolLane::audit, 0, 2).size(), 2u);
  pid_t first = engine_;
  int guard = guard_, packets = packets_;
  start();
  auto until = std::chrono::steady_clock::now() + kPatience;
  auto said = [&] {
    std::ifstream in(base_ / "output");
    std::string text{std::istreambuf_iterator<char>(in), {}};
    return text.find("another engine writes this spool") != std::string::npos;
  };
  while (!said() && std::chrono::steady_clock::now() < until) ::usleep(50'000);
  EXPECT_TRUE(said());
  end(SIGKILL);
  engine_ = first;
  guard_ = guard;
  packets_ = packets;
}

}  // namespace
}  // namespace weir
