// weir-engine with a spool, and what the collector would get read from the other side.
#include "agent/spool/spool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "agent/engine/seal.h"
#include "tests/e2e/engine_program.h"
#include "weir/v1/agent.pb.h"

namespace weir {
namespace {

namespace fs = std::filesystem;
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
    engine.end(SIGKILL);
    std::error_code ignored;
    if (!base_.empty()) fs::remove_all(base_, ignored);
  }

  void start() { engine.start(folder_, base_ / "acknowledged", news_, base_ / "output"); }

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

  fs::path base_;
  int folder_ = -1, acknowledged_ = -1, news_ = -1;
  EngineProgram engine;
};

TEST_F(EngineWithSpool, its_start_its_policy_and_its_reports_are_in_the_spool) {
  start();
  auto audit = records(SpoolLane::audit, 0, 2);
  ASSERT_GE(audit.size(), 2u);
  EXPECT_TRUE(audit[0].event().has_host_started());
  EXPECT_TRUE(audit[1].event().has_policy_changed());
  ASSERT_TRUE(engine.tunnel("evil.example"));
  auto alerts = records(SpoolLane::alert, 0, 1);
  ASSERT_GE(alerts.size(), 1u);
  EXPECT_EQ(alerts[0].report().finding().detector(), "dns_tunnel");
  EXPECT_TRUE(alerts[0].report().destination().zone().ends_with("evil.example"));
  int status = engine.end(0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(EngineWithSpool, one_that_was_killed_goes_on_where_it_was) {
  start();
  ASSERT_TRUE(engine.tunnel("evil.example"));
  std::size_t alerts = records(SpoolLane::alert, 0, 1).size();
  ASSERT_GE(alerts, 1u);
  std::size_t audit = records(SpoolLane::audit, 0, 2).size();
  engine.end(SIGKILL);
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
  EngineProgram second;
  second.start(folder_, base_ / "acknowledged", news_, base_ / "output");
  auto until = std::chrono::steady_clock::now() + kPatience;
  auto said = [&] {
    std::ifstream in(base_ / "output");
    std::string text{std::istreambuf_iterator<char>(in), {}};
    return text.find("another engine writes this spool") != std::string::npos;
  };
  while (!said() && std::chrono::steady_clock::now() < until) ::usleep(50'000);
  EXPECT_TRUE(said());
}

}  // namespace
}  // namespace weir
